"""Orthanc as the demonstration's PACS: started with a configuration of its own, stopped at the end."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from pynetdicom import AE
from pynetdicom.sop_class import Verification

START_SECONDS = 30.0


DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
"""Where Debian's orthanc-dicomweb puts it."""

DICOMWEB = {"Plugins": [str(DICOMWEB_PLUGIN)], "DicomWeb": {"Enable": True}}
"""Configuration of an Orthanc that serves ``/dicom-web`` and ``/wado``."""


class PacsError(Exception):
    """The PACS did not start or did not answer; the message says what it said last."""


def find_orthanc() -> str | None:
    """Path of the Orthanc program, or ``None`` where it is not installed."""
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")


class OrthancPacs:
    """An Orthanc of its own on loopback, with its storage in ``directory``.

    Parameters
    ----------
    directory:
        Folder for configuration, index and files.
    ae_title:
        Its AE title.
    further:
        Further keys of its configuration.
    """

    name = "Orthanc"

    def __init__(
        self, directory: Path, ae_title: str = "PACS", further: Mapping[str, object] | None = None
    ) -> None:
        self._directory = directory
        self._further = dict(further or {})
        self.ae_title = ae_title
        self.port = 0
        self.http_port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers C-ECHO.

        Raises
        ------
        PacsError
            If it does not within 30 s.
        """
        program = find_orthanc()
        if program is None:
            raise PacsError("Orthanc is not installed")
        self._directory.mkdir(parents=True, exist_ok=True)
        self.port, self.http_port = free_port(), free_port()
        configuration = self._directory / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(), indent=2), encoding="utf-8")
        with (self._directory / "orthanc.log").open("wb") as log:
            self._process = subprocess.Popen([program, str(configuration)], stdout=log, stderr=log)
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Stop it and wait for its end."""
        if self._process:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()

    def _configuration(self) -> dict[str, object]:
        return {
            "Name": "dicomnode demonstration",
            "StorageDirectory": str(self._directory / "storage"),
            "IndexDirectory": str(self._directory / "storage"),
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "UnknownSopClassAccepted": True,
            **self._further,
        }

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        ae = AE("DEMO")
        ae.add_requested_context(Verification)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if listens(self.port):
                association = ae.associate("127.0.0.1", self.port, ae_title=self.ae_title)
                if association.is_established:
                    association.release()
                    return
            time.sleep(0.1)
        self.stop()
        log = (self._directory / "orthanc.log").read_text(encoding="utf-8", errors="replace")
        raise PacsError(f"Orthanc did not start; it said last: {log.strip().splitlines()[-1:]}")


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody accepts connections on this port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""The node as a process of its own, as a hospital runs it, with a configuration written for the occasion."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dicomnode.deliver.peer import Peer, echo
from dicomnode.demo.orthanc import free_port, listens

AE_TITLE = "DICOMNODE"
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class NodeDidNotStartError(Exception):
    """The node's process ended or did not answer; the message quotes its last line."""


class NodeProcess:
    """``dicomnode serve`` on loopback with its spool, log and configuration below ``directory``.

    Parameters
    ----------
    directory:
        Made when missing.
    pacs_ae_title, pacs_port:
        The only destination.
    device:
        ``auto``, ``cpu`` or ``cuda``.
    quiet_seconds:
        When a series counts as complete.
    port:
        Where to listen; 0 for a free one.
    kinds:
        Which result objects the PACS gets.
    web_port:
        Of the page; 0 for none.
    """

    def __init__(
        self,
        directory: Path,
        pacs_ae_title: str,
        pacs_port: int,
        device: str = "auto",
        quiet_seconds: float = 2.0,
        port: int = 0,
        kinds: Sequence[str] = ("seg", "sr"),
        web_port: int = 0,
    ) -> None:
        self.spool_directory = directory / "spool"
        self.config_path = directory / "dicomnode.toml"
        self.log_path = directory / "dicomnode.log"
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(
            f"""\
[node]
ae_title = "{AE_TITLE}"
host = "127.0.0.1"
port = {self.port}

[spool]
directory = "{self.spool_directory}"
minimum_free_gb = 0.5

[series]
quiet_seconds = {quiet_seconds}

[analysis]
device = "{device}"

[report]
include = {json.dumps(list(kinds))}

[web]
port = {web_port}

[[destination]]
name = "pacs"
ae_title = "{pacs_ae_title}"
host = "127.0.0.1"
port = {pacs_port}
accepts = {json.dumps(list(kinds))}
""",
            encoding="utf-8",
        )

    @property
    def peer(self) -> Peer:
        """How to reach it."""
        return Peer(ae_title=AE_TITLE, host="127.0.0.1", port=self.port, calling_ae_title="SCANNER")

    def start(self) -> None:
        """Start and wait until it answers C-ECHO.

        Raises
        ------
        NodeDidNotStartError
            If it does not.
        """
        command = [sys.executable, "-m", "dicomnode.cli", "serve", "--config", str(self.config_path)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.is_alive:
            if listens(self.port) and echo(self.peer) is None:
                return
            time.sleep(0.1)
        self.stop()
        raise NodeDidNotStartError(
            f"the node did not start; its log {self.log_path} ends: {self.last_line()}"
        )

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id; 0 before the start."""
        return self._process.pid if self._process else 0

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for one that does not heed it."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def last_line(self) -> str:
        """Last line of its log."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "(nothing)"

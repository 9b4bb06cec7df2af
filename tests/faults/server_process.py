"""The storage SCP in a process of its own, whose memory and threads can be counted from outside.

As a program: ``python -m tests.faults.server_process DIRECTORY SETTINGS``; it prints its port and process
id, serves until standard input ends, and logs to standard error as the node does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Any

from dicomnode.logs import configure_logging
from dicomnode.receive.judge import CompletenessSettings
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.spool.spool import Spool
from tests.conftest import REPOSITORY
from tests.dicom_network import DECODABLE, installed, until


class ServerProcess(AbstractContextManager["ServerProcess"]):
    """A running server.

    Parameters
    ----------
    directory:
        Of the spool.
    tmpfs:
        Options of a small file system that is mounted there for the server alone; it lasts until the end of
        the second server, which begins when the first is killed.
    settings:
        Of :class:`ServerSettings`, and ``minimum_free_bytes``.
    """

    def __init__(self, directory: Path, *, tmpfs: str = "", **settings: Any) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tests.faults.server_process", str(directory), json.dumps(settings)]
        if tmpfs:
            mount = f'mount -t tmpfs -o {tmpfs} tmpfs "$0" && ("$@"; "$@")'
            command = ["unshare", "-Urm", "sh", "-c", mount, str(directory), *command]
        self._log_path = directory.with_suffix(".log")
        with self._log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=REPOSITORY
            )
        self.port = self.pid = 0
        self._take_port()

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def kill_and_restart(self) -> None:
        """SIGKILL; the next server takes over the small file system."""
        os.kill(self.pid, signal.SIGKILL)
        self._take_port()

    @property
    def seen_directory(self) -> Path:
        """The spool as the server sees it, inside its own mount."""
        return Path(f"/proc/{self.pid}/root{self.directory.resolve()}")

    def log(self) -> str:
        return self._log_path.read_text(encoding="utf-8")

    def memory_mb(self) -> float:
        """Resident memory that is the process's own (files that are mapped are the system's cache)."""
        return self._status("RssAnon") / 1e3

    def threads(self) -> int:
        return self._status("Threads")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def free_bytes(self) -> int:
        room = os.statvfs(self.seen_directory)
        return room.f_bavail * room.f_frsize

    def recorded(self) -> dict[str, tuple[str, str]]:
        """SOP Instance UID to path and SHA-256 of the data set, as the ledger has them; nobody may send."""
        return {uid: (path, sha256) for uid, path, sha256 in self._rows()}

    def digests(self) -> set[str]:
        """SHA-256 of every data set that is kept; one SOP Instance UID may stand in several series."""
        return {sha256 for _, _, sha256 in self._rows()}

    def _rows(self) -> list[tuple[str, str, str]]:
        with tempfile.TemporaryDirectory() as copy:  # SQLite wouldn't find its way through /proc
            for name in ("ledger.sqlite", "ledger.sqlite-wal"):
                shutil.copy(self.seen_directory / name, copy)
            with closing(sqlite3.connect(Path(copy) / "ledger.sqlite")) as ledger:
                return ledger.execute("SELECT sop_instance_uid, path, sha256 FROM instance").fetchall()

    def storescu(self, *arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return self._dcmtk("storescu", *arguments, timeout=timeout)

    def start_storescu(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        command = [installed("storescu"), "-aec", "DICOMNODE", "127.0.0.1", str(self.port)]
        return subprocess.Popen(
            [*command, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def echo_works(self) -> bool:
        return self._dcmtk("echoscu").returncode == 0

    def is_quiet(self, threads: int) -> bool:
        """Whether all connections are over."""
        return self.threads() <= threads

    def wait_until_quiet(self, threads: int) -> None:
        until(lambda: self.is_quiet(threads), seconds=60)

    def _take_port(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the server did not start: {self.log()}"
        self.port, self.pid = map(int, line.split())

    def _dcmtk(self, tool: str, *arguments: str | Path, timeout: float = 60) -> Any:
        command = [installed(tool), "-aec", "DICOMNODE", "127.0.0.1", str(self.port), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    def _status(self, field: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
        raise AssertionError(f"no {field} in /proc")


def main() -> None:
    """Serve."""
    directory, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    configure_logging("INFO", "text")
    spool = Spool(directory, settings.pop("minimum_free_bytes", 0))
    spool.recover()
    completeness = CompletenessSettings(quiet_seconds=1, deadline_seconds=60)
    server = StorageServer(
        ServerSettings("DICOMNODE", "127.0.0.1", 0, completeness=completeness, **settings), spool, DECODABLE
    )
    server.start()
    print(server.port, os.getpid(), flush=True)
    sys.stdin.read()
    server.stop(drain_seconds=0)
    spool.close()


if __name__ == "__main__":
    main()

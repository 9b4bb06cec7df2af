"""The daemon under test: a process of its own that is killed and started again on the same spool."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

from tests.dicom_network import free_port, is_listening

ATTEMPTS = 10
START_SECONDS = 120.0
STOP_SECONDS = 120.0

_CONFIGURATION = """\
[node]
ae_title = "DICOMNODE"
host = "127.0.0.1"
port = {port}

[spool]
directory = "{spool}"
minimum_free_gb = 0.1

[series]
quiet_seconds = 1.0
release_seconds = 1.0

[analysis]
device = "cpu"
attempts = {attempts}

[[destination]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {pacs_port}
commitment = {commitment}
retry = {{ first_seconds = 0.2, factor = 1.5, cap_seconds = 1.0 }}
"""


class Daemon:
    """``dicomnode serve`` with its spool, configuration and log below ``directory``."""

    def __init__(self, directory: Path, pacs_port: int, *, commitment: bool) -> None:
        directory.mkdir(parents=True)
        self.port = free_port()
        self.spool = directory / "spool"
        self.config_path = directory / "dicomnode.toml"
        self.log_path = directory / "dicomnode.log"
        self.starts = 0
        self._fired = directory / "fired"
        self._process: subprocess.Popen[bytes] | None = None
        self.config_path.write_text(
            _CONFIGURATION.format(
                port=self.port,
                spool=self.spool,
                attempts=ATTEMPTS,
                pacs_port=pacs_port,
                commitment=str(commitment).lower(),
            ),
            encoding="utf-8",
        )

    def start(self, point: str = "", call: int = 0) -> None:
        """Start it, under the launcher if it shall kill itself at ``point``; doesn't wait."""
        self._fired.unlink(missing_ok=True)
        launcher = ["tests.kills.launcher", point, str(call), str(self._fired)]
        module = launcher if point else ["dicomnode.cli"]
        command = [sys.executable, "-m", *module, "serve", "--config", str(self.config_path)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.starts += 1

    def listens(self) -> bool:
        """Wait until it listens; false if it ended before that."""
        deadline = time.monotonic() + START_SECONDS
        while not is_listening(self.port):
            if not self.is_alive:
                return False
            assert time.monotonic() < deadline, f"the daemon doesn't listen, see {self.log_path}"
            time.sleep(0.02)
        return True

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def has_fired(self) -> bool:
        """Whether it was the launcher that killed it."""
        return self._fired.exists()

    def ends_within(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return not self.is_alive

    def kill(self) -> None:
        """SIGKILL; harmless if it's dead already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_SECONDS)

    @property
    def exit_status(self) -> int | None:
        return None if self._process is None else self._process.poll()

"""A Ray cluster whose machines are all this one: heads and raylets as processes, to be started and killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

from dicomnode.demo.orthanc import free_port

OBJECT_STORE_BYTES = 200_000_000
START_SECONDS = 120.0
_MARK = "DICOMNODE_RAY_MACHINE"
_REPOSITORY = Path(__file__).resolve().parents[1]


class RayMachine:
    """One raylet, with the head's processes where it has no head to join.

    Parameters
    ----------
    cpus:
        CPUs that it offers.
    head:
        Whom it joins; None makes it a head.
    clients:
        Whether a head serves ``ray://`` as well.
    """

    def __init__(self, cpus: int, head: RayMachine | None = None, *, clients: bool = False) -> None:
        self._cpus = cpus
        self._head = head
        self._mark = ""
        self._folder = ""
        self.port = head.port if head else free_port()
        self.client_port = free_port() if clients else 0

    @property
    def address(self) -> str:
        """The head's address for the machines of the cluster."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it has joined; again after :meth:`kill`, a head at the same address."""
        self._mark = f"{_MARK}={uuid.uuid4()}"
        self._folder = tempfile.mkdtemp(prefix="ray-")  # short: sockets below it have 107 characters
        name, value = self._mark.split("=")
        environment = {
            **os.environ,
            name: value,
            "PYTHONPATH": str(_REPOSITORY),
            "RAY_worker_niceness": "0",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
        }
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats"]
        command += ["--num-cpus", str(self._cpus), "--num-gpus", "0", "--node-ip-address", "127.0.0.1"]
        command += ["--object-store-memory", str(OBJECT_STORE_BYTES)]
        if self._head:
            command += ["--address", self.address]
        else:
            command += ["--head", "--port", str(self.port), "--include-dashboard", "false"]
            command += ["--temp-dir", self._folder]
            command += ["--ray-client-server-port", str(self.client_port)] if self.client_port else []
        subprocess.run(
            command,
            env=environment,
            check=True,
            timeout=START_SECONDS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def pids(self, word: str = "") -> list[int]:
        """Its processes, of those whose command has ``word``."""
        own = {pid for pid in _processes() if self._mark.encode() in _read(pid, "environ").split(b"\0")}
        while children := {pid for pid in _processes() if _parent(pid) in own} - own:
            own |= children  # a process that gave itself a title may have overwritten its environment
        return sorted(pid for pid in own if word.encode() in _read(pid, "cmdline").replace(b"\0", b" "))

    def kill(self) -> None:
        """SIGKILL to all its processes, as a power cut would; does nothing to one that isn't running."""
        while self._mark and (pids := self.pids()):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self._mark = ""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _processes() -> list[int]:
    """Those that run; one that is dead and not yet fetched by its parent doesn't."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _read(int(path.name), "cmdline")]


def _parent(pid: int) -> int:
    words = _read(pid, "stat").rpartition(b")")[2].split()
    return int(words[1]) if words else 0


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""

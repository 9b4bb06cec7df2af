"""The process as systemd sees it: the unit's own command with a notify socket, a watchdog and signals."""

from __future__ import annotations

import ctypes.util
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom import dcmwrite

from tests.certificates import Certificate, House
from tests.conftest import REPOSITORY
from tests.dicom_network import free_port, installed, make_ct, storescp, until
from tests.sandbox import settings

UNIT = REPOSITORY / "systemd" / "dicomnode.service"
THREADS = ("analysis", "storage-scp", "completeness", "housekeeping")

# Ends one thread of a running node by an error, as a mistake in its code would.
BREAK_A_THREAD = """
import ctypes, os, sys, threading, time
from dicomnode.cli import main

def break_it():
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.01)
    while not (found := [t for t in threading.enumerate() if t.name == sys.argv[1] and t.is_alive()]):
        time.sleep(0.01)
    while found[0].is_alive():  # once isn't enough: where a finalizer runs just then the error is swallowed
        ident = ctypes.c_ulong(found[0].ident)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
        print("armed", file=sys.stderr, flush=True)
        time.sleep(0.2)

threading.Thread(target=break_it, daemon=True).start()
sys.exit(main(sys.argv[3:]))
"""
"""Ends the thread of a name as soon as a file is there; arguments are both, and the command's."""


def command_of_the_unit(config: Path) -> list[str]:
    """ExecStart, with this interpreter's dicomnode and this configuration in place of the installed ones."""
    program, *arguments = shlex.split(dict(settings(UNIT))["ExecStart"])
    assert program == "/opt/dicomnode/bin/dicomnode"
    places = {"/etc/dicomnode/dicomnode.toml": str(config)}
    return [sys.executable, "-m", "dicomnode.cli", *(places.get(word, word) for word in arguments)]


@dataclass
class Service:
    """A running node, and what it told the service manager."""

    process: subprocess.Popen[bytes]
    listener: socket.socket
    log: Path
    port: int
    told: list[str] = field(default_factory=list)

    def hear(self, what: str, seconds: float = 60) -> str:
        """The next message that begins with ``what``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.listener.settimeout(max(0.01, deadline - time.monotonic()))
            self.told.append(self.listener.recv(4096).decode())
            if self.told[-1].startswith(what):
                return self.told[-1]
        raise AssertionError(f"{what} was not heard: {self.told}")

    def systemctl(self, verb: str) -> None:
        """What systemd does with the unit."""
        keys = dict(settings(UNIT))
        if verb == "reload":
            assert keys["ExecReload"] == "/bin/kill -HUP $MAINPID"
            self.process.send_signal(signal.SIGHUP)
        else:
            assert keys["KillMode"] == "mixed"  # the signal goes to the main process alone
            self.process.terminate()

    def reload(self) -> str:
        """Reload, and what is logged by it."""
        before = len(self.log_text)
        self.systemctl("reload")
        told = self.hear("RELOADING=1")
        assert 0 < int(told.split("MONOTONIC_USEC=")[1]) <= time.monotonic_ns() // 1000
        self.hear("READY=1")
        return self.log_text[before:]

    @property
    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def echo(self, *options: str | Path) -> bool:
        return self._send("echoscu", *options)

    def store(self, *files: Path) -> bool:
        return self._send("storescu", files=files)

    def _send(self, tool: str, *options: str | Path, files: Sequence[Path] = ()) -> bool:
        where = ["-aec", "DICOMNODE", *map(str, options), "127.0.0.1", str(self.port), *map(str, files)]
        command = [installed(tool), *where]
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


Start = Callable[..., Service]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "dicomnode.toml"


@pytest.fixture
def write(config: Path, tmp_path: Path) -> Callable[[str], None]:
    """Write the configuration; what stays the same in a test, and ``more``."""
    port = free_port()

    def write(more: str = "", node: str = "") -> None:
        config.write_text(
            f'[node]\nhost = "127.0.0.1"\nport = {port}\n{node}\n'
            f'[spool]\ndirectory = "{tmp_path / "spool"}"\nminimum_free_gb = 0.01\n{more}',
            encoding="utf-8",
        )

    write()
    return write


@pytest.fixture
def start(config: Path, write: Callable[[str], None], tmp_path: Path) -> Iterator[Start]:
    """Start the unit's command as systemd would."""
    running: list[Service] = []
    assert dict(settings(UNIT))["Type"] == "notify"

    def start(watchdog_seconds: float | None = None, command: Sequence[str] = ()) -> Service:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(tmp_path / "notify"))
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        if watchdog_seconds is not None:
            environment["WATCHDOG_USEC"] = str(int(watchdog_seconds * 1e6))
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command or command_of_the_unit(config), env=environment, stderr=output)
        running.append(
            Service(process, listener, log, int(config.read_text().split("port = ")[1].split()[0]))
        )
        return running[-1]

    yield start
    for service in running:
        service.process.kill()
        service.process.wait()
        service.listener.close()


def test_ready_alive_stopping(start: Start) -> None:
    service = start(watchdog_seconds=0.4)
    assert service.hear("READY=1") == f"READY=1\nSTATUS=listening on port {service.port}"
    assert service.echo()
    for _ in range(3):
        service.hear("WATCHDOG=1", seconds=5)
    service.systemctl("stop")
    service.hear("STOPPING=1")
    assert service.process.wait(30) == 0
    assert "Traceback" not in service.log_text


def test_a_reload_changes_who_may_send(start: Start, write: Callable[..., None]) -> None:
    service = start()
    service.hear("READY=1")
    assert service.echo("-aet", "CT1")
    assert service.echo("-aet", "CT2")
    write('[access]\ncalling_ae_titles = ["CT1"]\n[log]\nlevel = "WARNING"\n', node="max_associations = 3")
    told = service.reload()
    assert "access.calling_ae_titles" not in told  # of level INFO, which the new level leaves out
    assert "these keys need a restart: node.max_associations" in told
    assert service.echo("-aet", "CT1")
    assert not service.echo("-aet", "CT2")
    write()
    assert 'configuration reloaded changed="access.calling_ae_titles, log.level"' in service.reload()
    assert service.echo("-aet", "CT2")


def test_a_reload_reaches_a_destination_that_was_mistyped(
    start: Start, write: Callable[..., None], tmp_path: Path
) -> None:
    def destination(port: int) -> str:
        place = f'ae_title = "PACS"\nhost = "127.0.0.1"\nport = {port}\n'
        return f'[series]\nquiet_seconds = 0.2\n[[destination]]\nname = "pacs"\n{place}'

    slice_file = tmp_path / "slice.dcm"
    dcmwrite(slice_file, make_ct(), enforce_file_format=True)
    with storescp(tmp_path, "-aet", "PACS") as (port, received):
        write(destination(free_port()))
        service = start()
        service.hear("READY=1")
        assert service.store(slice_file)
        until(lambda: "no connection" in service.log_text, 60)
        assert not list(received.iterdir())
        write(destination(port))
        assert "changed=destination" in service.reload()
        until(lambda: list(received.iterdir()), 60)
    service.systemctl("stop")
    assert service.process.wait(60) == 0


WRONG_FILES = {
    '[access]\naddresses = ["ten"]\n': "access.addresses.0",
    "[access]\ncalling = 1\n": "access.calling: there is no such key",
    "[access\n": "dicomnode.toml",
}


def test_a_wrong_file_changes_nothing(start: Start, write: Callable[..., None]) -> None:
    write('[access]\ncalling_ae_titles = ["CT1"]\n')
    service = start()
    service.hear("READY=1")
    for wrong, told in WRONG_FILES.items():
        write(wrong)
        log = service.reload()
        assert "not reloaded, the configuration stays as it was" in log
        assert told in log
        assert service.echo("-aet", "CT1")
        assert not service.echo("-aet", "CT2")
    assert service.process.poll() is None


def test_a_reload_takes_a_renewed_certificate(
    start: Start, write: Callable[..., None], house: House, tmp_path: Path
) -> None:
    mine = Certificate(tmp_path / "mine.crt", tmp_path / "mine.key")

    def renew(source: Certificate) -> None:
        mine.cert.write_bytes(source.cert.read_bytes())
        mine.key.write_bytes(source.key.read_bytes())

    renew(house.expired_node)
    write(node=f'tls = {{ cert = "{mine.cert}", key = "{mine.key}", ca = "{house.hospital.ca}" }}')
    service = start()
    service.hear("READY=1")
    sender = ("+tls", house.scanner.key, house.scanner.cert, "+cf", house.hospital.ca)
    assert not service.echo(*sender)
    renew(house.node)
    service.reload()
    assert service.echo(*sender)
    mine.key.write_bytes(house.scanner.key.read_bytes())
    log = service.reload()
    assert "node.tls" in log
    assert "the key does not belong to the certificate" in log
    assert service.echo(*sender)


def test_a_missing_certificate_is_one_sentence_at_the_start(start: Start, write: Callable[..., None]) -> None:
    write(node='tls = { cert = "/nowhere/node.pem", key = "/nowhere/node.key" }')
    service = start()
    assert service.process.wait(30) == 1
    assert service.log_text.splitlines()[-1].endswith(
        "/nowhere/node.pem can't be read: No such file or directory"
    )
    assert "Traceback" not in service.log_text


@pytest.mark.parametrize("thread", THREADS)
def test_the_watchdog_hears_nothing_of_a_node_without_one_of_its_threads(
    start: Start, config: Path, tmp_path: Path, thread: str
) -> None:
    now = tmp_path / "now"
    broken = [sys.executable, "-c", BREAK_A_THREAD, thread, str(now), *command_of_the_unit(config)[3:]]
    service = start(watchdog_seconds=0.2, command=broken)
    service.hear("READY=1")
    if thread == "analysis":  # while it starts the worker its own clean-up would be broken, without an end
        until(lambda: "model loaded" in service.log_text, seconds=60)
    now.touch()
    if thread in ("analysis", "completeness"):  # these sleep until there is something to do
        path = tmp_path / "slice.dcm"
        make_ct().save_as(path, enforce_file_format=True)
        until(lambda: "armed" in service.log_text)
        assert service.store(path)
    service.hear("STATUS=not well, a thread has ended")
    service.listener.settimeout(1)  # five times the watchdog's patience
    with pytest.raises(TimeoutError):
        service.listener.recv(4096)


def test_without_a_watchdog_a_node_without_one_of_its_threads_ends(
    start: Start, config: Path, tmp_path: Path
) -> None:
    now = tmp_path / "now"
    now.touch()
    broken = [sys.executable, "-c", BREAK_A_THREAD, "storage-scp", str(now), *command_of_the_unit(config)[3:]]
    service = start(command=broken)
    service.hear("READY=1")
    assert service.process.wait(30) == 1
    assert "a thread has ended: storage-scp" in service.log_text


def test_a_study_is_answered_and_drained_under_the_units_restrictions(
    start: Start, config: Path, write: Callable[..., None], tmp_path: Path
) -> None:
    """The worker's libraries get along with the system call filter, and SIGTERM waits for the analysis."""
    if shutil.which("systemd-analyze") is None or ctypes.util.find_library("seccomp") is None:
        pytest.skip("systemd-analyze and libseccomp are needed to apply the unit's filter")
    write('[series]\nquiet_seconds = 0.5\nrelease_seconds = 0.5\n[analysis]\ndevice = "cpu"\n')
    slices = build_phantom(tmp_path / "ct")
    sandbox = [sys.executable, str(REPOSITORY / "tests" / "sandbox.py"), str(UNIT)]
    service = start(command=[*sandbox, *command_of_the_unit(config)])
    service.hear("READY=1")
    assert service.store(*slices)
    until(lambda: "analysis begins" in service.log_text, seconds=60)
    service.systemctl("stop")
    service.hear("STOPPING=1")
    assert service.process.wait(200) == 0
    told = service.log_text
    assert told.index("draining") < told.index("series analyzed") < told.index("stopped"), told
    for wrong in ("ERROR", "CRITICAL", "attempt failed", "Traceback", "not permitted"):
        assert wrong not in told, told


def test_the_restrictions_hold_in_the_sandbox() -> None:
    if shutil.which("systemd-analyze") is None or ctypes.util.find_library("seccomp") is None:
        pytest.skip("systemd-analyze and libseccomp are needed to apply the unit's filter")
    sandbox = [sys.executable, str(REPOSITORY / "tests" / "sandbox.py"), str(UNIT)]
    forbidden = [sys.executable, "-c", "import os; os.chown('/tmp', 0, 0)"]
    tried = subprocess.run([*sandbox, *forbidden], capture_output=True, text=True, check=False)
    assert "Operation not permitted" in tried.stderr


def build_phantom(folder: Path) -> list[Path]:
    command = [sys.executable, "-m", "dicomnode.phantom", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return sorted(folder.rglob("*.dcm"))

"""The daemon: a second node on its spool is turned away, a taken port told in one sentence."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.demo.orthanc import free_port


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A node on a free port with a spool of its own."""
    path = tmp_path / "dicomnode.toml"
    path.write_text(
        f'[node]\nhost = "127.0.0.1"\nport = {free_port()}\n'
        f'[spool]\ndirectory = "{tmp_path / "spool"}"\nminimum_free_gb = 0.1\n',
        encoding="utf-8",
    )
    return path


@pytest.fixture
def service_manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        yield listener


def start(config: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dicomnode.cli", "serve", "--config", str(config)]
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)


def test_a_second_node_on_the_same_spool_is_turned_away(config: Path, service_manager: socket.socket) -> None:
    first = start(config, NOTIFY_SOCKET=service_manager.getsockname())
    try:
        assert service_manager.recv(4096).startswith(b"READY=1")
        second = start(config)
        _, told = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "in use by another node" in told
        assert "Traceback" not in told
    finally:
        first.kill()
        first.wait()


def test_a_port_that_is_taken_is_one_sentence(config: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node = start(config, DICOMNODE_NODE__PORT=str(taken.getsockname()[1]))
        _, told = node.communicate(timeout=60)
    assert node.returncode == 1
    assert "can't listen on 127.0.0.1" in told.splitlines()[-1]

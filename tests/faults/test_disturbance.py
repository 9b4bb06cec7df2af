"""Peers that stall, trickle, scan, speak something else or cut off, all at once: others are served on."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from pynetdicom.dsutils import encode

from tests.dicom_network import make_ct
from tests.faults.conversation import (
    ABORT,
    COMMAND,
    LAST,
    associate_request,
    p_data,
    store_command,
    store_request,
    talk,
)
from tests.faults.server_process import ServerProcess

SLICES = 100
SLOWER_AT_MOST = 8.0  # the disturbers and the sender share the machine's processors with the server

ABSURD_LENGTH = struct.pack("<HH2sxxL", 0x0008, 0x1110, b"OB", 0xFFFFFFF0)
DEEP = 20_000 * (
    struct.pack("<HH2sxxL", 0x0008, 0x1110, b"SQ", 0xFFFFFFFF)
    + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
)
UIDS = ("../../../tmp/evil", "1.2'; DROP TABLE series; --", '1."2', "1" * 65, "1" * 200, "")


def with_uid(uid: str) -> bytes:
    """A data set whose Series Instance UID is no UID."""
    marker = "1.2.826.0.1.3680043.8.498.33"
    dataset = make_ct(SeriesInstanceUID=marker)
    data = encode(dataset, False, True)
    assert data is not None
    value = uid.encode() + b"\0" * (len(uid) % 2)
    place = data.index(marker.encode())
    return data[: place - 2] + struct.pack("<H", len(value)) + value + data[place + len(marker) :]


def connect_and_say(data: bytes) -> Callable[[int], None]:
    def disturb(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(data)

    return disturb


def scan(port: int) -> None:
    for _ in range(20):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def abort_in_the_middle(port: int) -> None:
    with talk(port, 5) as sender:
        sender.associate()
        sender.send(p_data(store_command(), COMMAND | LAST))
        sender.send(p_data(bytes(16000), 0))
        sender.send(ABORT)


def hang_up_in_the_middle(port: int) -> None:
    with talk(port, 5) as sender:
        sender.associate()
        sender.send(p_data(store_command(), COMMAND | LAST) + p_data(bytes(16000), 0)[:5000])


def store(data: bytes) -> Callable[[int], None]:
    def disturb(port: int) -> None:
        with talk(port, 5) as sender:
            sender.associate()
            for pdu in store_request(data, store_command(sop_instance_uid=str(make_ct().SOPInstanceUID))):
                sender.send(pdu)
            assert sender.status() == 0xC000

    return disturb


DISTURBANCES: list[Callable[[int], None]] = [
    scan,
    connect_and_say(b"GET / HTTP/1.1\r\nHost: dicomnode\r\n\r\n"),
    connect_and_say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
    connect_and_say(associate_request() + b"\x04\x00\xff\xff\xff\xff" + bytes(5000)),
    connect_and_say(b"\x01\x00\x7f\xff\xff\xff" + bytes(5000)),
    abort_in_the_middle,
    hang_up_in_the_middle,
    store(ABSURD_LENGTH),
    store(DEEP),
    *(store(with_uid(uid)) for uid in UIDS),
]


def send_timed(server: ServerProcess, slices: Sequence[Path]) -> float:
    begin = time.monotonic()
    run = server.storescu("-xs", *slices)
    assert run.returncode == 0, run.stderr
    return time.monotonic() - begin


def test_uids_that_are_none_are_refused_one_by_one(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "spool") as server:
        for uid in UIDS:
            store(with_uid(uid))(server.port)
        assert server.recorded() == {}


def test_others_are_served_while_all_of_this_goes_on(
    tmp_path: Path, ricord: Sequence[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with ServerProcess(tmp_path / "spool", idle_seconds=60, negotiation_seconds=60) as server:
        threads = server.threads()
        alone = send_timed(server, ricord[:SLICES])
        server.wait_until_quiet(threads)
        memory, descriptors = server.memory_mb(), server.descriptors()
        over, counts = threading.Event(), itertools.count()
        with ExitStack() as stalled:
            for number in range(40):  # some connect only, some say a byte, some stall in an association
                connection = stalled.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                if number % 3 == 1:
                    connection.sendall(b"\x01")
                elif number % 3 == 2:
                    connection.sendall(associate_request() + p_data(store_command(), COMMAND | LAST)[:9])

            def disturb(turn: int) -> None:
                while not over.wait(0.02):
                    with contextlib.suppress(OSError, AssertionError):  # not admitted now, or cut off
                        DISTURBANCES[turn % len(DISTURBANCES)](server.port)
                    turn += 1
                    next(counts)

            disturbers = [threading.Thread(target=disturb, args=(5 * first,)) for first in range(3)]
            for disturber in disturbers:
                disturber.start()
            disturbed = send_timed(server, ricord[SLICES : 2 * SLICES])
            over.set()
            for disturber in disturbers:
                disturber.join()
        server.wait_until_quiet(threads)
        after = server.memory_mb()
        with capsys.disabled():
            print(
                f"\n{SLICES} slices alone {alone:.2f} s; beside 40 stalled connections and {next(counts)} "
                f"disturbances {disturbed:.2f} s; memory {memory:.0f} MB before, {after:.0f} MB after, "
                f"threads {threads} and {server.threads()}"
            )
        assert len(server.recorded()) == 2 * SLICES
        assert disturbed < SLOWER_AT_MOST * alone + 2
        assert after - memory < 60
        assert server.descriptors() <= descriptors + 1
        assert server.echo_works()
        assert "Traceback" not in server.log()
        assert "a thread ended by an error" not in server.log()


def test_seventy_idle_connections_cost_nobody_anything(
    tmp_path: Path, ricord: Sequence[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each used to wake two threads a thousand times a second: another sender took sixteen times as long."""
    with ServerProcess(tmp_path / "spool") as server, ExitStack() as idle:
        alone = send_timed(server, ricord[:SLICES])
        for _ in range(31):
            idle.enter_context(talk(server.port)).associate()
        for _ in range(39):
            idle.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        beside = send_timed(server, ricord[SLICES : 2 * SLICES])
        with capsys.disabled():
            print(f"\n{SLICES} slices alone {alone:.2f} s, beside 70 idle connections {beside:.2f} s")
        assert beside < 4 * alone + 1


def test_a_few_hundred_connects_leave_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "spool") as server:
        threads, descriptors = server.threads(), server.descriptors()
        for _ in range(400):
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        server.wait_until_quiet(threads)
        assert server.descriptors() <= descriptors + 1
        assert server.echo_works()

"""Bytes that are no DICOM, peers that stall, and transfers cut off: the node goes on serving the others."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom.dsutils import encode

from dicomnode.receive.access import AccessPolicy, Rejection
from dicomnode.spool.states import SeriesState
from tests.dicom_network import Node, NodeFactory, associate, installed, make_ct, until
from tests.faults.conversation import associate_request, store_command, store_request, talk


def closed_by_peer(connection: socket.socket) -> bool:
    """Read until the node closes."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: dicomnode\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),  # a TLS ClientHello
        b"\x04\x00\x00\x00\x00\x04\x00\x00\x00\x00",  # P-DATA before any association
        b"\x01\x00\xff\xff\xff\xff" + bytes(1000),  # an A-ASSOCIATE-RQ of 4 GiB
        b"\x01\x00\x00\x00\x00\x10" + bytes(16),  # an A-ASSOCIATE-RQ of zeros
        b"SSH-2.0-scanner\r\n",
        bytes(64),
        b"\xff" * 64,
    ],
)
def test_what_is_no_dicom_is_hung_up_on(node: Node, garbage: bytes) -> None:
    with node.connect() as connection:
        connection.sendall(garbage)
        assert node.echo_works()
        with contextlib.suppress(OSError):  # the node was faster
            connection.shutdown(socket.SHUT_WR)
        assert closed_by_peer(connection)
    assert node.echo_works()
    until(lambda: node.server.open_associations == 0)


class HesitantPolicy(AccessPolicy):
    """Takes its time, as the machine's scheduler may."""

    def verdict(self, called_ae_title: str, calling_ae_title: str, address: str) -> Rejection | None:
        time.sleep(0.5)
        return super().verdict(called_ae_title, calling_ae_title, address)


def test_an_answer_that_comes_too_late_is_not_said(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer's second PDU ended the association before the node accepted it; a thread died of that."""
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda end: died.append(end.exc_type))
    monkeypatch.setattr(node.server, "_access", HesitantPolicy("DICOMNODE"))
    with node.connect() as connection:
        connection.sendall(associate_request() + associate_request())
        assert closed_by_peer(connection)
    until(lambda: node.server.open_associations == 0)
    assert died == []
    assert node.echo_works()


def test_a_port_scan_leaves_nothing_behind(node: Node) -> None:
    for _ in range(50):
        node.connect().close()
    assert node.echo_works()
    until(lambda: node.server.open_associations == 0)


@pytest.mark.parametrize("beginning", [b"", b"\x01", b"\x01\x00\x00\x00\x01\x00\x00"])
def test_a_peer_that_says_next_to_nothing_is_hung_up_on(start_node: NodeFactory, beginning: bytes) -> None:
    node = start_node(negotiation_seconds=0.5, idle_seconds=0.5)
    with node.connect() as connection:
        connection.sendall(beginning)
        assert closed_by_peer(connection)
    until(lambda: node.server.open_associations == 0)
    assert node.echo_works()


def test_a_pdu_that_trickles_in_is_cut_off(start_node: NodeFactory) -> None:
    node = start_node(negotiation_seconds=1, idle_seconds=1)
    with node.connect() as connection:
        connection.sendall(b"\x01\x00\x00\x00\x10\x00")
        begin = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - begin < 15:
                connection.sendall(b"\0")
                time.sleep(0.05)
    until(lambda: node.server.open_associations == 0)


def test_a_silent_association_is_aborted(start_node: NodeFactory) -> None:
    node = start_node(idle_seconds=0.5)
    association = associate(node)
    assert association.send_c_store(make_ct()).Status == 0
    until(lambda: association.is_aborted)
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))


def test_an_association_while_the_clock_is_set_forward(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It used to end every association."""
    now = time.time
    with talk(node.port) as sender:
        sender.associate()
        monkeypatch.setattr(time, "time", lambda: now() + 3 * 86400)
        time.sleep(0.5)  # the node looks at its timers ten times a second
        uid, data = str(make_ct().SOPInstanceUID), encode(make_ct(), False, True)
        for pdu in store_request(data or b"", store_command(sop_instance_uid=uid)):
            sender.send(pdu)
        assert sender.status() == 0
        assert sender.release()


def test_a_silent_association_while_the_clock_is_set_back(
    start_node: NodeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It used to stay for as many days."""
    node = start_node(idle_seconds=1)
    now = time.time
    with talk(node.port) as sender:
        sender.associate()
        monkeypatch.setattr(time, "time", lambda: now() - 3 * 86400)
        assert closed_by_peer(sender.connection)
    until(lambda: node.server.open_associations == 0)


def test_others_are_served_while_many_stall(start_node: NodeFactory) -> None:
    node = start_node(max_associations=16)
    stalled = [node.connect() for _ in range(20)]
    for connection in stalled:
        connection.sendall(b"\x01")
    begin = time.monotonic()
    association = associate(node)
    assert association.send_c_store(make_ct()).Status == 0
    association.release()
    assert time.monotonic() - begin < 5
    for connection in stalled:
        connection.close()
    until(lambda: node.server.open_associations == 0)


def test_connections_are_limited(start_node: NodeFactory) -> None:
    node = start_node(max_associations=1)
    connections = [node.connect() for _ in range(10)]  # 2 x 1 + 8
    until(lambda: node.server.open_associations == 10)
    with node.connect() as eleventh:
        assert closed_by_peer(eleventh)
    for connection in connections:
        connection.close()
    until(lambda: node.server.open_associations == 0)
    until(node.echo_works)


def test_a_transfer_cut_off_in_the_middle_keeps_nothing_of_it(node: Node) -> None:
    association = associate(node)
    assert association.send_c_store(make_ct(1)).Status == 0
    context = association.accepted_contexts[0].context_id
    header = struct.pack(">BxLLB", 4, 5006, 5002, context)
    connection = association.dul.socket.socket
    connection.sendall(header + b"\x00" + bytes(1000))  # a fragment of a data set, promised longer
    connection.shutdown(socket.SHUT_RDWR)
    until(lambda: node.server.open_associations == 0)
    assert len(node.instances()) == 1
    assert list((node.spool.directory / "incoming").iterdir()) == []
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))
    assert node.echo_works()


def test_a_killed_sender_loses_only_what_was_not_acknowledged(node: Node, ricord: Sequence[Path]) -> None:
    command = [installed("storescu"), "-v", "-xs", "-aec", "DICOMNODE", "127.0.0.1", str(node.port)]
    sender = subprocess.Popen([*command, *map(str, ricord)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until(lambda: len(node.instances()) >= 5)
    sender.kill()
    output = (sender.communicate()[0]).decode()
    until(lambda: node.spool.ledger.list_series(SeriesState.COMPLETE))
    assert len(node.instances()) >= output.count("Received Store Response (Success)") > 0
    for record in node.instances():
        dcmread(node.spool.directory / record.path)
    assert node.echo_works()


def test_one_instance_from_four_associations_at_once_is_kept_once(node: Node) -> None:
    statuses: list[int] = []

    def send() -> None:
        association = associate(node)
        statuses.append(association.send_c_store(make_ct()).Status)
        association.release()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 4
    assert len(node.instances()) == 1

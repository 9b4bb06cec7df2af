"""Who is let in, and what the others are told."""

from __future__ import annotations

import struct

import pytest

from dicomnode.receive.access import AccessPolicy
from tests.dicom_network import NodeFactory, associate


@pytest.mark.parametrize(
    ("addresses", "peer", "allowed"),
    [
        ((), "203.0.113.9", True),
        (("192.0.2.7",), "192.0.2.7", True),
        (("192.0.2.7",), "192.0.2.8", False),
        (("192.0.2.0/24", "2001:db8::/32"), "192.0.2.200", True),
        (("192.0.2.0/24", "2001:db8::/32"), "2001:db8::1", True),
        (("192.0.2.0/24",), "2001:db8::1", False),
        (("192.0.2.0/24",), "::ffff:192.0.2.5", True),
        (("fe80::/10",), "fe80::1%eth0", True),
    ],
)
def test_addresses(addresses: tuple[str, ...], peer: str, allowed: bool) -> None:
    assert AccessPolicy("NODE", addresses=addresses).address_is_allowed(peer) is allowed


@pytest.mark.parametrize(
    ("called", "calling", "address", "answer"),
    [
        ("NODE", "CT1", "192.0.2.1", None),
        ("NODE            ", " CT1 ", "192.0.2.1", None),
        ("OTHER", "CT1", "192.0.2.1", (1, 1, 7)),
        ("node", "CT1", "192.0.2.1", (1, 1, 7)),
        ("NODE", "CT2", "192.0.2.1", (1, 1, 3)),
        ("NODE", "CT1", "198.51.100.1", (1, 1, 1)),
    ],
)
def test_rejections_have_the_right_reason(
    called: str, calling: str, address: str, answer: tuple[int, int, int] | None
) -> None:
    policy = AccessPolicy("NODE", ("CT1",), ("192.0.2.0/24",))
    rejection = policy.verdict(called, calling, address)
    assert (rejection and (rejection.result, rejection.source, rejection.reason)) == answer


def test_an_open_policy_says_so() -> None:
    assert AccessPolicy("NODE").is_open
    assert not AccessPolicy("NODE", addresses=("10.0.0.0/8",)).is_open


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="ten dot something"):
        AccessPolicy("NODE", addresses=("ten dot something",))


def test_the_wrong_called_ae_title_is_told_so(start_node: NodeFactory) -> None:
    run = start_node().dcmtk("echoscu", called="SOMEONE")
    assert "Called AE Title Not Recognized" in run.stderr


def test_an_unknown_calling_ae_title_is_told_so(start_node: NodeFactory) -> None:
    node = start_node(calling_ae_titles=("CT1",))
    assert "Calling AE Title Not Recognized" in node.dcmtk("echoscu").stderr
    assert node.dcmtk("echoscu", "-aet", "CT1").returncode == 0


def test_a_foreign_address_is_rejected(start_node: NodeFactory) -> None:
    node = start_node(addresses=("192.0.2.0/24",))
    assert "Association Rejected" in node.dcmtk("echoscu").stderr


def test_one_association_too_many_is_rejected_for_now(start_node: NodeFactory) -> None:
    node = start_node(max_associations=2)
    both = [associate(node), associate(node)]
    run = node.dcmtk("echoscu")
    assert "Rejected Transient" in run.stderr
    assert "Local Limit Exceeded" in run.stderr
    for association in both:
        association.release()


def association_request(
    called: bytes = b"DICOMNODE",
    calling: bytes = b"CT1",
    application_context: bytes = b"1.2.840.10008.3.1.1.1",
    protocol_version: int = 1,
) -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2) that proposes verification in Implicit VR Little Endian."""

    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(content)) + content

    context = b"\x01\0\0\0" + item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2")
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4")
    body = struct.pack(">HH", protocol_version, 0) + called.ljust(16) + calling.ljust(16) + bytes(32)
    body += item(0x10, application_context) + item(0x20, context) + item(0x50, user)
    return struct.pack(">BBI", 1, 0, len(body)) + body


REQUESTS = {
    "called AE title": (association_request(called=b"OTHER"), (1, 1, 7)),
    "calling AE title": (association_request(calling=b"CT2"), (1, 1, 3)),
    "application context": (association_request(application_context=b"1.2.3"), (1, 1, 2)),
    "protocol version": (association_request(protocol_version=2), (1, 2, 2)),
}


@pytest.mark.parametrize("what", REQUESTS)
def test_the_bytes_of_a_rejection(start_node: NodeFactory, what: str) -> None:
    request, (result, source, reason) = REQUESTS[what]
    node = start_node(calling_ae_titles=("CT1",))
    with node.connect() as connection:
        connection.sendall(request)
        # PS3.8 Table 9-21: type 03, length 4, reserved, result, source, reason
        assert connection.recv(64) == bytes((3, 0, 0, 0, 0, 4, 0, result, source, reason))
        assert connection.recv(64) == b""
    with node.connect() as connection:
        connection.sendall(association_request())
        assert connection.recv(1) == b"\x02"


def test_the_bytes_of_a_rejection_by_address_and_by_number(start_node: NodeFactory) -> None:
    foreign = start_node(addresses=("192.0.2.0/24",))
    with foreign.connect() as connection:
        connection.sendall(association_request())
        assert connection.recv(64) == bytes((3, 0, 0, 0, 0, 4, 0, 1, 1, 1))
    full = start_node(max_associations=1)
    with full.connect() as first, full.connect() as second:
        first.sendall(association_request())
        assert first.recv(1) == b"\x02"
        second.sendall(association_request())
        assert second.recv(64) == bytes((3, 0, 0, 0, 0, 4, 0, 2, 3, 2))


def test_the_longest_pdu_is_announced(start_node: NodeFactory) -> None:
    with start_node(max_pdu=65536).connect() as connection:
        connection.sendall(association_request())
        accepted = connection.recv(4096)
    assert b"\x51\0\0\x04" + struct.pack(">I", 65536) in accepted

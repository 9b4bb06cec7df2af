"""Messages that are too long, too many, wrong or of an unknown SOP class; every request gets an answer."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import zlib

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from dicomnode.receive import messages
from tests.dicom_network import Node, NodeFactory, make_ct, until
from tests.faults.conversation import (
    COMMAND,
    CONTEXT_ID,
    LAST,
    VERIFICATION,
    echo_command,
    p_data,
    store_command,
    store_request,
    talk,
)

UID = str(make_ct().SOPInstanceUID)


def ct(pixel_bytes: int = 512, number: int = 1) -> bytes:
    dataset = make_ct(number)
    dataset["PixelData"].value = bytes(pixel_bytes)
    encoded = encode(dataset, False, True)
    assert encoded is not None
    return encoded


def spool_is_clean(node: Node) -> bool:
    """Nothing half-written; the buffers' files have no name."""
    names = {path.name for path in node.spool.directory.iterdir()}
    return not list((node.spool.directory / "incoming").iterdir()) and names <= {
        "incoming", "instances", "journal", "lock", "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm",
    }  # fmt: skip


def test_a_sop_class_that_nobody_knows_is_answered_with_0122(node: Node) -> None:
    """pynetdicom used to abort the association, and the sender never learned why."""
    with talk(node.port) as sender:
        sender.associate()
        for unknown in ("1.2.3.4.5", VERIFICATION, "1.2.840.10008.5.1.4.31"):
            for pdu in store_request(ct(), store_command(unknown, UID)):
                sender.send(pdu)
            assert sender.status() == 0x0122
        for pdu in store_request(ct(), store_command(sop_instance_uid=UID)):
            sender.send(pdu)
        assert sender.status() == 0
        assert sender.release()
    assert len(node.instances()) == 1


@pytest.mark.parametrize("missing", ["sop_class_uid", "sop_instance_uid"])
def test_a_request_without_a_uid_gets_an_answer(node: Node, missing: str) -> None:
    """pynetdicom used to pass over it; the sender waited for its timeout."""
    with talk(node.port) as sender:
        sender.associate()
        for pdu in store_request(ct(), store_command(**{missing: None})):  # type: ignore[arg-type]
            sender.send(pdu)
        assert sender.status() == 0xC000
        assert sender.release()


def test_a_request_that_can_not_be_answered_is_aborted(node: Node) -> None:
    with talk(node.port) as sender:
        sender.associate()
        for pdu in store_request(ct(), store_command(message_id=None)):
            sender.send(pdu)
        assert sender.status() is None
    assert node.echo_works()


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"\xff" * 40,
        struct.pack("<HHLH", 0, 0x0100, 2, 0x7777),  # an unknown command
        struct.pack("<HHLH", 0, 0x0110, 2, 1),  # none at all
        struct.pack("<HHL", 0, 0x0100, 0xFFFFFFF0) + b"\x01\x00",
        store_command(CommandDataSetType=None),
        store_command(sop_instance_uid="1.2.3")
        .replace(b"1.2.3\0", b"1" * 70)
        .replace(b"\x06\0\0\x001111", b"\x46\0\0\x001111"),
    ],
    ids=["empty", "rubbish", "unknown", "none", "absurd length", "no data set type", "72 characters"],
)
def test_a_command_set_that_can_not_be_decoded_ends_its_association_alone(
    node: Node, command: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """It used to end pynetdicom's thread, whose last words on standard error could quote a patient."""
    with talk(node.port) as sender:
        sender.associate()
        sender.send(p_data(command, COMMAND | LAST))
        sender.send(p_data(ct(), LAST))
        assert sender.status() is None
    until(lambda: node.server.open_associations == 0)
    assert node.echo_works()
    assert "Traceback" not in capfd.readouterr().err


def test_an_empty_presentation_data_value_ends_its_association_alone(node: Node) -> None:
    with talk(node.port) as sender:
        sender.associate()
        sender.send(struct.pack(">BxLLB", 4, 5, 1, CONTEXT_ID))
        assert sender.status() is None
    until(lambda: node.server.open_associations == 0)
    assert node.echo_works()


def test_a_command_set_without_end_is_cut_off(node: Node) -> None:
    with talk(node.port) as sender:
        sender.associate()
        for _ in range(2 + messages.MAXIMUM_COMMAND_SET_BYTES // 1000):
            sender.send(p_data(bytes(1000), COMMAND))
        assert sender.status() is None
    assert node.echo_works()


def test_an_instance_beyond_the_limit_aborts_its_association(
    start_node: NodeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    node = start_node(max_instance_bytes=6_000_000)
    with talk(node.port) as sender:
        sender.associate()
        sender.send(p_data(store_command(), COMMAND | LAST))
        with contextlib.suppress(OSError):
            for _ in range(100):
                sender.send(p_data(bytes(100_000), 0))
        assert sender.status() is None
    until(lambda: node.server.open_associations == 0)
    assert "association aborted: an instance is longer than 6 MB (node.max_instance_mb)" in caplog.text
    assert node.instances() == []
    assert spool_is_clean(node)
    assert node.echo_works()


@pytest.mark.parametrize("pixel_bytes", [(4 << 20) - 100_000, 4 << 20, 9_000_000])
def test_a_large_instance_waits_on_the_disk_and_is_kept_whole(node: Node, pixel_bytes: int) -> None:
    data = ct(pixel_bytes)
    with talk(node.port) as sender:
        sender.associate()
        for pdu in store_request(data, store_command(sop_instance_uid=UID), 100_000):
            sender.send(pdu)
        assert sender.status() == 0
    (record,) = node.instances()
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert (node.spool.directory / record.path).read_bytes().endswith(data)
    assert spool_is_clean(node)


def test_a_large_instance_without_room_on_the_disk_is_told_so(node: Node) -> None:
    node.spool.minimum_free_bytes = 1 << 60
    with talk(node.port) as sender:
        sender.associate()
        for pdu in store_request(ct(9_000_000), store_command(sop_instance_uid=UID), 100_000):
            sender.send(pdu)
        assert sender.status() == 0xA700
        node.spool.minimum_free_bytes = 0
        for pdu in store_request(ct(9_000_000), store_command(sop_instance_uid=UID), 100_000):
            sender.send(pdu)
        assert sender.status() == 0
    assert spool_is_clean(node)


def test_requests_that_do_not_wait_for_answers_are_not_read_before_there_is_room(node: Node) -> None:
    """They used to pile up in memory. All are answered, in order, as fast as they are kept."""
    count = 40
    with talk(node.port) as sender:
        sender.associate()
        requests = b"".join(
            pdu
            for number in range(1, count + 1)
            for pdu in store_request(
                ct(number=number), store_command(sop_instance_uid=UID[:-1] + str(number), message_id=number)
            )
        )
        sender.send(requests)
        assert [sender.status() for _ in range(count)] == [0] * count
        assert sender.release()
    assert len(node.instances()) == count


def test_an_instance_deflated_to_a_bomb_is_not_understood(node: Node) -> None:
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(300 << 20)) + deflater.flush()
    with talk(node.port) as sender:
        sender.associate(transfer_syntax=DeflatedExplicitVRLittleEndian)
        for pdu in store_request(bomb, store_command(sop_instance_uid=UID)):
            sender.send(pdu)
        assert sender.status() == 0xC000


def test_an_echo_among_stores(node: Node) -> None:
    with talk(node.port) as sender:
        sender.associate(str(make_ct().SOPClassUID), VERIFICATION)
        sender.send(p_data(echo_command(), COMMAND | LAST, context_id=3))
        assert sender.status() == 0
        for pdu in store_request(ct(), store_command(sop_instance_uid=UID)):
            sender.send(pdu)
        assert sender.status() == 0
        assert sender.release()

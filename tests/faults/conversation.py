"""A sender that writes its PDUs itself, so that they can be wrong (PS3.8 9.3, PS3.7 6.3)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from tests.dicom_network import CT_IMAGE_STORAGE

CONTEXT_ID = 1
VERIFICATION = "1.2.840.10008.1.1"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
RELEASE_REQUEST = struct.pack(">BxLL", 5, 4, 0)
ABORT = struct.pack(">BxLHBB", 7, 4, 0, 0, 0)
COMMAND, LAST = 1, 2  # bits of the message control header (PS3.8 E.2)

ASSOCIATE_AC, P_DATA, RELEASE_RP, A_ABORT = 2, 4, 6, 7


def associate_request(
    abstract_syntaxes: Sequence[str] = (CT_IMAGE_STORAGE,), transfer_syntax: str = ExplicitVRLittleEndian
) -> bytes:
    """Presentation contexts 1, 3, 5 ..."""
    contexts = b"".join(
        _item(
            0x20,
            struct.pack(">B3x", 2 * number + 1)
            + _item(0x30, syntax.encode())
            + _item(0x40, str(transfer_syntax).encode()),
        )
        for number, syntax in enumerate(abstract_syntaxes)
    )
    user = _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.826.0.1.3680043.8.498.9")
    body = struct.pack(">H2x16s16s32x", 1, b"DICOMNODE".ljust(16), b"SCANNER".ljust(16))
    body += _item(0x10, APPLICATION_CONTEXT.encode()) + contexts + _item(0x50, user)
    return struct.pack(">BxL", 1, len(body)) + body


def p_data(fragment: bytes, control: int, context_id: int = CONTEXT_ID) -> bytes:
    """A P-DATA-TF PDU with one presentation data value."""
    return struct.pack(">BxLLBB", 4, len(fragment) + 6, len(fragment) + 2, context_id, control) + fragment


def store_command(
    sop_class_uid: str | None = CT_IMAGE_STORAGE,
    sop_instance_uid: str | None = "1.2.3",
    message_id: int | None = 1,
    **others: object,
) -> bytes:
    """An encoded C-STORE-RQ command set."""
    command = Dataset()
    command.CommandField = 0x0001
    command.Priority = 2
    command.CommandDataSetType = 1
    for keyword, value in {
        "AffectedSOPClassUID": sop_class_uid,
        "AffectedSOPInstanceUID": sop_instance_uid,
        "MessageID": message_id,
        **others,
    }.items():
        if value is not None:
            setattr(command, keyword, value)
        elif keyword in command:
            delattr(command, keyword)
    return encode_command(command)


def echo_command() -> bytes:
    """An encoded C-ECHO-RQ command set."""
    command = Dataset()
    command.AffectedSOPClassUID = VERIFICATION
    command.CommandField = 0x0030
    command.MessageID = 7
    command.CommandDataSetType = 0x0101
    return encode_command(command)


def encode_command(command: Dataset) -> bytes:
    """Implicit VR Little Endian with the group length in front."""
    encoded = encode(command, True, True)
    assert encoded is not None
    return struct.pack("<HHLL", 0, 0, 4, len(encoded)) + encoded


def store_request(data: bytes, command: bytes, fragment_bytes: int = 16000) -> Iterator[bytes]:
    """The PDUs of a C-STORE request."""
    yield p_data(command, COMMAND | LAST)
    for start in range(0, max(1, len(data)), fragment_bytes):
        is_last = start + fragment_bytes >= len(data)
        yield p_data(data[start : start + fragment_bytes], LAST if is_last else 0)


class Talk:
    """One connection."""

    def __init__(self, port: int, seconds: float = 20) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=seconds)

    def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self.connection.sendall(data)

    def associate(self, *abstract_syntaxes: str, transfer_syntax: str = ExplicitVRLittleEndian) -> None:
        """Open an association."""
        self.send(associate_request(abstract_syntaxes or (CT_IMAGE_STORAGE,), transfer_syntax))
        kind, _ = self.read_pdu()
        assert kind == ASSOCIATE_AC

    def read_pdu(self) -> tuple[int, bytes]:
        """The next PDU's type and body; type 0 if the peer has closed the connection."""
        header = self._read(6)
        if len(header) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxL", header)
        return kind, self._read(length)

    def status(self) -> int | None:
        """The status of the next response, or ``None`` if the association was aborted instead."""
        kind, body = self.read_pdu()
        if kind != P_DATA:
            return None
        place = body.find(struct.pack("<HHL", 0x0000, 0x0900, 2))
        assert place > 0, "a response without a status"
        return int(struct.unpack_from("<H", body, place + 8)[0])

    def release(self) -> bool:
        """Ask for release; whether it was granted."""
        self.send(RELEASE_REQUEST)
        return self.read_pdu()[0] == RELEASE_RP

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                piece = self.connection.recv(count - len(data))
            except ConnectionResetError:
                piece = b""
            if not piece:
                break
            data += piece
        return data


@contextmanager
def talk(port: int, seconds: float = 20) -> Iterator[Talk]:
    """A connection that is closed at the end."""
    talking = Talk(port, seconds)
    try:
        yield talking
    finally:
        talking.connection.close()


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content

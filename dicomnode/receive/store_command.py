"""C-STORE command sets as bytes: the requests that nearly all senders write, and their responses.

Whatever differs from the plain form is left to pynetdicom, so this understands less than it (PS3.7 9.3.1).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

COMMAND, LAST = 1, 2
"""Bits of the message control header (PS3.8 E.2)."""

_STORE_REQUEST = 0x0001
_STORE_RESPONSE = 0x8001
_NO_DATA_SET = 0x0101
_REQUIRED = frozenset({0x0002, 0x0100, 0x0110, 0x0700, 0x0800, 0x1000})
_OPTIONAL = frozenset({0x0000, 0x1030, 0x1031})
_LENGTHS = {0x0000: 4, 0x0100: 2, 0x0110: 2, 0x0700: 2, 0x0800: 2, 0x1031: 2}
_PRIORITIES = (0, 1, 2)
_UID = re.compile(rb"((?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+)\0?", re.ASCII)
_LONGEST_UID = 64
_AE_TITLE = re.compile(rb"[A-Za-z0-9_.-]{1,16} ?", re.ASCII)
_LONGEST_AE_TITLE = 16

_header = struct.Struct("<HHL").unpack_from
_short = struct.Struct("<H").unpack


@dataclass(frozen=True, slots=True)
class StoreCommand:
    """What a C-STORE-RQ says."""

    sop_class_uid: str
    sop_instance_uid: str
    message_id: int


def read_store_command(encoded: bytes) -> StoreCommand | None:
    """The request in a command set, or ``None`` if it is another one or not quite of the plain form.

    Parameters
    ----------
    encoded:
        Implicit VR Little Endian.
    """
    values = _elements(encoded)
    if values is None:
        return None
    sop_class, sop_instance = _uid(values[0x0002]), _uid(values[0x1000])
    (command,), (message_id,) = _short(values[0x0100]), _short(values[0x0110])
    (priority,), (data_set,) = _short(values[0x0700]), _short(values[0x0800])
    if command != _STORE_REQUEST or priority not in _PRIORITIES or data_set == _NO_DATA_SET:
        return None
    title = values.get(0x1030)
    if title is not None and (len(title) > _LONGEST_AE_TITLE or not _AE_TITLE.fullmatch(title)):
        return None
    if sop_class is None or sop_instance is None:
        return None
    return StoreCommand(sop_class, sop_instance, message_id)


def store_response(request: StoreCommand, context_id: int, status: int, comment: str = "") -> bytes:
    """The P-DATA-TF PDU with the C-STORE-RSP, byte for byte as pynetdicom writes it.

    Parameters
    ----------
    comment:
        Error Comment in ASCII, at most 64 characters.
    """
    elements = b"".join(
        (
            _element(0x0002, request.sop_class_uid.encode("ascii"), b"\0"),
            _element(0x0100, struct.pack("<H", _STORE_RESPONSE)),
            _element(0x0120, struct.pack("<H", request.message_id)),
            _element(0x0800, struct.pack("<H", _NO_DATA_SET)),
            _element(0x0900, struct.pack("<H", status)),
            _element(0x0902, comment.encode("ascii"), b" ") if comment else b"",
            _element(0x1000, request.sop_instance_uid.encode("ascii"), b"\0"),
        )
    )
    command_set = _element(0x0000, struct.pack("<L", len(elements))) + elements
    length = len(command_set)
    return struct.pack(">BxLLBB", 4, length + 6, length + 2, context_id, COMMAND | LAST) + command_set


def _elements(encoded: bytes) -> dict[int, bytes] | None:
    """Values by element number, if there are just the expected ones in ascending order."""
    values: dict[int, bytes] = {}
    offset, end, before = 0, len(encoded), -1
    while offset < end:
        if end - offset < 8:
            return None
        group, element, length = _header(encoded, offset)
        offset += 8
        known = element in _REQUIRED or element in _OPTIONAL
        if group != 0 or not known or element <= before or length > end - offset:
            return None
        if _LENGTHS.get(element, length) != length:
            return None
        values[element] = encoded[offset : offset + length]
        offset += length
        before = element
    return values if values.keys() >= _REQUIRED else None


def _uid(value: bytes) -> str | None:
    found = _UID.fullmatch(value) if len(value) % 2 == 0 else None
    if found is None or len(found[1]) > _LONGEST_UID:
        return None
    return found[1].decode("ascii")


def _element(element: int, value: bytes, padding: bytes = b"") -> bytes:
    if len(value) % 2:
        value += padding
    return struct.pack("<HHL", 0, element, len(value)) + value

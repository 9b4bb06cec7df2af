"""The elements of a plain DICOM file by one walk over its first bytes; the unusual is left to pydicom."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Container
from pathlib import Path

from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicomnode.assemble.elements import (
    FIRST_PIXEL_TAG,
    PADDING,
    PIXEL_DATA,
    PREAMBLE_LENGTH,
    PREFIX,
    TRANSFER_SYNTAX_UID,
    Elements,
    PixelElement,
)

HEAD_BYTES = 16384
"""Headers of CT images take 2 to 8 KiB; a longer one is read by pydicom."""

UNDEFINED = 0xFFFFFFFF
_FILE_META_BEGIN = PREAMBLE_LENGTH + len(PREFIX)
_ITEM, _ITEM_DELIMITATION_ITEM, _SEQUENCE_DELIMITATION_ITEM = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

# Value Representations by the length of their length field (PS3.5 7.1.2); others are left to pydicom.
# fmt: off
_SHORT = frozenset((
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
    b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
))
_LONG = frozenset((
    b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV",
))
# fmt: on

_explicit_short = struct.Struct("<HH2sH").unpack_from
_implicit = struct.Struct("<HHL").unpack_from
_length = struct.Struct("<L").unpack_from

_Walk = Callable[[bytes, int, Container[int]], tuple[Elements, int]]


class _UnusualError(Exception):
    """Something that a plain header doesn't have."""


def quick_elements(path: Path, tags: Container[int]) -> tuple[Elements, str, PixelElement | None] | None:
    """What :func:`~dicomnode.assemble.elements.read_elements` gives, five times faster, or None.

    Only little-endian files with ascending tags and known value representations are read; of anything else
    nothing is said.

    Raises
    ------
    OSError
        If the file can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        head = os.pread(descriptor, HEAD_BYTES, 0)
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    return elements_of(head, size, tags)


def elements_of(
    head: bytes, size: int, tags: Container[int]
) -> tuple[Elements, str, PixelElement | None] | None:
    """:func:`quick_elements` of a file of ``size`` bytes that begins with ``head``."""
    try:
        transfer_syntax_uid, start = _file_meta(head)
        if transfer_syntax_uid in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
            return None
        explicit = head[start + 4 : start + 6] in _SHORT
        if explicit is (transfer_syntax_uid == ImplicitVRLittleEndian):
            return None  # the header is not in the syntax that it names
        walk = _walk_explicit if explicit else _walk_implicit
        elements, place = walk(head, start, tags)
        return elements, transfer_syntax_uid, _pixel_element(head, place, explicit, size)
    except (_UnusualError, struct.error, UnicodeDecodeError):
        return None


def _file_meta(head: bytes) -> tuple[str, int]:
    """The Transfer Syntax UID and where the data set begins."""
    if head[PREAMBLE_LENGTH:_FILE_META_BEGIN] != PREFIX:
        raise _UnusualError
    found, place = None, _FILE_META_BEGIN
    while head[place : place + 2] == b"\x02\x00":
        group, element, vr, length = _explicit_short(head, place)
        if vr in _LONG:
            (length,) = _length(head, place + 8)
            place += 4
        elif vr not in _SHORT:
            raise _UnusualError
        place += 8
        if length == UNDEFINED or place + length > len(head):
            raise _UnusualError
        if group << 16 | element == TRANSFER_SYNTAX_UID:
            found = head[place : place + length].strip(PADDING).decode("ascii")
        place += length
    if found is None:
        raise _UnusualError
    return found, place


def _walk_explicit(head: bytes, place: int, tags: Container[int]) -> tuple[Elements, int]:
    found: Elements = {}
    previous, end = 0, len(head)
    while True:
        group, element, vr, length = _explicit_short(head, place)
        tag = group << 16 | element
        if tag >= FIRST_PIXEL_TAG:
            return found, place
        if tag <= previous:
            raise _UnusualError
        previous = tag
        value = place + 8
        if vr not in _SHORT:
            if vr not in _LONG:
                raise _UnusualError
            (length,) = _length(head, value)
            value += 4
        if length == UNDEFINED:
            if vr != b"SQ" or tag in tags:
                raise _UnusualError
            place = _behind_sequence(head, value, _walk_explicit)
            continue
        place = value + length
        if place > end:
            raise _UnusualError
        if tag in tags:
            found[tag] = RawDataElement(
                BaseTag(tag), vr.decode("ascii"), length, head[value:place], value, False, True
            )


def _walk_implicit(head: bytes, place: int, tags: Container[int]) -> tuple[Elements, int]:
    found: Elements = {}
    previous, end = 0, len(head)
    while True:
        group, element, length = _implicit(head, place)
        tag = group << 16 | element
        if tag >= FIRST_PIXEL_TAG:
            return found, place
        if tag <= previous:
            raise _UnusualError
        previous = tag
        value = place + 8
        if length == UNDEFINED:
            if tag in tags:
                raise _UnusualError
            place = _behind_sequence(head, value, _walk_implicit)
            continue
        place = value + length
        if place > end:
            raise _UnusualError
        if tag in tags:
            found[tag] = RawDataElement(BaseTag(tag), None, length, head[value:place], value, True, True)


def _behind_sequence(head: bytes, place: int, walk: _Walk) -> int:
    """Where a sequence of undefined length ends, whose first item is at ``place`` (PS3.5 7.5)."""
    while True:
        group, element, length = _implicit(head, place)
        tag, place = group << 16 | element, place + 8
        if tag == _SEQUENCE_DELIMITATION_ITEM and length == 0:
            return place
        if tag != _ITEM:
            raise _UnusualError
        if length != UNDEFINED:
            place += length
            continue
        _, place = walk(head, place, ())  # stops at the item's delimiter, whose tag is above all others
        if _implicit(head, place) != (*divmod(_ITEM_DELIMITATION_ITEM, 0x10000), 0):
            raise _UnusualError
        place += 8


def _pixel_element(head: bytes, place: int, explicit: bool, size: int) -> PixelElement:
    group, element = struct.unpack_from("<HH", head, place)
    width = 12 if explicit else 8
    if group << 16 | element != PIXEL_DATA:
        raise _UnusualError
    if explicit and head[place + 4 : place + 6] not in (b"OW", b"OB"):
        raise _UnusualError
    (length,) = _length(head, place + width - 4)
    return PixelElement(place + width, None if length == UNDEFINED else length, size - place - width)

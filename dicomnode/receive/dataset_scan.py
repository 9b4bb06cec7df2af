"""Look through an encoded data set without decoding it: is it whole, and which instance is it?

Only tags and lengths are read (PS3.5 7.1, 7.5, A.4). Nothing is copied but what identifies the instance.
"""

from __future__ import annotations

import struct
import threading
import zlib
from dataclasses import dataclass, field

from dicomnode.spool.position import position_mm

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"

MAXIMUM_DEPTH = 64
MAXIMUM_ELEMENTS = 1_000_000  # ten times those of a large segmentation; a second of work
MAXIMUM_INFLATED_BYTES = 256 << 20

_FIRST_LOOK_BYTES = 8 << 10
_INFLATE_PIECE_BYTES = 1 << 20
_inflating = threading.Lock()  # one at a time: small deflated data sets can inflate to a lot of memory

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SHORT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
)  # two bytes of length; all others have four (PS3.5 table 7.1-1)
_UIDS = {
    0x00080016: "sop_class_uid",
    0x00080018: "sop_instance_uid",
    0x0020000D: "study_instance_uid",
    0x0020000E: "series_instance_uid",
}
_PATIENT_ELEMENTS = {
    0x00080005: "character_set",
    0x00080050: "accession_number",
    0x00100010: "patient_name",
    0x00100020: "patient_id",
}
_LONGEST_PATIENT_ELEMENT = 1024
_PLANE_ELEMENTS = {0x00200032: "position", 0x00200037: "orientation"}
_LONGEST_PLANE_ELEMENT = 6 * 17  # six decimal strings of 16 characters, separated
_NAMES = {
    "sop_class_uid": "SOP Class UID",
    "sop_instance_uid": "SOP Instance UID",
    "study_instance_uid": "Study Instance UID",
    "series_instance_uid": "Series Instance UID",
}


class UnreadableDatasetError(Exception):
    """The data set can't be understood (C-STORE status C000); the message is fit for an Error Comment."""


@dataclass(frozen=True)
class PatientElements:
    """Whose data set it is, as written; for the audit trail and, if configured, the log, and nothing else."""

    character_set: bytes = b""
    accession_number: bytes = b""
    patient_name: bytes = b""
    patient_id: bytes = b""


@dataclass(frozen=True)
class DatasetIdentity:
    """Which instance a data set is; the values as written, padding removed, otherwise unchecked.

    ``position_mm`` is that of an image along the normal of its plane.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    patient: PatientElements = field(default_factory=PatientElements, repr=False)
    position_mm: float | None = None


def scan_dataset(data: bytes | memoryview, transfer_syntax_uid: str) -> DatasetIdentity:
    """Check that every element lies inside the data set, and read the UIDs that identify it.

    Parameters
    ----------
    data:
        As received, without file meta information.
    transfer_syntax_uid:
        The accepted transfer syntax.

    Raises
    ------
    UnreadableDatasetError
        If an element runs past the end (the data set is truncated), if one of the UIDs is missing, if
        sequences are nested absurdly deep, or if there are absurdly many elements.
    """
    if _is_deflated(transfer_syntax_uid):
        with _inflating:
            return _identity(_inflate(data), transfer_syntax_uid)
    return _identity(data, transfer_syntax_uid)


class ArrivingScan:
    """Looks through a data set while it arrives, so that little is left to look at when it is whole.

    The outcome is that of :func:`scan_dataset` on the whole; a test holds both equal.
    """

    def __init__(self, transfer_syntax_uid: str) -> None:
        self._transfer_syntax_uid = transfer_syntax_uid
        self._scanner = None if _is_deflated(transfer_syntax_uid) else _scanner(transfer_syntax_uid)
        self._offset = 0
        self._worth_looking_at = _FIRST_LOOK_BYTES

    def advance(self, data: memoryview) -> None:
        """Walk over the elements that are whole; ``data`` is all that has come so far."""
        if self._scanner is None or len(data) < self._worth_looking_at:
            return
        self._worth_looking_at = 2 * len(data)  # a sequence that isn't whole is walked over again
        self._offset = self._scanner.advance(data, self._offset)

    def finish(self, data: memoryview) -> DatasetIdentity:
        """Which instance the whole data set is.

        Raises
        ------
        UnreadableDatasetError
            As :func:`scan_dataset` does.
        """
        if self._scanner is None:
            return scan_dataset(data, self._transfer_syntax_uid)
        return self._scanner.identity(data, self._offset)


def _identity(data: bytes | bytearray | memoryview, transfer_syntax_uid: str) -> DatasetIdentity:
    return _scanner(transfer_syntax_uid).identity(memoryview(data), 0)


def _scanner(transfer_syntax_uid: str) -> _Scanner:
    return _Scanner(
        explicit=transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN,
        byte_order=">" if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else "<",
    )


def _is_deflated(transfer_syntax_uid: str) -> bool:
    return transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN


class _Scanner:
    def __init__(self, *, explicit: bool, byte_order: str) -> None:
        self.uids: dict[str, str] = {}
        self.patient: dict[str, bytes] = {}
        self.plane: dict[str, list[str]] = {}
        self._data = memoryview(b"")
        self._end = 0
        self._explicit = explicit
        self._tag = struct.Struct(byte_order + "HH").unpack_from
        self._short = struct.Struct(byte_order + "H").unpack_from
        self._long = struct.Struct(byte_order + "L").unpack_from
        self._depth = 0
        self._elements_left = MAXIMUM_ELEMENTS

    def advance(self, data: memoryview, offset: int) -> int:
        """Walk over the top-level elements that are whole; the offset of the first that isn't."""
        self._data, self._end = data, len(data)
        while offset < self._end:
            elements_left, explicit = self._elements_left, self._explicit
            try:
                offset = self._top_element(offset)
            except UnreadableDatasetError:  # the rest may not have come yet
                self._elements_left, self._explicit, self._depth = elements_left, explicit, 0
                break
        self._data = memoryview(b"")
        return offset

    def identity(self, data: memoryview, offset: int) -> DatasetIdentity:
        """Walk over the top-level elements from ``offset`` to the end; which instance it is."""
        self._data, self._end = data, len(data)
        while offset < self._end:
            offset = self._top_element(offset)
        self._data = memoryview(b"")
        for uid, name in _NAMES.items():
            if not self.uids.get(uid):
                raise UnreadableDatasetError(f"no {name} in the data set")
        return DatasetIdentity(
            self.uids["sop_class_uid"],
            self.uids["sop_instance_uid"],
            self.uids["study_instance_uid"],
            self.uids["series_instance_uid"],
            PatientElements(**self.patient),
            position_mm(self.plane.get("position"), self.plane.get("orientation")),
        )

    def _top_element(self, offset: int) -> int:
        """Note what identifies the instance; the offset after the element."""
        tag, vr, length, offset = self._header(offset)
        if length == _UNDEFINED:
            return self._undefined_length(offset, vr)
        self._check_length(tag, length, offset)
        if tag in _UIDS:
            self.uids[_UIDS[tag]] = _text(self._data[offset : offset + length])
        elif tag in _PATIENT_ELEMENTS and length <= _LONGEST_PATIENT_ELEMENT:
            self.patient[_PATIENT_ELEMENTS[tag]] = bytes(self._data[offset : offset + length])
        elif tag in _PLANE_ELEMENTS and length <= _LONGEST_PLANE_ELEMENT:
            text = _text(self._data[offset : offset + length])
            self.plane[_PLANE_ELEMENTS[tag]] = text.split("\\")
        return offset + length

    def _item(self, offset: int) -> int:
        """Walk over the elements of an item of undefined length; returns the offset after it."""
        while offset < self._end:
            tag, vr, length, offset = self._header(offset)
            if tag == _ITEM_END:
                return offset
            if length == _UNDEFINED:
                offset = self._undefined_length(offset, vr)
                continue
            self._check_length(tag, length, offset)
            offset += length
        raise UnreadableDatasetError("truncated inside a sequence item")

    def _check_length(self, tag: int, length: int, offset: int) -> None:
        if length > self._end - offset:
            raise UnreadableDatasetError(f"truncated in element ({tag >> 16:04X},{tag & 0xFFFF:04X})")

    def _header(self, offset: int) -> tuple[int, bytes, int, int]:
        """Tag, VR, length, offset of the value."""
        self._count()
        if self._end - offset < 8:
            raise UnreadableDatasetError("truncated in the header of an element")
        group, element = self._tag(self._data, offset)
        tag = group << 16 | element
        vr = bytes(self._data[offset + 4 : offset + 6])
        if not self._explicit or group == 0xFFFE or not (vr.isalpha() and vr.isupper()):
            return tag, b"", self._long(self._data, offset + 4)[0], offset + 8
        if vr in _SHORT_VRS:
            return tag, vr, self._short(self._data, offset + 6)[0], offset + 8
        if self._end - offset < 12:
            raise UnreadableDatasetError("truncated in the header of an element")
        return tag, vr, self._long(self._data, offset + 8)[0], offset + 12

    def _count(self) -> None:
        self._elements_left -= 1
        if self._elements_left < 0:
            raise UnreadableDatasetError(f"more than {MAXIMUM_ELEMENTS} elements and items")

    def _undefined_length(self, offset: int, vr: bytes) -> int:
        """Walk over the items of a sequence or of encapsulated pixel data."""
        self._depth += 1
        if self._depth > MAXIMUM_DEPTH:
            raise UnreadableDatasetError(f"sequences nested deeper than {MAXIMUM_DEPTH}")
        explicit, tag_order = self._explicit, self._tag
        if vr == b"UN":  # its content is Implicit VR Little Endian (PS3.5 6.2.2)
            self._explicit = False
        while True:
            if self._end - offset < 8:
                raise UnreadableDatasetError("truncated inside a sequence")
            group, element = tag_order(self._data, offset)
            tag, length = group << 16 | element, self._long(self._data, offset + 4)[0]
            offset += 8
            if tag == _SEQUENCE_END:
                break
            self._count()
            if tag != _ITEM:
                raise UnreadableDatasetError("something else than an item inside a sequence")
            if length == _UNDEFINED:
                offset = self._item(offset)
            elif length > self._end - offset:
                raise UnreadableDatasetError("truncated inside a sequence item")
            else:
                offset += length
        self._explicit = explicit
        self._depth -= 1
        return offset


def _inflate(data: bytes | memoryview) -> bytearray:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = bytearray()
    try:
        for start in range(0, len(data), _INFLATE_PIECE_BYTES):
            piece: bytes | memoryview = memoryview(data)[start : start + _INFLATE_PIECE_BYTES]
            while piece and not inflater.eof:
                inflated += inflater.decompress(piece, _INFLATE_PIECE_BYTES)
                if len(inflated) > MAXIMUM_INFLATED_BYTES:
                    raise UnreadableDatasetError("the deflated data set inflates to more than 256 MiB")
                piece = inflater.unconsumed_tail
        inflated += inflater.flush()
    except zlib.error as error:
        raise UnreadableDatasetError("the deflated data set is damaged") from error
    if not inflater.eof:
        raise UnreadableDatasetError("the deflated data set is truncated")
    return inflated


def _text(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0 ").decode("ascii", errors="replace")

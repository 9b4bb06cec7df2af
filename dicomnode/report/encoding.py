"""Elements and items of our own objects as bytes, Explicit VR Little Endian (PS3.5 7.1, 7.5).

pydicom takes some 50 us to write one element, and a report has thousands. What is plain (text, numbers,
items) is encoded here; anything else is handed to pydicom, element by element.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.multival import MultiValue
from pydicom.valuerep import IS, DSfloat, PersonName

LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
PADDED_BY_NULL = frozenset({"OB", "UI", "UN"})
PLAIN_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
"""Text in ASCII whatever Specific Character Set says."""

TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
NUMBER_FORMATS = {"FD": "d", "FL": "f", "SL": "l", "SS": "h", "UL": "L", "US": "H"}
DEFAULT_ENCODING = "iso8859"
CHARACTER_SET = 0x00080005
ITEM = struct.pack("<HH", 0xFFFE, 0xE000)


def encode_dataset(dataset: Dataset, encoding: str = DEFAULT_ENCODING) -> bytes:
    """All elements of a dataset of ours, one after the other; text in ``encoding``."""
    return b"".join(encode_data_element(dataset.get_item(tag), encoding) for tag in sorted(dataset.keys()))


def encode_data_element(element: object, encoding: str = DEFAULT_ENCODING) -> bytes:
    """One element of a dataset, with the items below it."""
    if isinstance(element, DataElement) and not element.is_undefined_length:
        if element.VR == "SQ":
            items = element.value
            if not any(CHARACTER_SET in item for item in items):
                return encode_sequence(int(element.tag), (encode_dataset(item, encoding) for item in items))
        else:
            value = _value(element.VR, element.value, encoding)
            if value is not None and (element.VR in LONG_VRS or len(value) <= 0xFFFF):
                return encode_element(int(element.tag), element.VR, value)
    buffer = explicit_buffer()
    write_data_element(buffer, element, encoding)
    return bytes(buffer.getvalue())


def encode_element(tag: int, vr: str, value: bytes) -> bytes:
    """One element around ``value``, padded to even length (PS3.5 7.1.2).

    Raises
    ------
    ValueError
        If the value is too long for its VR.
    """
    if len(value) % 2:
        value += b"\0" if vr in PADDED_BY_NULL else b" "
    return element_head(tag, vr, len(value)) + value


def element_head(tag: int, vr: str, length: int) -> bytes:
    """What stands before a value of ``length`` bytes.

    Raises
    ------
    ValueError
        If that is too long for the VR.
    """
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode("ascii")
    if vr in LONG_VRS:
        return head + struct.pack("<HI", 0, length)
    if length > 0xFFFF:
        raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {vr} of {length} bytes is too long")
    return head + struct.pack("<H", length)


def encode_sequence(tag: int, items: Iterable[bytes]) -> bytes:
    """A sequence of defined length whose items are already encoded (PS3.5 7.5)."""
    value = b"".join(ITEM + struct.pack("<I", len(item)) + item for item in items)
    return element_head(tag, "SQ", len(value)) + value


def explicit_buffer() -> DicomBytesIO:
    """A buffer that pydicom writes Explicit VR Little Endian to."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = True
    buffer.is_implicit_VR = False
    return buffer


def _value(vr: str, value: object, encoding: str) -> bytes | None:
    """The encoded value; ``None`` where pydicom must do it."""
    if value is None or value == "":
        return b""
    values = value if isinstance(value, MultiValue | list | tuple) else (value,)
    if vr in NUMBER_FORMATS:
        if all(isinstance(one, int | float) for one in values):
            return struct.pack(f"<{len(values)}{NUMBER_FORMATS[vr]}", *values)
        return None
    texts = [text for text in map(_text, values) if text is not None]
    if len(texts) < len(values) or vr not in PLAIN_VRS | TEXT_VRS:
        return None
    try:
        return "\\".join(texts).encode(encoding if vr in TEXT_VRS else DEFAULT_ENCODING)
    except UnicodeEncodeError:
        return None


def _text(value: object) -> str | None:
    if isinstance(value, DSfloat | IS):
        return str(getattr(value, "original_string", value))
    if isinstance(value, PersonName) and value:
        return None
    return str(value) if isinstance(value, str | PersonName) else None

"""Writing a DICOM file of which some elements are already encoded."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_dataset, write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicomnode.report.uids import IMPLEMENTATION_CLASS_UID

IMPLEMENTATION_VERSION_NAME = "DICOMNODE"
LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
ENCAPSULATED_PIXEL_DATA = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + ITEM + b"\0" * 4
"""Pixel Data of undefined length with an empty basic offset table."""

SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
PADDED_BY_NULL = frozenset({"OB", "UI", "UN"})


def write_part10(
    path: Path,
    dataset: Dataset,
    encoded: Mapping[int, bytes],
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
    frames: Iterable[bytes] | None = None,
    *,
    encoding: str = "iso8859",
) -> None:
    """Write ``dataset`` as a Part 10 file in Explicit VR Little Endian (PS3.10 7.1).

    Parameters
    ----------
    path:
        The file; it appears whole or not at all.
    dataset:
        Our own elements with SOP Class and Instance UID; ASCII only, unless ``encoding`` is what
        Specific Character Set says.
    encoded:
        Whole elements by tag, already in Explicit VR Little Endian; they take precedence.
    transfer_syntax_uid:
        Another one that encodes all but the pixels alike.
    frames:
        Compressed frames, written as they come, one fragment each (PS3.5 A.4). None: there is no Pixel Data
        but what is among the elements.
    """
    elements = {int(element.tag): _encode_own(element, encoding) for element in dataset} | dict(encoded)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    header = _buffer()
    write_file_meta_info(header, meta)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(b"\0" * 128 + b"DICM" + header.getvalue())
        file.writelines(elements[tag] for tag in sorted(elements))
        if frames is not None:
            file.write(ENCAPSULATED_PIXEL_DATA)
            for frame in frames:
                fragment = frame + b"\0" * (len(frame) % 2)
                file.write(ITEM + struct.pack("<I", len(fragment)) + fragment)
            file.write(SEQUENCE_END)
    partial.replace(path)


def encode_dataset(dataset: Dataset) -> bytes:
    """All elements of a dataset of ours, one after the other."""
    buffer = _buffer()
    write_dataset(buffer, dataset)
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
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode("ascii")
    if vr in LONG_VRS:
        return head + struct.pack("<HI", 0, len(value)) + value
    if len(value) > 0xFFFF:
        raise ValueError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {vr} of {len(value)} bytes is too long")
    return head + struct.pack("<H", len(value)) + value


def encode_sequence(tag: int, items: Iterable[bytes]) -> bytes:
    """A sequence of defined length whose items are already encoded (PS3.5 7.5)."""
    value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return encode_element(tag, "SQ", value)


def encode_fragments(tag: int, frames: Iterable[bytes]) -> bytes:
    """Encapsulated pixel data (PS3.5 A.4): one fragment a frame after an empty offset table."""
    items = (frame + b"\0" * (len(frame) % 2) for frame in frames)
    value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in (b"", *items))
    head = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"OB", 0, 0xFFFFFFFF)
    return head + value + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def _encode_own(element: object, encoding: str) -> bytes:
    buffer = _buffer()
    write_data_element(buffer, element, encoding)
    return bytes(buffer.getvalue())


def _buffer() -> DicomBytesIO:
    buffer = DicomBytesIO()
    buffer.is_little_endian = True
    buffer.is_implicit_VR = False
    return buffer

"""Writing a DICOM file of which some elements are already encoded."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicomnode.report.encoding import ITEM, encode_data_element, explicit_buffer
from dicomnode.report.uids import IMPLEMENTATION_CLASS_UID

IMPLEMENTATION_VERSION_NAME = "DICOMNODE"
ENCAPSULATED_PIXEL_DATA = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + ITEM + b"\0" * 4
"""Pixel Data of undefined length with an empty basic offset table."""

SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def write_part10(
    path: Path,
    dataset: Dataset,
    encoded: Mapping[int, bytes | Sequence[bytes]],
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
    frames: Iterable[bytes] | None = None,
) -> None:
    """Write ``dataset`` as a Part 10 file in Explicit VR Little Endian (PS3.10 7.1).

    Parameters
    ----------
    path:
        The file; it appears whole or not at all.
    dataset:
        Our own elements with SOP Class and Instance UID; ASCII only.
    encoded:
        Whole elements by tag, already in Explicit VR Little Endian, large ones in pieces; they take
        precedence.
    transfer_syntax_uid:
        Another one that encodes all but the pixels alike.
    frames:
        Compressed frames, written as they come, one fragment each (PS3.5 A.4). None: there is no Pixel Data
        but what is among the elements.
    """
    elements: dict[int, bytes | Sequence[bytes]] = {
        int(element.tag): encode_data_element(element) for element in dataset
    }
    elements.update(encoded)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    header = explicit_buffer()
    write_file_meta_info(header, meta)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(b"\0" * 128 + b"DICM" + header.getvalue())
        for tag in sorted(elements):
            element = elements[tag]
            file.writelines([element] if isinstance(element, bytes) else element)
        if frames is not None:
            file.write(ENCAPSULATED_PIXEL_DATA)
            for frame in frames:
                fragment = frame + b"\0" * (len(frame) % 2)
                file.write(ITEM + struct.pack("<I", len(fragment)) + fragment)
            file.write(SEQUENCE_END)
    partial.replace(path)


def encode_fragments(tag: int, frames: Iterable[bytes]) -> bytes:
    """Encapsulated pixel data (PS3.5 A.4): one fragment a frame after an empty offset table."""
    items = (frame + b"\0" * (len(frame) % 2) for frame in frames)
    value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in (b"", *items))
    head = struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"OB", 0, 0xFFFFFFFF)
    return head + value + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)

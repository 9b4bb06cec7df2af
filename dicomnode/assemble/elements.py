"""A DICOM file's elements as bytes, and where its pixel data are; the data set is never built."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import data_element_generator
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

Elements = dict[int, RawDataElement]

BROKEN = (InvalidDicomError, EOFError, zlib.error, struct.error, ValueError, KeyError, TypeError)
"""What reading a file raises that is no DICOM or cut in its header."""

PREAMBLE_LENGTH = 128
PREFIX = b"DICM"
TRANSFER_SYNTAX_UID = 0x00020010
FIRST_DATASET_TAG = 0x00030000
PIXEL_DATA = 0x7FE00010
FIRST_PIXEL_TAG = 0x7FE00008  # Float Pixel Data; nothing behind it is needed
PADDING = b" \0"


@dataclass(frozen=True)
class PixelElement:
    """Where the value of Pixel Data (7FE0,0010) lies.

    ``offset`` counts bytes from the start of the file; of the inflated data set when the transfer syntax is
    deflated. ``length`` is ``None`` for encapsulated data, whose length is undefined (PS3.5 A.4).
    ``available`` is what the file really holds from ``offset`` on.
    """

    offset: int
    length: int | None
    available: int


def read_elements(path: Path, tags: list[int]) -> tuple[Elements, str, PixelElement | None]:
    """The raw elements of ``tags``, the Transfer Syntax UID, and where the pixel data are.

    A file that ends too early gives what is there. Half the time of reading a pydicom data set.

    Raises
    ------
    One of :data:`BROKEN`, or OSError
        If it is no DICOM file (PS3.10), or cut in an element of its header.
    """
    with path.open("rb") as file:
        transfer_syntax_uid = _read_file_meta(file)
        stream = _dataset_stream(file, transfer_syntax_uid)
        little_endian = transfer_syntax_uid != ExplicitVRBigEndian
        implicit = not _starts_with_explicit_vr(stream)  # some writers name the wrong one of the two
        found = data_element_generator(
            stream, implicit, little_endian, stop_when=_at_pixels, specific_tags=tags
        )
        elements = {int(element.tag): element for element in found}
        return elements, transfer_syntax_uid, _locate_pixel_data(stream, implicit, little_endian)


def open_dataset_stream(path: Path, transfer_syntax_uid: str) -> BinaryIO:
    """The stream that offsets of a :class:`PixelElement` count in: the file, or its data set inflated."""
    file = path.open("rb")
    if transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        return file
    with file:
        return _dataset_stream(file, _read_file_meta(file))


def _read_file_meta(file: BinaryIO) -> str:
    """The Transfer Syntax UID of the file meta information (PS3.10 7.1); leaves ``file`` at the data set."""
    if file.read(PREAMBLE_LENGTH + len(PREFIX))[PREAMBLE_LENGTH:] != PREFIX:
        raise InvalidDicomError("no DICM prefix")
    elements = {int(e.tag): e for e in data_element_generator(file, False, True, stop_when=_behind_file_meta)}
    if TRANSFER_SYNTAX_UID not in elements:
        raise InvalidDicomError("no Transfer Syntax UID")
    return str(elements[TRANSFER_SYNTAX_UID].value.strip(PADDING).decode("ascii"))


def _dataset_stream(file: BinaryIO, transfer_syntax_uid: str) -> BinaryIO:
    if transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        return file
    # What can be inflated of a file that is cut short still names the instance.
    return BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read()))


def _starts_with_explicit_vr(stream: BinaryIO) -> bool:
    start = stream.tell()
    vr = stream.read(6)[4:]
    stream.seek(start)
    return vr.isalpha() and vr.isupper()


def _behind_file_meta(tag: int, _vr: str | None, _length: int) -> bool:
    return tag >= FIRST_DATASET_TAG


def _at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
    return tag >= FIRST_PIXEL_TAG


def _locate_pixel_data(stream: BinaryIO, implicit: bool, little_endian: bool) -> PixelElement | None:
    """The stream stands where the reader stopped: at the pixel data element, or at the end."""
    start = stream.tell()
    order, size = ("<" if little_endian else ">"), (8 if implicit else 12)
    element = stream.read(size)
    if len(element) < size or struct.unpack(f"{order}HH", element[:4]) != divmod(PIXEL_DATA, 0x10000):
        return None
    (length,) = struct.unpack(f"{order}L", element[-4:])
    available = stream.seek(0, 2) - start - size
    return PixelElement(start + size, None if length == 0xFFFFFFFF else length, available)

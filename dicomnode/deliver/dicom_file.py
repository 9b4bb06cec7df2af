"""What has to be known of a DICOM file to send it, and another encoding of it where the peer needs one."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

_UNCOMPRESSED = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian})
_LOSSLESS = frozenset(
    {
        RLELossless,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        JPEG2000Lossless,
        HTJ2KLossless,
        HTJ2KLosslessRPCL,
    }
)


PREAMBLE_BYTES = 132
GROUP_LENGTH_BYTES = 12  # the element that says how long the group of file meta information is
CHUNK_BYTES = 1 << 20


class NotADicomFileError(Exception):
    """The file isn't a DICOM file (PS3.10) or lacks what C-STORE needs; the message names no content."""


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file as its file meta information describes it."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str

    @property
    def is_convertible(self) -> bool:
        """Whether it can be sent in Explicit or Implicit VR Little Endian without losing anything."""
        return self.transfer_syntax_uid in _UNCOMPRESSED | _LOSSLESS


def read_dicom_file(path: Path) -> DicomFile:
    """Read the file meta information.

    Raises
    ------
    NotADicomFileError
        If there is none, or it is incomplete.
    """
    try:
        meta = read_file_meta_info(path)
        return DicomFile(
            path=path,
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
        )
    except OSError as error:
        raise NotADicomFileError(f"can't read the file: {error.strerror}") from error
    except Exception as error:  # pydicom raises many kinds for files of other formats
        raise NotADicomFileError("not a DICOM file with file meta information") from error


@contextmanager
def deflated(file: DicomFile) -> Iterator[Path]:
    """A copy in Deflated Explicit VR Little Endian (PS3.5 A.5) as long as the context lasts.

    Masks shrink to a fortieth; the fastest level is enough for that.

    Raises
    ------
    ValueError
        If the file isn't in Explicit VR Little Endian.
    """
    if file.transfer_syntax_uid != ExplicitVRLittleEndian:
        raise ValueError(f"{file.path.name} is not in Explicit VR Little Endian")
    with file.path.open("rb") as source, NamedTemporaryFile(suffix=".dcm") as copy:
        meta = read_file_meta_info(file.path)
        source.seek(PREAMBLE_BYTES + meta.FileMetaInformationGroupLength + GROUP_LENGTH_BYTES)
        meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        copy.write(b"\0" * 128 + b"DICM")
        head = BytesIO()
        write_file_meta_info(head, meta)
        copy.write(head.getvalue())
        compressor = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
        length = 0
        while chunk := source.read(CHUNK_BYTES):
            length += copy.write(compressor.compress(chunk))
        length += copy.write(compressor.flush())
        copy.write(b"\0" * (length % 2))
        copy.flush()
        yield Path(copy.name)


def find_files(directory: Path) -> list[Path]:
    """All regular files below ``directory`` (or the one file) in the order of their names; no DICOMDIR."""
    if directory.is_file():
        return [directory]
    return sorted(
        Path(folder, name)
        for folder, _, names in os.walk(directory)
        for name in names
        if name != "DICOMDIR" and not name.startswith(".") and Path(folder, name).is_file()
    )


def uncompressed(file: DicomFile) -> Dataset:
    """The data set with native pixel data; SOP Instance UID and pixel values stay.

    Raises
    ------
    Exception
        Whatever the decoder raises if the pixel data is damaged.
    """
    dataset = dcmread(file.path)
    if file.transfer_syntax_uid in _LOSSLESS:
        dataset.decompress(generate_instance_uid=False)
    return dataset

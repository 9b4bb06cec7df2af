"""One encapsulated or odd-sized frame to its stored values, for every transfer syntax this node can decode.

Lossless JPEG and JPEG-LS go through imagecodecs where their frames are plain. Other JPEG, what imagecodecs
leaves, and most JPEG 2000 go through SimpleITK (GDCM inside), which decodes outside Python's lock and
so on several threads, and knows 12-bit lossy JPEG; RLE and High-Throughput JPEG 2000 go through pydicom.
"""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder

from dicomnode.assemble.quick_decoders import quick_decode

NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
HT_JPEG_2000 = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
JPEG_SPECTRAL_SELECTION = uid.UID("1.2.840.10008.1.2.4.53")  # processes 6 and 8, retired
JPEG_FULL_PROGRESSION = uid.UID("1.2.840.10008.1.2.4.55")  # processes 10 and 12, retired
JPEG = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    JPEG_SPECTRAL_SELECTION,
    JPEG_FULL_PROGRESSION,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
)
LOSSY = frozenset(
    {
        uid.JPEGBaseline8Bit,
        uid.JPEGExtended12Bit,
        JPEG_SPECTRAL_SELECTION,
        JPEG_FULL_PROGRESSION,
        uid.JPEGLSNearLossless,
        uid.JPEG2000,
        uid.HTJ2K,
    }
)
ENDS_IN_EOI = frozenset({*JPEG, *JPEG_2000, *HT_JPEG_2000})
END_OF_IMAGE = b"\xff\xd9"  # EOI of JPEG (ISO 10918-1 B.1.1.3), EOC of JPEG 2000 (ISO 15444-1 A.4.4)

# pydicom's plugin for what SimpleITK doesn't decode: named, so that the same install always decodes alike.
PLUGINS = dict.fromkeys((uid.RLELossless, *JPEG_2000, *HT_JPEG_2000), "pylibjpeg")


class DecodeError(Exception):
    """The frame is cut off or damaged."""


@dataclass(frozen=True)
class PixelFormat:
    """The Image Pixel module of a single grey frame (PS3.3 C.7.6.3)."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The array type of stored values in native byte order."""
        return np.dtype(f"{'i' if self.pixel_representation else 'u'}{self.bits_allocated // 8}")


@cache
def decodable_transfer_syntaxes() -> tuple[str, ...]:
    """UIDs of the transfer syntaxes whose CT images can be decoded with what is installed, native first."""
    plugins = {ts for ts, plugin in PLUGINS.items() if plugin in get_decoder(ts).available_plugins}
    if uid.RLELossless not in plugins:
        plugins.add(uid.RLELossless)  # pydicom's own decoder, ten times slower
    return tuple(map(str, (*NATIVE, *JPEG, *sorted(plugins))))


def decode_frame(frame: bytes, pixel_format: PixelFormat) -> NDArray[Any]:
    """Decode one encapsulated frame to stored values of shape (rows, columns).

    Raises
    ------
    DecodeError
        If the code stream is cut off, damaged, or of another size than the header says.
    """
    transfer_syntax_uid = pixel_format.transfer_syntax_uid
    # Decoders fill what is cut off with grey and only warn about it. The marker can't occur inside the coded
    # data; a byte that makes the length even may follow it, and not every writer sets that to zero.
    if transfer_syntax_uid in ENDS_IN_EOI and END_OF_IMAGE not in frame.rstrip(b"\0\xff")[-3:]:
        raise DecodeError("the code stream has no end of image marker")
    quick = quick_decode(
        frame, transfer_syntax_uid, pixel_format.rows, pixel_format.columns, pixel_format.bits_stored
    )
    if quick is not None:
        return quick.astype(pixel_format.dtype, copy=False)
    return decode_slowly(frame, pixel_format)


def decode_slowly(frame: bytes, pixel_format: PixelFormat) -> NDArray[Any]:
    """:func:`decode_frame` by SimpleITK or pydicom, which read what the quick decoders leave."""
    transfer_syntax_uid = pixel_format.transfer_syntax_uid
    by_itk = transfer_syntax_uid in JPEG or (
        transfer_syntax_uid in JPEG_2000 and _jpeg_2000_agrees(frame, pixel_format)
    )
    try:
        stored = _decode_by_itk(frame, pixel_format) if by_itk else _decode_by_pydicom(frame, pixel_format)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, struct.error) as error:
        raise DecodeError("the decoder can't read it") from error
    if stored.shape != (pixel_format.rows, pixel_format.columns) or stored.dtype.kind not in "iu":
        raise DecodeError(f"it decodes to an array of shape {stored.shape}")
    return stored.astype(pixel_format.dtype, copy=False)


def decode_native(value: bytes, pixel_format: PixelFormat, big_endian: bool) -> NDArray[Any]:
    """Stored values of shape (rows, columns) from a native Pixel Data value, 8 or 16 bits allocated."""
    count = pixel_format.rows * pixel_format.columns
    if big_endian and pixel_format.bits_allocated == 8:  # two pixels share a swapped word
        value = np.frombuffer(value, dtype=">u2").astype("<u2").tobytes()
    dtype = pixel_format.dtype.newbyteorder(">" if big_endian else "<")
    stored = np.frombuffer(value, dtype=dtype, count=count).reshape(pixel_format.rows, pixel_format.columns)
    return stored.astype(pixel_format.dtype, copy=False)


def _jpeg_2000_agrees(frame: bytes, pixel_format: PixelFormat) -> bool:
    """Whether precision and sign of a bare code stream are the header's; pydicom mends those that aren't.

    Ssiz of the SIZ marker segment: bit 7 the sign, the others precision - 1 (ISO 15444-1 A.5.1).
    """
    if not frame.startswith(b"\xff\x4f\xff\x51") or len(frame) < 43:
        return False
    sign, precision = frame[42] >> 7, (frame[42] & 0x7F) + 1
    return (sign, precision) == (pixel_format.pixel_representation, pixel_format.bits_stored)


def _decode_by_pydicom(frame: bytes, pixel_format: PixelFormat) -> NDArray[Any]:
    decoder = get_decoder(pixel_format.transfer_syntax_uid)
    plugin = PLUGINS.get(pixel_format.transfer_syntax_uid, "")
    array, _ = decoder.as_array(
        encapsulate([frame]),
        raw=True,
        decoding_plugin=plugin if plugin in decoder.available_plugins else "",
        number_of_frames=1,
        samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2",
        rows=pixel_format.rows,
        columns=pixel_format.columns,
        bits_allocated=pixel_format.bits_allocated,
        bits_stored=pixel_format.bits_stored,
        pixel_representation=pixel_format.pixel_representation,
        pixel_keyword="PixelData",
    )
    return np.asarray(array)


def _decode_by_itk(frame: bytes, pixel_format: PixelFormat) -> NDArray[Any]:
    import SimpleITK as sitk  # noqa: PLC0415, N813 - 0.2 s that uncompressed series don't pay

    with tempfile.TemporaryDirectory(prefix="dicomnode-") as directory:
        path = Path(directory) / "frame.dcm"
        path.write_bytes(_file_before_pixels(pixel_format) + encapsulate([frame]) + _ITEM_SEQUENCE_END)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        array: NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
    return array[0] if array.ndim == 3 and array.shape[0] == 1 else array


_ITEM_SEQUENCE_END = bytes.fromhex("feffdde000000000")
_ENCAPSULATED_PIXEL_DATA = bytes.fromhex("e07f10004f420000ffffffff")  # tag, OB, undefined length


@cache
def _file_before_pixels(pixel_format: PixelFormat) -> bytes:
    """The smallest CT file around a frame: no rescale and no identity, so that stored values come back."""
    dataset = Dataset()
    dataset.SOPClassUID = uid.CTImageStorage
    dataset.SOPInstanceUID = "2.25.1"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = pixel_format.rows
    dataset.Columns = pixel_format.columns
    dataset.BitsAllocated = pixel_format.bits_allocated
    dataset.BitsStored = pixel_format.bits_stored
    dataset.HighBit = pixel_format.bits_stored - 1
    dataset.PixelRepresentation = pixel_format.pixel_representation
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(pixel_format.transfer_syntax_uid)
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue() + _ENCAPSULATED_PIXEL_DATA

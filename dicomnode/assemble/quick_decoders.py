"""Lossless JPEG and JPEG-LS frames by imagecodecs, in a third to two thirds of GDCM's time.

Only frames whose own header agrees with the data set in size and precision are taken; everything else, and
whatever imagecodecs can't read, is left to :mod:`dicomnode.assemble.decoders`. Both codes are reversible or
defined to the bit (ISO 10918-1 H, ISO 14495-1), so which decoder runs doesn't change a pixel.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid

_SOF3, _SOF55 = 0xC3, 0xF7  # lossless, Huffman coded (ISO 10918-1 B.1.1.3); JPEG-LS (ISO 14495-1 C.1.1)
_FRAME_KIND = {
    uid.JPEGLossless: _SOF3,
    uid.JPEGLosslessSV1: _SOF3,
    uid.JPEGLSLossless: _SOF55,
    uid.JPEGLSNearLossless: _SOF55,
}
_START_OF_SCAN = 0xDA
_RESTART_INTERVAL = 0xDD  # of no use to CT and not known to every decoder
_SEGMENT = struct.Struct(">BBH")
_FRAME = struct.Struct(">BHHB")

_Decoder = Callable[[bytes], NDArray[Any]]


def quick_decode(
    frame: bytes, transfer_syntax_uid: str, rows: int, columns: int, bits_stored: int
) -> NDArray[Any] | None:
    """Unsigned stored values of shape (rows, columns), or None where the other decoders must look."""
    kind = _FRAME_KIND.get(transfer_syntax_uid)
    if kind is None or _frame_header(frame) != (kind, bits_stored, rows, columns, 1):
        return None
    decode = _decoders().get(kind)
    if decode is None:
        return None
    try:
        stored = decode(frame)
    except (RuntimeError, ValueError):
        return None
    return stored if stored.shape == (rows, columns) and stored.dtype.kind == "u" else None


def _frame_header(frame: bytes) -> tuple[int, int, int, int, int] | None:
    """Kind, precision, rows, columns and components of the first frame (ISO 10918-1 B.2.2)."""
    if frame[:2] != b"\xff\xd8":
        return None
    place = 2
    while place + _SEGMENT.size + _FRAME.size <= len(frame):
        prefix, marker, length = _SEGMENT.unpack_from(frame, place)
        if prefix != 0xFF or marker in (_START_OF_SCAN, _RESTART_INTERVAL):
            return None
        if marker in (_SOF3, _SOF55):
            return (marker, *_FRAME.unpack_from(frame, place + _SEGMENT.size))
        place += 2 + length
    return None


@cache
def _decoders() -> dict[int, _Decoder]:
    """By kind of frame; none where imagecodecs isn't installed or was built without them."""
    try:
        import imagecodecs  # noqa: PLC0415 - 20 ms that uncompressed series don't pay
    except ImportError:
        return {}
    found: dict[int, _Decoder] = {}
    if imagecodecs.LJPEG.available:
        found[_SOF3] = lambda frame: np.asarray(imagecodecs.ljpeg_decode(frame))
    if imagecodecs.JPEGLS.available:
        found[_SOF55] = lambda frame: np.asarray(imagecodecs.jpegls_decode(frame))
    return found

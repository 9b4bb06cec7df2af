"""Pixel data on disk to Hounsfield units; a cut-off frame is a refusal, never a grey area in the volume."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicomnode.assemble.decoders import DecodeError, PixelFormat, decode_frame, decode_native
from dicomnode.assemble.elements import open_dataset_stream
from dicomnode.assemble.headers import SliceHeader
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError

FLOOR_HU = -1024
CEILING_HU = 32767
PADDING_ABOVE_HU = 3071  # the top of a 12-bit CT scale; padding that claims less may be tissue and is left

# Every CT shows air around or inside the body and soft tissue in it. 0.5 % of the voxels is far below what a
# chest has of either (over 10 %), and far above what stray padding or metal has.
AIR_HU = -500
TISSUE_HU = (-200, 300)
LEAST_SHARE = 0.005

MOST_THREADS = 8

_ITEM = 0xFFFEE000
_SEQUENCE_DELIMITATION_ITEM = 0xFFFEE0DD

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plausible:
    """Voxels of a sample, every fourth row and column, that are air and that are soft tissue."""

    air: int
    tissue: int


Fill = Callable[[SliceHeader, NDArray[np.int16]], Plausible]


def read_volume(
    headers: Sequence[SliceHeader], progress: Progress | None = None, fill: Fill | None = None
) -> NDArray[np.int16]:
    """Decode the slices in the order given: int16 of shape (slices, rows, columns) in HU.

    ``progress`` is called with (slices done, slices in all) from the calling thread, ``fill`` for each slice
    from several; by default it is :func:`read_slice`.

    Raises
    ------
    SeriesRefusedError
        ``no_pixel_data`` where a frame is missing, cut off or damaged; ``bad_rescale`` where the numbers
        can't be Hounsfield units.
    """
    first = headers[0]
    assert first.rows is not None and first.columns is not None  # the gate saw to it
    hu = np.empty((len(headers), first.rows, first.columns), dtype=np.int16)

    fill = fill or read_slice
    found = Plausible(0, 0)
    pool = ThreadPoolExecutor(max_workers=min(MOST_THREADS, len(os.sched_getaffinity(0))))
    try:
        for done, values in enumerate(pool.map(fill, headers, hu), start=1):
            found = Plausible(found.air + values.air, found.tissue + values.tissue)
            if progress is not None:
                progress(done, len(headers))
    finally:
        pool.shutdown(cancel_futures=True)
    refuse_implausible_hu(hu, found)
    return hu


def read_slice(header: SliceHeader, out: NDArray[np.int16]) -> Plausible:
    """:func:`read_hounsfield`, and what the slice has of air and tissue."""
    read_hounsfield(header, out)
    return plausible_values(out)


def read_hounsfield(header: SliceHeader, out: NDArray[np.int16]) -> None:
    """Read one instance into ``out``, C-contiguous int16 of shape (rows, columns), in HU.

    Raises
    ------
    SeriesRefusedError
        ``no_pixel_data`` where the frame is missing, cut off or damaged.
    """
    if not _read_in_place(header, out):
        to_hounsfield(read_stored_values(header), header, out)


def _read_in_place(header: SliceHeader, out: NDArray[np.int16]) -> bool:
    """Whether the pixels of a plain file could go from the file into ``out`` and become HU there."""
    element, slope, intercept = header.pixel_element, header.rescale_slope, header.rescale_intercept
    if (
        header.transfer_syntax_uid not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
        or element is None
        or element.length is None
        or header.bits_allocated != 16
        or slope != 1.0
        or intercept is None
        or intercept != int(intercept)
        or sys.byteorder != "little"
    ):
        return False
    pixel_format = _pixel_format(header)
    stored = out.view(pixel_format.dtype)
    padding = _padding_range(header, stored.dtype)
    if padding is not None and padding[0] + intercept > PADDING_ABOVE_HU:
        return False
    try:
        descriptor = os.open(header.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.preadv(descriptor, [out.view(np.uint8).data], element.offset) != out.nbytes:
                return False
        finally:
            os.close(descriptor)
    except OSError:
        return False  # read once more, and told
    unused = pixel_format.bits_allocated - pixel_format.bits_stored
    if unused:
        np.left_shift(stored, unused, out=stored)
        np.right_shift(stored, unused, out=stored)
    _add_clipped(stored, int(intercept), out)
    return True


def read_stored_values(header: SliceHeader) -> NDArray[Any]:
    """The stored values of one instance, shape (rows, columns), int8/16 or uint8/16, unused bits cleared."""
    element = header.pixel_element
    pixel_format = _pixel_format(header)
    if element is None:
        raise SeriesRefusedError(RefusalReason.NO_PIXEL_DATA, f"{header.place} has no pixel data")
    try:
        with open_dataset_stream(header.path, header.transfer_syntax_uid) as stream:
            stream.seek(element.offset)
            if element.length is None:
                stored = decode_frame(_join_fragments(stream.read()), pixel_format)
            else:
                size = pixel_format.rows * pixel_format.columns * pixel_format.bits_allocated // 8
                value = stream.read(size + size % 2)
                if len(value) < size:
                    raise DecodeError(f"only {len(value)} of {size} bytes are there")
                big_endian = header.transfer_syntax_uid == ExplicitVRBigEndian
                stored = decode_native(value, pixel_format, big_endian)
    except (DecodeError, OSError) as error:
        detail = f"the pixel data of {header.place} can't be decoded: {error}"
        raise SeriesRefusedError(RefusalReason.NO_PIXEL_DATA, detail) from error
    unused = pixel_format.bits_allocated - pixel_format.bits_stored
    return (stored << unused) >> unused if unused else stored


def to_hounsfield(stored: NDArray[Any], header: SliceHeader, out: NDArray[np.int16]) -> None:
    """Write slope * stored + intercept, rounded and clipped to -1024 .. 32767 HU, into ``out``.

    Stored values that are Pixel Padding (PS3.3 C.7.5.1.1.2) become -1024 HU where they would stand for more
    than 3071 HU. A padding value inside the scale of tissue is not believed: some writers state 0 for it
    in images where 0 is water.
    """
    slope, intercept = header.rescale_slope, header.rescale_intercept
    assert slope is not None and intercept is not None  # the gate saw to it
    if slope == 1.0 and intercept == int(intercept):
        _add_clipped(stored, int(intercept), out)
    else:
        np.copyto(out, np.clip(np.rint(stored * slope + intercept), FLOOR_HU, CEILING_HU), casting="unsafe")
    padding = _padding_range(header, stored.dtype)
    if padding is not None and padding[0] * slope + intercept > PADDING_ABOVE_HU:
        out[(stored >= padding[0]) & (stored <= padding[1])] = FLOOR_HU


def plausible_values(hu: NDArray[np.int16]) -> Plausible:
    """What one slice (rows, columns) has of either."""
    sample = np.ascontiguousarray(hu[::4, ::4])
    tissue = (sample > TISSUE_HU[0]) & (sample < TISSUE_HU[1])
    return Plausible(int(np.count_nonzero(sample < AIR_HU)), int(np.count_nonzero(tissue)))


def refuse_implausible_hu(hu: NDArray[np.int16], found: Plausible) -> None:
    """Refuse a volume whose numbers can't be Hounsfield units: without air, or without tissue."""
    sample = hu[:, ::4, ::4]
    if found.air / sample.size < LEAST_SHARE:
        finding = f"so there is no air (below {AIR_HU} HU): these are not Hounsfield units"
    elif found.tissue / sample.size < LEAST_SHARE:
        finding = f"with no soft tissue ({TISSUE_HU[0]} to {TISSUE_HU[1]} HU) in it"
    else:
        return
    low, high = np.percentile(sample, (0.05, 99.95))
    detail = f"99.9 % of the values lie between {low:.0f} and {high:.0f}, {finding}"
    raise SeriesRefusedError(RefusalReason.BAD_RESCALE, detail)


def _add_clipped(stored: NDArray[Any], offset: int, out: NDArray[np.int16]) -> None:
    """``out`` = stored + offset, clipped to the scale; in 16 bits where that fits, which is faster."""
    limits = np.iinfo(stored.dtype)
    lowest, highest = max(FLOOR_HU - offset, limits.min), min(CEILING_HU - offset, limits.max)
    if limits.bits == 16 and lowest <= highest:
        # Against a row instead of a number the minimum is five times faster: NumPy has vector code for it.
        if lowest > limits.min:
            stored = np.maximum(stored, _row(stored, lowest), out=out.view(stored.dtype))
        if highest < limits.max:
            stored = np.minimum(stored, _row(stored, highest), out=out.view(stored.dtype))
        # Both wrap; the sum is within 16 bits.
        np.add(stored.view(np.int16), np.array(offset).astype(np.int16), out=out)
    else:
        wide = np.add(stored, offset, dtype=np.int32)
        np.copyto(out, np.clip(wide, FLOOR_HU, CEILING_HU, out=wide), casting="unsafe")


def _row(stored: NDArray[Any], value: int) -> NDArray[Any]:
    return np.full(stored.shape[-1:], value, dtype=stored.dtype)


def _padding_range(header: SliceHeader, dtype: np.dtype[Any]) -> tuple[int, int] | None:
    if header.pixel_padding_value is None:
        return None
    limit = header.pixel_padding_range_limit
    bits = np.array([header.pixel_padding_value, header.pixel_padding_value if limit is None else limit])
    first, last = bits.astype(np.uint16).astype(dtype).tolist()
    return min(first, last), max(first, last)


def _pixel_format(header: SliceHeader) -> PixelFormat:
    sizes = (header.rows, header.columns, header.bits_allocated, header.bits_stored)
    rows, columns, bits_allocated, bits_stored = (size or 0 for size in sizes)  # the gate saw to it
    return PixelFormat(
        header.transfer_syntax_uid, rows, columns, bits_allocated, bits_stored, header.pixel_representation
    )


def _join_fragments(value: bytes) -> bytes:
    """The one frame of an encapsulated value: every fragment after the basic offset table (PS3.5 A.4).

    The sequence delimitation item must be there: without it, nothing tells a whole frame from a part.
    """
    fragments, offset = [], 0
    while True:
        if offset + 8 > len(value):
            raise DecodeError("the file ends before the pixel data do")
        group, element, length = struct.unpack_from("<HHL", value, offset)
        tag = group << 16 | element
        if tag == _SEQUENCE_DELIMITATION_ITEM:
            break
        if tag != _ITEM or offset + 8 + length > len(value):
            raise DecodeError("the file ends before the pixel data do")
        fragments.append(value[offset + 8 : offset + 8 + length])
        offset += 8 + length
    if len(fragments) < 2:
        raise DecodeError("there is no fragment in it")
    return b"".join(fragments[1:])

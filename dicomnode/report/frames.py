"""The frames of a binary segmentation: one bit a pixel, first pixel in the lowest bit (PS3.5 8.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.report.encoding import element_head
from dicomnode.report.seg_parts import PIXEL_DATA
from dicomnode.report.segments import Condition, Segment
from dicomnode.segment.segmentation import Segmentation

Bits = NDArray[np.uint8]
FRAMES_A_BYTE = 8
"""Eight frames fill whole bytes whatever their size, so they can be packed on their own."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Packed frames in the order of segments, then slices.

    Parameters
    ----------
    places:
        Segment number (from 1) and slice of each frame.
    pieces:
        Their pixels; frames may share a piece of background.
    """

    places: list[tuple[int, int]]
    pieces: list[bytes]

    def pixel_data(self) -> list[bytes]:
        """The whole element Pixel Data in pieces."""
        length = sum(map(len, self.pieces))
        return [element_head(PIXEL_DATA, "OB", length + length % 2), *self.pieces, b"\0" * (length % 2)]


def pack_frames(segmentation: Segmentation, segments: Sequence[Segment]) -> Frames:
    """The slices on which each segment has a voxel."""
    rows, columns = segmentation.labels.shape[1:]
    if rows * columns % 8:
        return _pack_together(segmentation, segments)
    return _pack_slice_by_slice(segmentation, segments)


def _pack_slice_by_slice(segmentation: Segmentation, segments: Sequence[Segment]) -> Frames:
    """For frames of whole bytes: each map is read once, and only where the lungs are.

    What several values make up (both lungs, all lesions) is joined bit by bit after packing.
    """
    rows, columns = segmentation.labels.shape[1:]
    z, y, _ = segmentation.box
    first, last = y.start // 8 * 8, min(rows, -(-y.stop // 8) * 8)
    before, after = b"\0" * (first * columns // 8), b"\0" * ((rows - last) * columns // 8)
    found: list[list[tuple[int, bytes]]] = [[] for _ in segments]
    for index in range(z.start, z.stop):
        packed: dict[tuple[str, int], Bits] = {}
        for own, segment in zip(found, segments, strict=True):
            bits = _bits(segmentation, segment.where, (index, slice(first, last)), packed)
            if bits.any():
                own.append((index, bits.tobytes()))
    return Frames(
        [(number, index) for number, own in enumerate(found, start=1) for index, _ in own],
        [piece for own in found for _, bits in own for piece in (before, bits, after)],
    )


def _bits(
    segmentation: Segmentation,
    where: Sequence[Condition],
    part: tuple[int, slice],
    packed: dict[tuple[str, int], Bits],
) -> Bits:
    """The packed mask of some rows of a slice; ``packed`` remembers that of each value."""
    conditions = []
    for name, values in where:
        for value in values:
            if (name, value) not in packed:
                mask = getattr(segmentation, name)[part] == value
                packed[name, value] = np.packbits(mask.reshape(-1), bitorder="little")
        joined = packed[name, values[0]]
        for value in values[1:]:
            joined = joined | packed[name, value]
        conditions.append(joined)
    first, *others = conditions
    for bits in others:
        first = first & bits
    return first


def _pack_together(segmentation: Segmentation, segments: Sequence[Segment]) -> Frames:
    """For frames that end within a byte: the next one goes on there."""
    places: list[tuple[int, int]] = []
    pieces: list[bytes] = []
    rest = np.zeros(0, dtype=np.bool_)
    for number, segment in enumerate(segments, start=1):
        mask = segment.mask(segmentation)
        slices = np.flatnonzero(mask.any(axis=(1, 2)))
        for start in range(0, len(slices), FRAMES_A_BYTE):
            bits = np.concatenate([rest, mask[slices[start : start + FRAMES_A_BYTE]].reshape(-1)])
            whole = bits.size - bits.size % 8
            pieces.append(np.packbits(bits[:whole], bitorder="little").tobytes())
            rest = bits[whole:]
        places.extend((number, int(z)) for z in slices)
    return Frames(places, [*pieces, np.packbits(rest, bitorder="little").tobytes()])

"""The masks as a DICOM Segmentation (PS3.3 A.51): binary, one instance, all segments.

Frames and their functional groups are encoded here: there are as many as segments times slices.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicomnode.assemble.volume import Volume
from dicomnode.report.header import ObjectUids
from dicomnode.report.identity import Identity
from dicomnode.report.part10 import encode_element
from dicomnode.report.seg_parts import (
    BY_POSITION,
    BY_SEGMENT,
    PIXEL_DATA,
    SEGMENT_IDENTIFICATION,
    SEGMENT_NUMBER,
    derivations,
    describe_dimensions,
    describe_segment,
    frame_content,
    new_segmentation,
    one_item,
    position,
    write_segmentation,
)
from dicomnode.report.segments import Segment
from dicomnode.segment.segmentation import Segmentation

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
FRAMES_A_BYTE = 8
"""Eight frames fill whole bytes whatever their size, so they can be packed on their own (PS3.5 8.1.1)."""


def write_seg(
    path: Path,
    volume: Volume,
    segmentation: Segmentation,
    segments: Sequence[Segment],
    *,
    uids: ObjectUids,
    tracking: Sequence[str],
    identity: Identity,
    compression: Dataset,
    software: Sequence[str],
    corrected: Collection[str] = (),
) -> None:
    """Write the masks of ``segments`` as they lie on ``volume``; empty frames are left out.

    Parameters
    ----------
    tracking:
        Tracking UIDs of the segments; the SR repeats them.
    compression:
        Lossy Image Compression of the source with ratio and method where it is lossy.
    corrected:
        Keys of the segments that a person has changed: semiautomatic, the others are automatic.

    Raises
    ------
    ReportError
        If no segment has a voxel, or the masks aren't on the volume's grid.
    """
    frames: list[tuple[int, int]] = []
    pixels = bytearray()
    packer = _FramePacker(pixels)
    for number, segment in enumerate(segments, start=1):
        mask = segment.mask(segmentation)
        slices = np.flatnonzero(mask.any(axis=(1, 2)))
        for start in range(0, len(slices), FRAMES_A_BYTE):
            packer.add(mask[slices[start : start + FRAMES_A_BYTE]])
        frames.extend((number, int(z)) for z in slices)
    packer.flush()
    dataset = new_segmentation(
        volume,
        segmentation,
        len(frames),
        uids=uids,
        identity=identity,
        kind="seg",
        description="dicomnode lung segmentation",
        compression=compression,
        software=software,
        corrected=corrected,
    )
    dataset.BitsAllocated = 1
    dataset.BitsStored = 1
    dataset.HighBit = 0
    dataset.SegmentationType = "BINARY"
    dataset.SegmentsOverlap = "YES"
    describe_dimensions(dataset, uids, (BY_SEGMENT, BY_POSITION))
    dataset.SegmentSequence = [
        describe_segment(number, segment, segmentation.model, uid, is_corrected=segment.key in corrected)
        for number, (segment, uid) in enumerate(zip(segments, tracking, strict=True), start=1)
    ]
    pixel_data = encode_element(PIXEL_DATA, "OB", bytes(pixels))
    write_segmentation(path, dataset, identity, _frame_groups(volume, frames), pixel_data)


class _FramePacker:
    """Packs frames to bits, first pixel in the lowest bit, across frame borders."""

    def __init__(self, packed: bytearray) -> None:
        self._packed = packed
        self._rest: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def add(self, frames: NDArray[np.bool_]) -> None:
        bits = frames.reshape(-1)
        if self._rest.size:
            bits = np.concatenate([self._rest, bits])
        whole = bits.size - bits.size % 8
        self._packed += np.packbits(bits[:whole], bitorder="little").tobytes()
        self._rest = bits[whole:].copy()

    def flush(self) -> None:
        self._packed += np.packbits(self._rest, bitorder="little").tobytes()
        self._rest = self._rest[:0]


def _frame_groups(volume: Volume, frames: Sequence[tuple[int, int]]) -> list[bytes]:
    """Encoded functional groups of each frame; what depends on slice or segment alone is encoded once."""
    used = sorted({z for _, z in frames})
    position_index = {z: index for index, z in enumerate(used, start=1)}
    sources = derivations(volume, used)
    positions = {z: position(volume, z) for z in used}
    return [
        sources[z]
        + frame_content(number, position_index[z])
        + positions[z]
        + one_item(SEGMENT_IDENTIFICATION, encode_element(SEGMENT_NUMBER, "US", struct.pack("<H", number)))
        for number, z in frames
    ]

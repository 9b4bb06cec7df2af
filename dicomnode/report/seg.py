"""The masks as a DICOM Segmentation (PS3.3 A.51): binary, one instance, all segments.

Frames and their functional groups are encoded here: there are as many as segments times slices.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from dicomnode.assemble.volume import Volume
from dicomnode.report.encoding import encode_element
from dicomnode.report.frames import pack_frames
from dicomnode.report.header import ObjectUids
from dicomnode.report.identity import Identity
from dicomnode.report.seg_parts import (
    BY_POSITION,
    BY_SEGMENT,
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
    frames = pack_frames(segmentation, segments)
    dataset = new_segmentation(
        volume,
        segmentation,
        len(frames.places),
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
    write_segmentation(path, dataset, identity, _frame_groups(volume, frames.places), frames.pixel_data())


def _frame_groups(volume: Volume, frames: Sequence[tuple[int, int]]) -> list[bytes]:
    """Encoded functional groups of each frame: a template of the slice with two numbers in it."""
    used = sorted({z for _, z in frames})
    sources, positions = derivations(volume, used), {z: position(volume, z) for z in used}
    places = {z: struct.pack("<I", index) for index, z in enumerate(used, start=1)}
    template = frame_content(0, 0)[:-8]
    numbers = {number for number, _ in frames}
    before = {number: template + struct.pack("<I", number) for number in numbers}
    after = {
        number: one_item(
            SEGMENT_IDENTIFICATION, encode_element(SEGMENT_NUMBER, "US", struct.pack("<H", number))
        )
        for number in numbers
    }
    return [
        b"".join((sources[z], before[number], places[z], positions[z], after[number])) for number, z in frames
    ]

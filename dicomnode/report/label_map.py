"""The masks as a Label Map Segmentation (PS3.3 A.51): one value a voxel, RLE, a fiftieth of the binary one.

Values exclude each other, so lesions are told apart by the lobe (or lung) that they lie in: nothing of what
the binary segmentation says is lost, and each lobe is the sum of its parts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.pixels import get_encoder
from pydicom.uid import RLELossless

from dicomnode.assemble.volume import Volume
from dicomnode.report.header import ObjectUids
from dicomnode.report.identity import Identity
from dicomnode.report.part10 import encode_fragments
from dicomnode.report.seg_parts import (
    BY_POSITION,
    PIXEL_DATA,
    derivations,
    describe_dimensions,
    describe_segment,
    frame_content,
    new_segmentation,
    position,
    write_segmentation,
)
from dicomnode.report.segments import EFFUSION, FINDINGS, LOBES, SIDES, Segment
from dicomnode.report.uids import derive_uid
from dicomnode.segment.segmentation import Label, Segmentation

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
WITHOUT_OPACITY = "without opacity"
REGIONS = (*LOBES, *SIDES)
"""Where a voxel may lie, in the order of :class:`Lobe`; a side where no lobe is known."""

PARTS = (Label.NORMAL_LUNG, Label.GROUND_GLASS, Label.CONSOLIDATION, Label.EFFUSION)
FINDING_OF = {segment.key: segment for segment in (*FINDINGS, EFFUSION)}
KEY_OF = {
    Label.GROUND_GLASS: "ggo",
    Label.CONSOLIDATION: "consolidation",
    Label.EFFUSION: "effusion",
}


def nested_keys() -> dict[str, tuple[str, ...]]:
    """For each label that a label map can have, the keys of all segments that its voxels belong to."""
    found = {}
    for region in REGIONS:
        side = region.key.split("_")[0]
        where = tuple(dict.fromkeys(("lungs", side, region.key)))
        for part in PARTS:
            finding = (KEY_OF[part],) if part in KEY_OF else ()
            lesion = ("lesion",) if part in (Label.GROUND_GLASS, Label.CONSOLIDATION) else ()
            found[_part_of(region, part).label] = (*where, *lesion, *finding)
    return found


def label_map(segmentation: Segmentation) -> tuple[NDArray[np.uint8], tuple[Segment, ...]]:
    """Value of each voxel, 0 outside the lungs, and the segments that are there, in the order of values."""
    where = np.where(
        segmentation.lobes > 0,
        segmentation.lobes,
        np.where(segmentation.sides > 0, segmentation.sides + len(LOBES), 0),
    )
    combined = (where * len(Label) + segmentation.labels).astype(np.uint8)
    there = np.bincount(combined[segmentation.box].ravel(), minlength=(len(REGIONS) + 1) * len(Label))
    segments: list[Segment] = []
    values = np.zeros(256, np.uint8)
    for number, region in enumerate(REGIONS, start=1):
        for part in PARTS:
            if there[number * len(Label) + part]:
                segments.append(_part_of(region, part))
                values[number * len(Label) + part] = len(segments)
    return values[combined], tuple(segments)


def write_label_map(
    path: Path,
    volume: Volume,
    segmentation: Segmentation,
    *,
    uids: ObjectUids,
    origin: Sequence[str],
    identity: Identity,
    compression: Dataset,
    software: Sequence[str],
    corrected: Collection[str] = (),
) -> None:
    """Write the label map of a segmentation on ``volume``; slices without lung are left out.

    Parameters
    ----------
    origin:
        What the tracking UIDs of the segments derive from.
    compression:
        Lossy Image Compression of the source with ratio and method where it is lossy.
    corrected:
        Keys of the segments that a person has changed.

    Raises
    ------
    ReportError
        If no segment has a voxel, or the masks aren't on the volume's grid.
    """
    values, segments = label_map(segmentation)
    slices = [int(z) for z in np.flatnonzero(values.any(axis=(1, 2)))]
    dataset = new_segmentation(
        volume,
        segmentation,
        len(slices),
        uids=uids,
        identity=identity,
        kind="label map",
        description="dicomnode lung label map",
        compression=compression,
        software=software,
        corrected=corrected,
    )
    dataset.BitsAllocated = 8
    dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.SegmentationType = "LABELMAP"
    dataset.SegmentsOverlap = "NO"
    dataset.add(DataElement(tag_for_keyword("PixelPaddingValue") or 0, "US", 0))
    describe_dimensions(dataset, uids, (BY_POSITION,))
    dataset.SegmentSequence = [
        describe_segment(
            number,
            segment,
            segmentation.model,
            derive_uid("tracking", "label map", segment.key, *origin),
            is_corrected=not set(segment.key.split()).isdisjoint(corrected),
        )
        for number, segment in enumerate(segments, start=1)
    ]
    sources = derivations(volume, slices)
    groups = [
        sources[z] + frame_content(index) + position(volume, z) for index, z in enumerate(slices, start=1)
    ]
    pixel_data = encode_fragments(PIXEL_DATA, _compressed(values[slices]))
    write_segmentation(path, dataset, identity, groups, pixel_data, RLELossless)


def _part_of(region: Segment, part: Label) -> Segment:
    """A lobe or lung without opacity, or what of a finding lies in it."""
    where = (*region.where, ("labels", (part,)))
    if part is Label.NORMAL_LUNG:
        return replace(region, label=f"{region.label} {WITHOUT_OPACITY}", where=where)
    finding = FINDING_OF[KEY_OF[part]]
    key, label = f"{finding.key} {region.key}", f"{finding.label}, {region.label.lower()}"
    return replace(finding, key=key, label=label, where=where, region=region)


def _compressed(frames: NDArray[np.uint8]) -> Iterator[bytes]:
    encoder = get_encoder(RLELossless)
    rows, columns = frames.shape[1:]
    for frame in frames:
        yield encoder.encode(
            frame.tobytes(),
            rows=rows,
            columns=columns,
            samples_per_pixel=1,
            bits_allocated=8,
            bits_stored=8,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
            number_of_frames=1,
        )

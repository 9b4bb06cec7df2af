"""Packed frames against the masks packed plainly."""

from __future__ import annotations

import numpy as np
import pytest

from dicomnode.report.frames import pack_frames
from dicomnode.report.label_map import label_map
from dicomnode.report.segments import LUNGS, Segment, segments_of
from dicomnode.segment.segmentation import Segmentation
from tests.report.report_cases import MODEL


def scattered(shape: tuple[int, int, int], share: float, seed: int) -> Segmentation:
    """Maps that obey the rules of a segmentation and no others."""
    random = np.random.default_rng(seed)
    labels = (random.integers(1, 5, shape) * (random.random(shape) < share)).astype(np.uint8)
    sides = (random.integers(1, 3, shape) * (labels > 0)).astype(np.uint8)
    lobes = (random.integers(0, 6, shape) * (labels > 0)).astype(np.uint8)
    return Segmentation(labels, sides, lobes, MODEL)


def packed_plainly(
    segmentation: Segmentation, segments: tuple[Segment, ...]
) -> tuple[list[tuple[int, int]], bytes]:
    places, masks = [], []
    for number, segment in enumerate(segments, start=1):
        mask = segment.mask(segmentation)
        for z in np.flatnonzero(mask.any(axis=(1, 2))):
            places.append((number, int(z)))
            masks.append(mask[z])
    return places, np.packbits(np.array(masks, np.bool_).reshape(-1), bitorder="little").tobytes()


@pytest.mark.parametrize("share", [0.0005, 0.3])
@pytest.mark.parametrize("shape", [(9, 24, 40), (7, 17, 24), (7, 24, 17), (5, 3, 5), (21, 5, 7), (3, 2, 4)])
def test_frames_are_the_masks(shape: tuple[int, int, int], share: float) -> None:
    for seed in range(5):
        segmentation = scattered(shape, share, seed)
        segments = (*segments_of(segmentation), *label_map(segmentation)[1])
        places, packed = packed_plainly(segmentation, segments)
        frames = pack_frames(segmentation, segments)
        assert frames.places == places
        assert b"".join(frames.pieces) == packed


def test_an_odd_number_of_bytes_is_padded() -> None:
    segmentation = scattered((1, 2, 4), 1.0, 0)
    frames = pack_frames(segmentation, LUNGS[:1])
    assert frames.places == [(1, 0)]
    head, *_, padding = frames.pixel_data()
    assert int.from_bytes(head[-4:], "little") == 2
    assert padding == b"\0"

"""Separate lesions and their depth in the lung, against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dicomnode.segment.anatomy import OUTER_SHARE, find_anatomy
from dicomnode.segment.segmentation import (
    Anatomy,
    Label,
    ModelIdentity,
    Segmentation,
    SeparateLesions,
    Side,
)

MODEL = ModelIdentity("test", "1", "")
SHAPE = (30, 26, 40)
RIGHT, LEFT = np.s_[3:27, 3:23, 3:19], np.s_[3:27, 3:23, 19:37]


def lungs() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Labels and sides of two boxes that touch each other."""
    labels, sides = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    for box, side in ((RIGHT, Side.RIGHT), (LEFT, Side.LEFT)):
        labels[box], sides[box] = Label.NORMAL_LUNG, side
    return labels, sides


def anatomy_of(labels: NDArray[np.uint8], sides: NDArray[np.uint8], mm: float = 4.0) -> Anatomy:
    return find_anatomy(Segmentation(labels, sides, np.zeros_like(labels), MODEL), np.diag([mm, mm, mm, 1.0]))


def sizes(lesions: SeparateLesions) -> list[int]:
    return np.bincount(lesions.numbers)[1:].tolist()


def test_corners_join_lesions_and_gaps_and_the_other_lung_part_them() -> None:
    labels, sides = lungs()
    labels[5:8, 5:8, 5:8] = Label.GROUND_GLASS
    labels[8, 8, 8] = Label.CONSOLIDATION  # touches at a corner
    labels[10, 8, 8] = Label.GROUND_GLASS  # a gap of a voxel
    labels[20:23, 10:12, 17:21] = Label.GROUND_GLASS  # two voxels wide in each lung
    lesions = anatomy_of(labels, sides).lesions
    assert sizes(lesions) == [28, 12, 12, 1]
    assert lesions.count == 4
    flat = labels.ravel()[lesions.places]
    assert np.isin(flat, (Label.GROUND_GLASS, Label.CONSOLIDATION)).all()
    assert len(flat) == np.isin(labels, (Label.GROUND_GLASS, Label.CONSOLIDATION)).sum()


def test_depth_is_the_distance_to_the_surface_of_the_own_lung() -> None:
    labels, sides = lungs()
    labels[RIGHT] = labels[LEFT] = Label.GROUND_GLASS
    lesions = anatomy_of(labels, sides).lesions
    z, y, x = np.unravel_index(lesions.places, SHAPE)
    side = sides.ravel()[lesions.places]
    low = np.where(side == Side.RIGHT, 3, 19)
    high = np.where(side == Side.RIGHT, 18, 36)
    steps = np.min([z - 2, 27 - z, y - 2, 23 - y, x - low + 1, high + 1 - x], axis=0)
    np.testing.assert_allclose(lesions.depth_mm, 4.0 * steps - 2.0)


def test_the_outer_third_is_a_third_of_each_lung() -> None:
    labels, sides = lungs()
    labels[RIGHT] = labels[LEFT] = Label.CONSOLIDATION
    lesions = anatomy_of(labels, sides).lesions
    for side in (Side.RIGHT, Side.LEFT):
        lung = sides.ravel()[lesions.places] == side
        assert lesions.outer[lung].mean(dtype=np.float64) == pytest.approx(OUTER_SHARE, abs=1e-6)
        deep = np.argsort(lesions.depth_mm[lung])
        assert np.all(np.diff(lesions.outer[lung][deep]) <= 0), "the deeper, the less of the periphery"


def test_on_fine_grids_depth_is_good_to_the_lattice() -> None:
    labels, sides = np.zeros((60, 120, 120), np.uint8), np.zeros((60, 120, 120), np.uint8)
    z, y, x = np.ogrid[:60, :120, :120]
    radius = np.sqrt((z - 30) ** 2 + ((y - 60) / 2) ** 2 + ((x - 60) / 2) ** 2)  # in voxels of 1 mm
    ball = radius < 25
    labels[ball], sides[ball] = Label.GROUND_GLASS, Side.RIGHT
    segmentation = Segmentation(labels, sides, np.zeros_like(labels), MODEL)
    lesions = find_anatomy(segmentation, np.diag([0.5, 0.5, 1.0, 1.0])).lesions
    expected = 25 - radius.ravel()[lesions.places]
    assert np.abs(lesions.depth_mm - expected).max() < 3.0
    assert np.abs(np.mean(lesions.depth_mm - expected)) < 0.5
    inner = radius.ravel()[lesions.places] < 25 * (2 / 3) ** (1 / 3) - 2
    assert lesions.outer[inner].max() == 0, "the inner two thirds of a ball, but for the lattice"


def test_where_the_scan_ends_there_is_no_surface() -> None:
    labels = np.full((5, 6, 7), Label.NORMAL_LUNG, np.uint8)
    labels[2, 2, 2] = Label.GROUND_GLASS
    lesions = anatomy_of(labels, np.full_like(labels, Side.LEFT)).lesions
    assert np.isinf(lesions.depth_mm).all()
    assert lesions.outer.tolist() == pytest.approx([OUTER_SHARE])


def test_a_lung_thinner_than_the_lattice_is_all_surface() -> None:
    labels, sides = np.zeros((9, 9, 9), np.uint8), np.zeros((9, 9, 9), np.uint8)
    labels[4, 4, 4], sides[4, 4, 4] = Label.CONSOLIDATION, Side.LEFT
    lesions = anatomy_of(labels, sides, mm=0.5).lesions
    assert sizes(lesions) == [1]
    assert lesions.depth_mm.max() <= 2.0


def test_no_lesion_and_no_lung_are_no_error() -> None:
    labels, sides = lungs()
    assert anatomy_of(labels, sides).lesions.count == 0
    empty = anatomy_of(np.zeros_like(labels), np.zeros_like(labels))
    assert empty.lesions.count == 0 and not empty.regions.any()


def test_arrays_of_unlike_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        SeparateLesions(
            np.zeros(2, np.int64), np.ones(2, np.int32), np.zeros(1, np.float32), np.zeros(2, np.float32)
        )

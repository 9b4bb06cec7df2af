"""Morphology in mm: radii on anisotropic grids, edges of the array, and flooding."""

from __future__ import annotations

import numpy as np
import pytest

from dicomnode.segment.morphology import (
    close,
    dilate,
    distance_mm,
    erode,
    fill_holes,
    flood,
    grow,
    open_,
    shrink,
    within,
)

SPACING = (5.0, 1.0, 1.0)


def test_dilation_reaches_its_radius_along_each_axis() -> None:
    mask = np.zeros((9, 41, 41), bool)
    mask[4, 20, 20] = True
    z, y, x = np.nonzero(dilate(mask, 10.0, SPACING))
    assert (z.min(), z.max()) == (2, 6)
    assert (y.min(), y.max()) == (10, 30)
    assert (x.min(), x.max()) == (10, 30)


def test_erosion_undoes_dilation_and_spares_the_edge() -> None:
    mask = np.zeros((9, 41, 41), bool)
    mask[:, 10:31, :20] = True
    assert np.array_equal(erode(dilate(mask, 3.0, SPACING), 3.0, SPACING), mask)
    assert np.array_equal(shrink(grow(mask)), mask)
    assert erode(np.ones((3, 8, 8), bool), 3.0, SPACING).all()


def test_closing_bridges_gaps_up_to_twice_its_radius() -> None:
    mask = np.zeros((5, 40, 60), bool)
    mask[:, 10:30, 5:25] = mask[:, 10:30, 33:55] = True
    assert close(mask, 5.0, SPACING)[2, 20, 28]
    assert not close(mask, 3.0, SPACING)[2, 20, 28]


def test_opening_removes_what_is_thinner() -> None:
    mask = np.zeros((5, 40, 60), bool)
    mask[:, 10:30, 5:25] = True
    mask[:, 20, 25:] = True
    opened = open_(mask, 2.0, SPACING)
    assert opened[2, 20, 15]
    assert not opened[2, 20, 40]


def test_flooding_meets_on_the_densest_sheet() -> None:
    labels = np.zeros((3, 3, 21), np.uint8)
    labels[:, :, 0], labels[:, :, 20] = 1, 2
    light = np.ones(labels.shape, bool)
    light[:, :, 5] = False
    flooded = flood(labels, [light, np.ones_like(light)])
    assert (flooded[:, :, :5] == 1).all()
    assert (flooded[:, :, 6:] == 2).all()
    assert (flooded > 0).all()
    assert labels.sum() == 27


def test_only_closed_cavities_are_filled() -> None:
    mask = np.ones((5, 9, 9), bool)
    mask[2, 4, 4] = mask[0, 1, 1] = False
    filled = fill_holes(mask)
    assert filled[2, 4, 4]
    assert not filled[0, 1, 1]


@pytest.mark.parametrize("radius_mm", [0.5, 3.5, 8.0])
@pytest.mark.parametrize("spacing_mm", [(2.5, 2.109375, 2.109375), (5.0, 1.4, 1.3), (1.0, 2.0, 3.0)])
def test_what_is_within_a_radius_is_what_the_distance_says(
    radius_mm: float, spacing_mm: tuple[float, float, float]
) -> None:
    mask = np.random.default_rng(3).random((9, 31, 40)) > 0.996
    mask[:, 0, :4] = True
    expected = distance_mm(mask, spacing_mm) <= radius_mm
    assert np.array_equal(within(mask, radius_mm, spacing_mm), expected)
    assert not within(np.zeros_like(mask), radius_mm, spacing_mm).any()

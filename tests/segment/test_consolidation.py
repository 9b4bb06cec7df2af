"""Airless lung: dents of a round chest are filled up to the ribs, heart and diaphragm are not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dicomnode.segment.consolidation import airless_lung
from dicomnode.segment.segmentation import Side

SPACING = (3.0, 3.0, 3.0)
SHAPE = (60, 80, 100)
MIDLINE = 49.5


def chest() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Two half-cylinders of lung around a mediastinum, ribs as a ring of bone 6 mm outside of them."""
    _, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    radius = np.hypot((y - 40) / 0.75, x - MIDLINE) * 3.0
    sides = np.zeros(SHAPE, np.uint8)
    lung = (radius < 126) & (np.abs(x - MIDLINE) > 10)
    lung[:5] = lung[-5:] = False
    sides[lung] = np.where(x < MIDLINE, Side.RIGHT, Side.LEFT)[lung]
    hu = np.where(lung, np.float32(-850), np.float32(40))
    hu[(radius > 132) & (radius < 141)] = 400
    return sides, hu


def consolidate(
    sides: NDArray[np.uint8], hu: NDArray[np.float32], centre: tuple[int, int, int], radius_mm: float
) -> NDArray[np.bool_]:
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    ball = ((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) * 9.0 < radius_mm**2
    ball &= sides > 0
    sides[ball], hu[ball] = Side.NONE, 40
    return ball


def test_healthy_chest_stays_as_it_is() -> None:
    sides, hu = chest()
    assert airless_lung(sides, hu, MIDLINE, SPACING).sum() < 0.002 * (sides > 0).sum()


@pytest.mark.parametrize("centre", [(30, 60, 20), (30, 62, 75), (20, 45, 12)])
def test_pleural_consolidation_is_put_back(centre: tuple[int, int, int]) -> None:
    sides, hu = chest()
    ball = consolidate(sides, hu, centre, 36.0)
    found = airless_lung(sides, hu, MIDLINE, SPACING)
    assert (found & ball).sum() > 0.85 * ball.sum()
    assert (found & ~ball).sum() < 0.15 * ball.sum()


def test_no_lung_nothing_to_put_back() -> None:
    nothing = airless_lung(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.float32), MIDLINE, SPACING)
    assert not nothing.any()


def test_bone_is_never_lung() -> None:
    sides, hu = chest()
    consolidate(sides, hu, (30, 60, 20), 45.0)
    assert not (airless_lung(sides, hu, MIDLINE, SPACING) & (hu > 300)).any()

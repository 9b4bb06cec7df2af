"""The coarse grid: block means and the way back, also where blocks are incomplete."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomnode.segment.grid import WorkGrid


def test_thin_slices_and_fine_pixels_become_two_to_three_mm() -> None:
    grid = WorkGrid.for_volume((248, 512, 512), (1.25, 0.703, 0.703))
    assert grid.factors == (2, 3, 3)
    assert grid.shape == (124, 171, 171)


def test_thick_slices_stay_as_they_are() -> None:
    assert WorkGrid.for_volume((60, 64, 64), (10.0, 5.0, 5.0)).factors == (1, 1, 1)


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 12)] * 3), spacing=st.tuples(*[st.floats(0.4, 4)] * 3))
def test_enlarging_undoes_block_means_of_a_constant(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    grid = WorkGrid.for_volume(shape, spacing)
    mean = grid.block_mean(np.full(shape, -700, np.int16))
    assert np.all(mean == -700)
    z, y, x = grid.shape
    box = (slice(0, z), slice(0, y), slice(0, x))
    assert grid.enlarge(mean, box).shape == shape
    assert grid.enlarge_smooth(np.ones(grid.shape, bool), box).all()
    assert not grid.enlarge_smooth(np.zeros(grid.shape, bool), box).any()


def test_padding_is_clipped_before_the_mean() -> None:
    grid = WorkGrid.for_volume((2, 4, 4), (1.2, 1.2, 1.2))
    hu = np.zeros((2, 4, 4), np.int16)
    hu[:, :2, :2] = -3024
    assert grid.block_mean(hu)[0, 0, 0] == -1024


def test_smooth_border_lies_half_way_between_voxel_centres() -> None:
    grid = WorkGrid.for_volume((3, 24, 3), (2.4, 0.6, 2.4))
    assert grid.factors == (1, 4, 1)
    coarse = np.zeros(grid.shape, bool)
    coarse[:, :3] = True
    fine = grid.enlarge_smooth(coarse, (slice(0, 3), slice(0, 6), slice(0, 3)))
    assert fine.sum(axis=1) == pytest.approx(12)

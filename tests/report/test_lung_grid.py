"""The coarse grid: coverage and density as they are, in the patient's axes whatever the slices' order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicomnode.report.lung_grid import DENSITY_HIGH_HU, DENSITY_LOW_HU, LungGrid
from tests.report.report_cases import Case, axial_affine, make_case, thorax, write_ct

FINE = (2.0, 0.6, 0.65)
SHAPE = (24, 80, 96)


def fine_case(tmp_path: Path, *, flip: bool = False) -> Case:
    hu, labels, sides = thorax(SHAPE)
    affine = axial_affine(SHAPE, FINE)
    if flip:
        affine[2, 3] += FINE[0] * (SHAPE[0] - 1)
        affine[2, 2] *= -1
        hu, labels, sides = (np.ascontiguousarray(a[::-1]) for a in (hu, labels, sides))
    return make_case(write_ct(tmp_path / f"ct{flip}", hu, affine), labels, sides)


def test_volumes_are_kept(tmp_path: Path) -> None:
    case = fine_case(tmp_path)
    grid = LungGrid.of(case.volume, case.segmentation)
    assert grid is not None
    assert grid.spacing_mm == pytest.approx((2.0, 1.2, 1.3))
    cell_ml = float(np.prod(grid.spacing_mm)) / 1000
    total = case.measurements.total
    for coverage, expected in ((grid.lung, total.volume_ml), (grid.lesion, total.lesion_volume_ml)):
        assert coverage.sum(dtype=float) / 255 * cell_ml == pytest.approx(expected, rel=0.03)


def test_density_is_the_attenuation_of_the_lesion(tmp_path: Path) -> None:
    case = fine_case(tmp_path)
    grid = LungGrid.of(case.volume, case.segmentation)
    assert grid is not None
    whole = grid.lesion == 255
    hu = DENSITY_LOW_HU + grid.density[whole].astype(float) * (DENSITY_HIGH_HU - DENSITY_LOW_HU) / 255
    assert set(np.round(hu / 10) * 10) <= {-520, -60}


def test_the_order_of_slices_leaves_no_trace(tmp_path: Path) -> None:
    straight, flipped = (
        LungGrid.of(case.volume, case.segmentation)
        for case in (fine_case(tmp_path), fine_case(tmp_path, flip=True))
    )
    assert straight is not None and flipped is not None
    for name in ("lung", "lesion", "vessel", "density", "parts", "sides"):
        np.testing.assert_array_equal(getattr(straight, name), getattr(flipped, name))


def test_without_lung_there_is_none(tmp_path: Path) -> None:
    case = fine_case(tmp_path)
    case.segmentation.labels[:] = 0
    assert LungGrid.of(case.volume, case.segmentation) is None

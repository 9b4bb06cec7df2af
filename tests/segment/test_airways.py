"""Trachea and main bronchi: found, grown without leaking, kept out of the lungs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from dicomnode.segment.airspaces import find_airspaces
from dicomnode.segment.airways import LARGEST_TREE_ML, find_airways
from dicomnode.segment.body import find_body, measure_densities
from dicomnode.segment.grid import WorkGrid
from tests.segment.real_ct import read_cip, read_imlab


@pytest.mark.parametrize("name", ["cip", "id001", "id002"])
def test_tree_is_a_tree_and_no_lung(data_dir: Path, name: str) -> None:
    ct = read_cip(data_dir) if name == "cip" else read_imlab(data_dir, name)
    assert ct.lungs is not None
    z, y, x = ct.hu.shape
    grid = WorkGrid.for_volume((z, y, x), ct.spacing_mm)
    assert grid.factors == (1, 1, 1)
    hu = grid.block_mean(ct.hu)
    body = find_body(hu, ct.spacing_mm)
    densities = measure_densities(hu, body)
    spaces = find_airspaces(hu, body, densities, ct.spacing_mm)
    tree = find_airways(
        hu,
        spaces.air,
        spaces.sides > 0,
        spaces.midline,
        densities.gas_hu,
        densities.border_hu,
        ct.spacing_mm,
    )
    assert 15 < float(tree.sum()) * ct.voxel_ml <= LARGEST_TREE_ML
    assert float(tree.any(axis=(1, 2)).sum()) * ct.spacing_mm[0] > 90
    assert ndimage.label(tree)[1] == 1
    upper = tree.copy()
    upper[: int(np.flatnonzero(ct.lungs.any(axis=(1, 2)))[-1])] = False
    assert upper.any(), "the trachea goes on above the apex"


def test_no_lungs_no_tree() -> None:
    empty = np.zeros((6, 20, 20), bool)
    hu = np.full((6, 20, 20), 40, np.float32)
    assert not find_airways(hu, empty, empty, 10.0, -1000.0, -400.0, (5.0, 5.0, 5.0)).any()

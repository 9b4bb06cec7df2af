"""The patient's stomach is full of gas and touches the left lung where slices or pixels are coarse."""

from __future__ import annotations

import numpy as np
import pytest

from dicomnode.segment.lungs import find_lungs
from dicomnode.segment.segmentation import Segmentation, Side
from tests.robust.patient import Chest

# The lowest third of the left lung's height down to the end of the scan: stomach, spleen, no lung.
BELOW_THE_LUNGS = 6


@pytest.mark.parametrize("slices", [62, 31])
def test_the_rim_of_gas_in_the_stomach_was_once_lung_and_whole_scans_were_refused(
    chest: Chest, undisturbed: Segmentation, slices: int
) -> None:
    step = 310.0 / slices
    found = find_lungs(
        chest.on_grid((slices, 256, 256), (step, *chest.spacing_mm[1:])).hu, (step, *chest.spacing_mm[1:])
    )
    assert not found.sides[: round(BELOW_THE_LUNGS * 5 / step)].any()
    ml = (
        float(np.count_nonzero(found.sides == Side.LEFT)) * step * float(np.prod(chest.spacing_mm[1:])) / 1000
    )
    expected = float(np.count_nonzero(undisturbed.sides == Side.LEFT)) * chest.voxel_ml
    assert ml == pytest.approx(expected, rel=0.03)
    assert not found.flags

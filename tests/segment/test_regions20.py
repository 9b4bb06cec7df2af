"""Twenty regions from five lobes: on the phantom, on real masks, on whatever is left of a lobe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dicomnode.segment.regions20 import find_regions
from dicomnode.segment.segmentation import REGIONS_OF_LOBE, Lobe, Region
from dicomnode.train.lobe_cases import LobeCase, load_lobe_case, lobe_case_names
from dicomnode.train.lobe_shapes import phantom_case

LUNA = (0, 4, 9, 13, 16, 22, 26)
"""Every kind of mask of the set: small and large lungs, a middle lobe of 5 %, fine and thick slices."""


def centres(regions: NDArray[np.uint8], spacing_mm: tuple[float, ...]) -> dict[Region, NDArray[np.float64]]:
    """Mean place of each region in mm: height, way to the back, way to the left."""
    found = {}
    for region in Region:
        if region is not Region.NONE:
            places = np.argwhere(regions == region)
            assert len(places), f"{region.name} is empty"
            found[region] = places.mean(axis=0) * spacing_mm
    return found


def assert_regions_are_where_anatomy_has_them(case: LobeCase) -> NDArray[np.float64]:
    """All that is asked of any pair of lungs; returns each region's share of both lungs."""
    regions = find_regions(case.lobes, case.spacing_mm)
    for lobe, names in REGIONS_OF_LOBE.items():
        inside = case.lobes == lobe
        assert np.isin(regions[inside], names).all(), f"{lobe.name} is not covered by its own regions"
    assert not regions[case.lobes == 0].any()
    at = centres(regions, case.spacing_mm)
    for side, lateral in (("RIGHT", -1.0), ("LEFT", 1.0)):

        def place(name: str, side: str = side) -> NDArray[np.float64]:
            return at[Region[f"{side}_{name}"]]

        assert place("APICAL")[0] > max(place("POSTERIOR")[0], place("ANTERIOR")[0])
        assert place("POSTERIOR")[1] > place("ANTERIOR")[1]
        assert place("SUPERIOR")[0] > max(place(f"{n}_BASAL")[0] for n in ("MEDIAL", "ANTERIOR", "LATERAL"))
        assert place("SUPERIOR")[0] > place("POSTERIOR_BASAL")[0]
        assert place("POSTERIOR_BASAL")[1] > place("ANTERIOR_BASAL")[1]
        assert lateral * (place("LATERAL_BASAL") - place("MEDIAL_BASAL"))[2] > 0
    assert (at[Region.RIGHT_MEDIAL] - at[Region.RIGHT_LATERAL])[2] > 0
    lingula, upper = at[Region.LEFT_SUPERIOR_LINGULAR], at[Region.LEFT_POSTERIOR]
    assert lingula[0] > at[Region.LEFT_INFERIOR_LINGULAR][0]
    assert lingula[0] < upper[0] and lingula[1] < upper[1]
    shares = np.bincount(regions.ravel(), minlength=21)[1:] / np.count_nonzero(regions)
    assert shares.min() > 0.004 and shares.max() < 0.16, shares.round(3)
    return shares


def test_the_phantom_s_regions_have_the_shares_of_the_rule() -> None:
    case = phantom_case(7)
    assert_regions_are_where_anatomy_has_them(case)
    regions = find_regions(case.lobes, case.spacing_mm)
    assert np.array_equal(regions, find_regions(case.lobes.copy(), case.spacing_mm))

    def share(region: Region, lobe: Lobe) -> float:
        return float(np.count_nonzero(regions == region) / np.count_nonzero(case.lobes == lobe))

    assert share(Region.RIGHT_APICAL, Lobe.RIGHT_UPPER) == pytest.approx(0.30, abs=0.02)
    assert share(Region.RIGHT_POSTERIOR, Lobe.RIGHT_UPPER) == pytest.approx(0.30, abs=0.03)
    assert share(Region.RIGHT_LATERAL, Lobe.RIGHT_MIDDLE) == pytest.approx(0.45, abs=0.03)
    assert share(Region.RIGHT_SUPERIOR, Lobe.RIGHT_LOWER) == pytest.approx(0.25, abs=0.02)
    assert share(Region.RIGHT_POSTERIOR_BASAL, Lobe.RIGHT_LOWER) == pytest.approx(0.75 * 0.35, abs=0.02)
    assert share(Region.LEFT_MEDIAL_BASAL, Lobe.LEFT_LOWER) == pytest.approx(0.75 * 0.12, abs=0.02)
    assert share(Region.LEFT_INFERIOR_LINGULAR, Lobe.LEFT_UPPER) == pytest.approx(0.175, abs=0.02)


@pytest.mark.parametrize("index", LUNA)
def test_real_lobes(data_dir: Path, index: int) -> None:
    folder = data_dir / "luna16_lobe_masks"
    name = lobe_case_names(folder)[index]
    case = load_lobe_case(folder, name)
    z, y, x = case.spacing_mm
    thinned = LobeCase(name, case.lobes[:, ::3, ::3], (z, 3 * y, 3 * x))
    assert_regions_are_where_anatomy_has_them(thinned)


def test_the_grid_does_not_matter() -> None:
    case = phantom_case(7)
    fine = find_regions(case.lobes, case.spacing_mm)[1::2, 1::2, 1::2]
    coarse = find_regions(case.lobes[1::2, 1::2, 1::2], (5.0, 5.0, 5.0))
    inside = fine > 0
    assert (fine == coarse)[inside].mean() > 0.93


def test_whatever_is_left_of_a_lobe_gets_regions_of_it() -> None:
    lobes = np.zeros((4, 6, 6), np.uint8)
    assert not find_regions(lobes, (5.0, 1.0, 1.0)).any()
    for lobe, names in REGIONS_OF_LOBE.items():
        one = lobes.copy()
        one[2, 3, 3] = lobe
        assert find_regions(one, (5.0, 1.0, 1.0))[2, 3, 3] in names
        slab = lobes.copy()
        slab[1] = lobe
        found = find_regions(slab, (5.0, 1.0, 1.0))
        assert np.isin(found[1], names).all() and not found[[0, 2, 3]].any()


def test_each_region_belongs_to_one_lobe() -> None:
    named = [region for names in REGIONS_OF_LOBE.values() for region in names]
    assert sorted(named) == [region for region in Region if region is not Region.NONE]
    for lobe, names in REGIONS_OF_LOBE.items():
        assert {name.name.split("_")[0] for name in names} == {lobe.name.split("_")[0]}

"""Laws that no measure may break, whatever the lesions, the grid and the way the slices are stored."""

from __future__ import annotations

from itertools import chain, combinations, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomnode.segment.anatomy import find_anatomy
from dicomnode.segment.segmentation import REGIONS_OF_LOBE, Label, Lobe, Side
from tests.measure.known_chest import LUNG_VOXELS, SHAPE, VOXEL_ML, Chest, healthy

SUMMED = (
    "volume_ml",
    "normal_lung_volume_ml",
    "ggo_volume_ml",
    "consolidation_volume_ml",
    "high_opacity_volume_ml",
    "lesion_volume_ml",
    "lesion_weight_g",
)
FEW = settings(deadline=None, max_examples=25)
Box = tuple[slice, ...]


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """A box anywhere in the chest, a voxel to half of it wide."""
    corner = [draw(st.integers(0, size - 2)) for size in SHAPE]
    return tuple(slice(c, c + draw(st.integers(1, size // 2))) for c, size in zip(corner, SHAPE, strict=True))


lesions = st.lists(
    st.tuples(boxes(), st.sampled_from([Label.GROUND_GLASS, Label.CONSOLIDATION]), st.integers(-900, 80)),
    max_size=6,
)


def ill(found: list[tuple[Box, Label, int]]) -> Chest:
    chest = healthy()
    for box, label, hu in found:
        chest = chest.with_lesion(box, label, hu)
    return chest


@FEW
@given(lesions)
def test_parts_sum_to_the_whole(found: list[tuple[Box, Label, int]]) -> None:
    chest = ill(found)
    record = chest.measured().to_json()
    whole = record | {"volume_ml": record["lung_volume_ml"]}
    for name in SUMMED:
        for parts in ("sides", "lobes"):
            assert sum(part[name] for part in record[parts].values()) == pytest.approx(whole[name]), name
    labels = ("normal_lung_volume_ml", "ggo_volume_ml", "consolidation_volume_ml")
    for region in (whole, *record["sides"].values(), *record["lobes"].values()):
        assert sum(region[name] for name in labels) == pytest.approx(region["volume_ml"])
        assert region["lesion_extent_percent"] <= 100
    for lobe, regions in REGIONS_OF_LOBE.items():
        for name in ("volume_ml", "lesion_volume_ml"):
            parts_ml = sum(record["regions"][region.name.lower()][name] for region in regions)
            assert parts_ml == pytest.approx(record["lobes"][lobe.name.lower()][name])
    assert record["ct_score"] == sum(lobe["ct_score"] for lobe in record["lobes"].values())
    assert record["ct_ss"] == sum(region["ct_ss"] for region in record["regions"].values())
    assert record["involved_lobes"] == sum(lobe["ct_score"] > 0 for lobe in record["lobes"].values())
    anatomy = find_anatomy(chest.segmentation(), chest.affine)
    sizes = np.bincount(anatomy.lesions.numbers, minlength=1)[1:]
    assert sizes.sum() * VOXEL_ML == pytest.approx(record["lesion_volume_ml"])
    assert list(sizes) == sorted(sizes, reverse=True) and len(sizes) == record["lesion_count"]


@FEW
@given(lesions, boxes())
def test_nothing_falls_when_a_lesion_grows(found: list[tuple[Box, Label, int]], box: Box) -> None:
    small = ill(found)
    grown = np.zeros(SHAPE, np.bool_)
    grown[box] = True
    grown &= small.labels == Label.NORMAL_LUNG
    labels = np.where(grown, np.uint8(Label.GROUND_GLASS), small.labels)
    before = small.measured().to_json()
    after = Chest(small.hu, labels, small.sides, small.lobes, small.affine).measured().to_json()
    for name in (
        *("ct_score", "ct_ss", "involved_lobes"),
        *("lesion_volume_ml", "lesion_extent_percent", "lesion_weight_g"),
    ):
        assert before[name] <= after[name] + 1e-9, name
    for part, old in chain(before["lobes"].items(), before["regions"].items()):
        new = (after["lobes"] | after["regions"])[part]
        for name in {"ct_score", "ct_ss"} & set(old):
            assert old[name] <= new[name], part
    for name, old in before["literature"].items():
        assert old["is_above"] <= after["literature"][name]["is_above"], name


ORDERS = [
    (axes, flips)
    for axes in permutations(range(3))
    for flips in chain.from_iterable(combinations(range(3), n) for n in range(4))
]


def in_patient() -> Chest:
    """A big lesion in the right lower lobe, a small one in the left upper lobe."""
    return healthy().with_lesion(np.s_[3:12, 14:26, 3:12]).with_lesion(np.s_[28:33, 5:9, 30:34], Label(3))


def assert_alike(one: Any, other: Any, where: str = "") -> None:
    """The same names, words and counts, and numbers that differ by no more than sums in another order."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            assert_alike(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_alike(a, b, f"{where}[{index}]")
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-6), where
    else:
        assert one == other, where


@pytest.mark.parametrize(("axes", "flips"), ORDERS)
def test_left_and_right_top_and_bottom_never_swap(axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
    straight = in_patient().measured().to_json()
    stored = in_patient().stored(axes, flips).measured().to_json()
    del straight["quality"], stored["quality"]
    assert_alike(straight, stored)
    assert [lesion["lobe"] for lesion in stored["lesions"]] == ["right_lower", "left_upper"]
    assert stored["regions"]["right_posterior_basal"]["ct_ss"] > 0
    assert stored["regions"]["left_posterior_basal"]["ct_ss"] == 0


def ellipsoids(spacing_mm: tuple[float, ...], offset: tuple[float, ...], axes_mm: tuple[float, ...]) -> Chest:
    """A right lung of half axes 75, 50 and 45 mm and a lesion in it, sampled at a grid's voxel centres."""
    lung_mm = (75.0, 50.0, 45.0)
    places = [
        (np.arange(-int(half / mm) - 3, int(half / mm) + 4) + start) * mm
        for half, mm, start in zip(lung_mm, spacing_mm, offset, strict=True)
    ]
    z, y, x = np.meshgrid(*places, indexing="ij", sparse=True)

    def inside(half: tuple[float, ...]) -> np.ndarray:
        found: np.ndarray = (z / half[0]) ** 2 + (y / half[1]) ** 2 + (x / half[2]) ** 2 <= 1
        return found

    lung, lesion = inside(lung_mm), inside(axes_mm)
    labels = np.where(lesion, 2, np.where(lung, 1, 0)).astype(np.uint8)
    sides = np.where(lung, np.uint8(Side.RIGHT), np.uint8(0))
    lobes = np.where(lung, np.uint8(Lobe.RIGHT_UPPER), np.uint8(0))
    hu = np.where(lesion, -500, np.where(lung, -850, 40)).astype(np.int16)
    return Chest(hu, labels, sides, lobes, np.diag([*spacing_mm[::-1], 1.0]))


def sampling_error_ml(half: tuple[float, ...], spacing_mm: tuple[float, ...]) -> float:
    """The stated error: a quarter of the surface (Thomsen's formula) times the voxel's longest edge."""
    a, b, c = (axis**1.6075 for axis in half)
    surface_mm2 = 4 * np.pi * ((a * b + a * c + b * c) / 3) ** (1 / 1.6075)
    return float(surface_mm2 * max(spacing_mm) / 4 / 1000)


@settings(deadline=None, max_examples=20)
@given(
    spacing_mm=st.tuples(*[st.floats(1.5, 6.0)] * 3),
    offset=st.tuples(*[st.floats(0, 1)] * 3),
    axes_mm=st.tuples(*[st.floats(9.0, 40.0)] * 3),
)
def test_another_grid_changes_a_volume_by_less_than_the_stated_error(
    spacing_mm: tuple[float, ...], offset: tuple[float, ...], axes_mm: tuple[float, ...]
) -> None:
    record = ellipsoids(spacing_mm, offset, axes_mm).measured().to_json()
    true_ml = 4 / 3 * np.pi * np.prod(axes_mm) / 1000
    assert abs(record["lesion_volume_ml"] - true_ml) < sampling_error_ml(axes_mm, spacing_mm)
    lung_ml = 4 / 3 * np.pi * 75 * 50 * 45 / 1000
    assert abs(record["lung_volume_ml"] - lung_ml) < sampling_error_ml((75, 50, 45), spacing_mm)
    assert record["lesion_weight_g"] == pytest.approx(0.5 * record["lesion_volume_ml"])
    assert record["lesion_count"] == 1


def test_the_chest_is_what_it_says() -> None:
    assert np.count_nonzero(healthy().sides == Side.RIGHT) == LUNG_VOXELS

"""The separate lesions of a known chest: counted, ordered, bounded, and where they lie."""

from __future__ import annotations

import numpy as np
import pytest

from dicomnode.measure.lesions import LISTED_LESIONS
from dicomnode.segment.segmentation import Label
from tests.measure.known_chest import VOXEL_ML, healthy


def test_each_lesion_has_its_place_size_and_attenuation() -> None:
    chest = healthy().with_lesion(np.s_[16:19, 10:16, 7:11]).with_lesion(np.s_[30:35, 5:12, 30:37], Label(3))
    larger, smaller = chest.measured().lesions.listed

    assert (larger.number, larger.side, larger.lobe) == (1, "left", "left_upper")
    assert larger.volume_ml == 5 * 7 * 7 * VOXEL_ML
    assert larger.mean_hu == 20
    np.testing.assert_allclose(larger.centroid_mm, (-100 + 33 * 5, -75 + 8 * 5, 1000 + 32 * 5))
    assert larger.pleura_distance_mm == 2.5, "it reaches the surface: half a voxel from its centre"
    assert (smaller.lobe, smaller.volume_ml) == ("right_middle", 3 * 6 * 4 * VOXEL_ML)
    assert smaller.pleura_distance_mm == 5 * 5 + 2.5, "the sixth voxel from the side"
    assert smaller.peripheral_percent == 0
    assert smaller.mean_hu == -500


def test_a_lesion_of_two_lobes_belongs_to_that_with_most_of_it() -> None:
    chest = healthy().with_lesion(np.s_[12:19, 10:16, 7:11])  # 2 slices in the lower, 5 in the middle lobe
    (lesion,) = chest.measured().lesions.listed
    assert lesion.lobe == "right_middle"
    (lesion,) = healthy(with_lobes=False).with_lesion(np.s_[12:19, 10:16, 7:11]).measured().lesions.listed
    assert (lesion.side, lesion.lobe) == ("right", None)


def test_all_are_counted_the_largest_listed_and_noise_is_neither_sizable_nor_listed() -> None:
    chest = healthy()
    for index in range(LISTED_LESIONS + 3):
        start = 3 + 2 * index
        chest = chest.with_lesion(np.s_[start : start + 1, 5 : 7 + index, 4:6])
    census = chest.measured().lesions
    assert census.count == census.sizable_count == LISTED_LESIONS + 3
    volumes = [lesion.volume_ml for lesion in census.listed]
    assert len(volumes) == LISTED_LESIONS and volumes == sorted(volumes, reverse=True)
    assert volumes[0] == 2 * (2 + LISTED_LESIONS + 2) * VOXEL_ML

    fine = healthy().with_lesion(np.s_[10, 10, 10])
    fine.affine[:3, :3] *= 0.5  # a voxel of 0.016 mL
    census = fine.measured().lesions
    assert (census.count, census.sizable_count, census.listed) == (1, 0, ())


def test_the_periphery_of_all_lesions_is_the_mean_of_each_by_volume() -> None:
    chest = healthy().with_lesion(np.s_[16:19, 3:16, 7:11]).with_lesion(np.s_[30:35, 5:12, 30:37])
    census = chest.measured().lesions
    parts = [(lesion.volume_ml, lesion.peripheral_percent) for lesion in census.listed]
    mean = sum(volume * share for volume, share in parts) / sum(volume for volume, _ in parts)
    assert census.peripheral_percent == pytest.approx(mean)
    assert healthy().measured().lesions.peripheral_percent is None
    whole = healthy().with_lesion(np.s_[:, :, :]).measured().lesions
    assert whole.peripheral_percent == pytest.approx(100 / 3, abs=1e-4)

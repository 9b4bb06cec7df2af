"""All measurements of a segmentation, under the contract's names, on a chest worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dicomnode.measure.measure import measure_segmentation
from dicomnode.measure.plausibility import lungs_are_implausible
from dicomnode.measure.quality import assess_quality
from dicomnode.segment.anatomy import find_anatomy
from dicomnode.segment.segmentation import Label, Segmentation, Side
from tests.measure.known_chest import (
    CONSOLIDATION_HU,
    GGO_HU,
    LOBE_VOXELS,
    LUNG_VOXELS,
    MODEL,
    NORMAL_HU,
    VOXEL_ML,
    healthy,
)

REGION = {
    "normal_lung_volume_ml",
    "ggo_volume_ml",
    "consolidation_volume_ml",
    "high_opacity_volume_ml",
    "lesion_volume_ml",
    "ggo_extent_percent",
    "consolidation_extent_percent",
    "high_opacity_extent_percent",
    "lesion_extent_percent",
    "lesion_weight_g",
    "lesion_mean_hu",
}
CONTRACT = REGION | {
    "lung_volume_ml",
    "lung_mean_hu",
    "hellinger_distance",
    "histogram_iou",
    "emphysema_percent",
    "low_attenuation_percent",
    "lung_p05_hu",
    "lung_p15_hu",
    "lung_p50_hu",
    "lung_p85_hu",
    "lung_p95_hu",
    "lung_sd_hu",
    "lung_skewness",
    "lung_kurtosis",
    "lesion_count",
    "sizable_lesion_count",
    "peripheral_percent",
    "lesions",
    "sides",
    "literature",
    "uncertainty",
    "quality",
}
OF_LOBES = {"ct_score", "involved_lobes", "ct_ss", "scores_uncertain", "lobes", "regions"}


def quality_of(thickness: float | None, spacing: float) -> tuple[str, ...]:
    return assess_quality(
        slice_thickness_mm=thickness, slice_spacing_mm=spacing, slices=10, kernel=None, contrast=None
    ).flags


def test_json_has_the_contract_names_and_no_scores_without_lobes() -> None:
    without, with_lobes = healthy(with_lobes=False).measured(), healthy().measured()
    assert set(without.to_json()) == CONTRACT
    assert set(with_lobes.to_json()) == CONTRACT | OF_LOBES
    assert set(with_lobes.to_json()["lobes"]["left_upper"]) == REGION | {"volume_ml", "mean_hu", "ct_score"}
    assert len(with_lobes.to_json()["regions"]) == 20
    json.dumps(with_lobes.to_json(), allow_nan=False)


def test_every_measure_of_a_known_chest() -> None:
    ggo, dense = 8 * 10 * 6, 4 * 5 * 3  # voxels
    chest = healthy().with_lesion(np.s_[4:12, 5:15, 2:8]).with_lesion(np.s_[25:29, 10:15, 25:28], Label(3))
    lesion, lungs = ggo + dense, 2 * LUNG_VOXELS
    measured = chest.measured().to_json()

    weight = (ggo * 0.5 + dense * 1.02) * VOXEL_ML
    of_lesion = (ggo * GGO_HU + dense * CONSOLIDATION_HU) / lesion
    of_lungs = ((lungs - lesion) * NORMAL_HU + lesion * of_lesion) / lungs
    expected = {
        "lung_volume_ml": lungs * VOXEL_ML,
        "normal_lung_volume_ml": (lungs - lesion) * VOXEL_ML,
        "ggo_volume_ml": ggo * VOXEL_ML,
        "consolidation_volume_ml": dense * VOXEL_ML,
        "high_opacity_volume_ml": dense * VOXEL_ML,
        "lesion_volume_ml": lesion * VOXEL_ML,
        "ggo_extent_percent": 100 * ggo / lungs,
        "high_opacity_extent_percent": 100 * dense / lungs,
        "lesion_extent_percent": 100 * lesion / lungs,
        "lesion_weight_g": weight,
        "lesion_mean_hu": of_lesion,
        "lung_mean_hu": of_lungs,
        "lung_p05_hu": NORMAL_HU,
        "lung_p95_hu": NORMAL_HU,
        "emphysema_percent": 0,
        "lesion_count": 2,
        "sizable_lesion_count": 2,
        "ct_score": 3,  # 11 % of the right lower lobe: 2; 1 % of the left upper: 1
        "involved_lobes": 2,
        "scores_uncertain": False,
    }
    for name, value in expected.items():
        assert measured[name] == pytest.approx(value), name
    assert measured["lobes"]["right_lower"]["lesion_extent_percent"] == pytest.approx(100 * ggo / 4320)
    assert measured["lobes"]["right_lower"]["lesion_mean_hu"] == GGO_HU
    assert measured["lobes"]["left_upper"]["lesion_weight_g"] == pytest.approx(dense * 1.02 * VOXEL_ML)
    for lobe, voxels in LOBE_VOXELS.items():
        assert measured["lobes"][lobe.name.lower()]["volume_ml"] == voxels * VOXEL_ML


def test_published_cut_offs_are_compared_and_only_those() -> None:
    small = healthy().with_lesion(np.s_[4:9, 5:10, 4:9])  # 125 voxels of GGO: 15.6 mL, 7.8 g, 0.48 %
    literature = small.measured().to_json()["literature"]
    assert {name: found["is_above"] for name, found in literature.items()} == {
        "lesion_extent_percent_above_0_5": False,
        "lesion_weight_g_above_10": False,
        "lesion_extent_percent_above_5": False,
        "lesion_weight_g_above_75": False,
        "ct_ss_above_19_5": False,
    }
    more = small.with_lesion(np.s_[20:26, 5:11, 4:9])
    above = {n for n, found in more.measured().to_json()["literature"].items() if found["is_above"]}
    assert above == {"lesion_extent_percent_above_0_5", "lesion_weight_g_above_10"}
    everything = healthy().with_lesion(np.s_[:, :, :])
    assert all(found["is_above"] for found in everything.measured().to_json()["literature"].values())
    assert "ct_ss_above_19_5" not in healthy(with_lobes=False).measured().to_json()["literature"]


@pytest.mark.parametrize("flag", ["lobes_uncertain", "lungs_uncertain", "lungs_disagree", "one_lung"])
def test_uncertain_lobes_make_the_scores_uncertain(flag: str) -> None:
    assert healthy().measured((flag,)).to_json()["scores_uncertain"] is True
    assert healthy().measured(("thick_slices",)).to_json()["scores_uncertain"] is False


def test_no_lung_is_never_measured() -> None:
    empty = np.zeros((3, 4, 4), np.uint8)
    quality = assess_quality(
        slice_thickness_mm=None, slice_spacing_mm=1.0, slices=3, kernel=None, contrast=None
    )
    segmentation = Segmentation(empty, empty, empty, MODEL)
    with pytest.raises(ValueError, match="no lung"):
        measure_segmentation(
            empty.astype(np.int16), segmentation, find_anatomy(segmentation, np.eye(4)), 0.25, quality
        )


def test_quality_flags_of_the_geometry() -> None:
    assert quality_of(1.0, 1.0) == ()
    assert quality_of(5.0, 5.0) == ("thick_slices",)
    assert quality_of(1.0, 10.0) == ("thick_slices", "sparse_coverage")
    assert quality_of(None, 2.5) == ()


def test_lungs_larger_than_any_and_of_no_lungs_shape_are_flagged() -> None:
    sides = np.zeros((40, 40, 40), np.uint8)
    sides[5:35, 10:30, 4:16], sides[5:35, 10:30, 24:36] = Side.RIGHT, Side.LEFT
    assert not lungs_are_implausible(sides, (8.0, 8.0, 8.0))
    assert not lungs_are_implausible(sides, (3.0, 8.0, 8.0)), "expiration"
    assert not lungs_are_implausible(np.where(sides == Side.LEFT, sides, 0), (8.0, 8.0, 8.0)), "one lung"
    assert lungs_are_implausible(sides, (10.0, 10.0, 10.0)), "14.4 L"
    assert lungs_are_implausible(sides, (1.6, 8.0, 8.0))
    assert lungs_are_implausible(sides, (24.0, 8.0, 8.0))

"""Scores from voxel counts: exact at the boundaries, none where a part is missing."""

from __future__ import annotations

import numpy as np
import pytest

from dicomnode.measure.scoring import score
from dicomnode.measure.severity import CT_SCORE_MAXIMUM, CT_SS_MAXIMUM, INVOLVEMENT_ML
from dicomnode.segment.segmentation import Label, Lobe, Region
from tests.measure.known_chest import LOBE_BOXES, healthy


def counts(parts: int, lesion: int, total: int = 1000) -> np.ndarray:
    """The same voxels in every lobe or region: ``lesion`` of ``total`` are lesion."""
    voxels = np.zeros((parts, len(Label)), np.int64)
    voxels[1:, Label.CONSOLIDATION] = lesion // 2
    voxels[1:, Label.GROUND_GLASS] = lesion - lesion // 2
    voxels[1:, Label.NORMAL_LUNG] = total - lesion
    return voxels


@pytest.mark.parametrize(
    ("per_mille", "of_lobe"),
    [(0, 0), (4, 0), (5, 1), (49, 1), (50, 2), (250, 2), (251, 3), (499, 3), (500, 4), (750, 4), (1000, 5)],
)
def test_lobes_at_each_boundary(per_mille: int, of_lobe: int) -> None:
    scores = score(counts(6, per_mille), counts(21, 0), 1.0, are_uncertain=False)
    assert set(scores.lobes.values()) == {of_lobe}
    assert scores.ct_score == 5 * of_lobe
    assert scores.involved_lobes == (5 if per_mille >= 5 else 0)


@pytest.mark.parametrize(("per_mille", "of_region"), [(0, 0), (4, 0), (5, 1), (499, 1), (500, 2), (1000, 2)])
def test_regions_at_each_boundary(per_mille: int, of_region: int) -> None:
    scores = score(counts(6, 0), counts(21, per_mille), 1.0, are_uncertain=False)
    assert {region.ct_ss for region in scores.regions.values()} == {of_region}
    assert scores.ct_ss == 20 * of_region


def test_shares_that_binary_fractions_miss_stay_on_their_side() -> None:
    for total in range(20, 2020, 20):
        exactly = counts(6, total // 20, total)
        assert score(exactly, counts(21, 0), 10.0, are_uncertain=False).ct_score == 10, total


def test_noise_involves_no_lobe() -> None:
    voxel_ml = INVOLVEMENT_ML / 10
    assert score(counts(6, 9, 10), counts(21, 9, 10), voxel_ml, are_uncertain=False).ct_score == 0
    seen = score(counts(6, 10, 10), counts(21, 10, 10), voxel_ml, are_uncertain=False)
    assert (seen.ct_score, seen.ct_ss, seen.involved_lobes) == (CT_SCORE_MAXIMUM, CT_SS_MAXIMUM, 5)


def test_a_missing_lobe_or_region_leaves_the_sum_out() -> None:
    lobes, regions = counts(6, 500), counts(21, 500)
    lobes[Lobe.RIGHT_MIDDLE] = 0
    regions[Region.LEFT_MEDIAL_BASAL] = 0
    scores = score(lobes, regions, 1.0, are_uncertain=True)
    assert (scores.ct_score, scores.involved_lobes, scores.ct_ss) == (None, None, None)
    assert set(scores.lobes.values()) == {4} and len(scores.lobes) == 4 and len(scores.regions) == 19
    assert scores.to_json() == {"scores_uncertain": True}


def test_whole_lobes_of_lesion_reach_the_top_and_one_lobe_gives_its_regions() -> None:
    assert healthy().measured().to_json()["ct_ss"] == 0
    everything = healthy().with_lesion(np.s_[:, :, :]).measured().to_json()
    assert (everything["ct_score"], everything["ct_ss"]) == (CT_SCORE_MAXIMUM, CT_SS_MAXIMUM)
    lower = healthy().with_lesion(LOBE_BOXES[Lobe.LEFT_LOWER]).measured().to_json()
    assert (lower["ct_score"], lower["ct_ss"], lower["involved_lobes"]) == (5, 10, 1)


def test_the_rules_name_every_boundary() -> None:
    rules = " ".join(score(counts(6, 0), counts(21, 0), 1.0, are_uncertain=False).rules)
    for words in (
        "below 5 %",
        "5 to 25 %",
        "above 25 to below 50 %",
        "50 to 75 %",
        "above 75 %",
        "1 mL or 0.5 %",
    ):
        assert words in rules

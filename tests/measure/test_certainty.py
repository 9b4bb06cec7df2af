"""Intervals and probabilities from a measured error."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dicomnode.measure.certainty import score_draws, share_bounds
from dicomnode.measure.pieces import Piece, find_pieces
from dicomnode.measure.severity import LOBE_BANDS, REGION_BANDS, lobe_score, region_score, score_many
from dicomnode.measure.uncertainty import NO_MEASURED_ERROR, Uncertainty
from dicomnode.segment.confidence import SURE, SUSPECTED, Confidence
from dicomnode.segment.segmentation import Label, Segmentation
from tests.measure.known_chest import MODEL, Chest, healthy, measure_chest
from tests.segment.test_confidence import ERROR, ERRORS

LESION = np.s_[4:12, 6:18, 4:12]  # 768 voxels, 96 mL, in the right lower lobe
THIN = replace(ERROR, thick_mm=(), thick_bias_percent=())
WITH_SLICES = replace(ERROR, ggo_errors=ERRORS, consolidation_errors=ERRORS)


def doubted(chest: Chest, suspected: object = LESION, sure: object = LESION, error=ERROR) -> Segmentation:  # type: ignore[no-untyped-def]
    """The chest's masks with a doubt map."""
    doubt = np.zeros(chest.labels.shape, np.uint8)
    doubt[suspected] = SUSPECTED  # type: ignore[index]
    doubt[sure] = SURE  # type: ignore[index]
    doubt *= chest.labels > 0
    return Segmentation(chest.labels, chest.sides, chest.lobes, MODEL, confidence=Confidence(error, doubt))


def certainty(segmentation: Segmentation, chest: Chest, flags: tuple[str, ...] = ()) -> Uncertainty:
    return measure_chest(chest, segmentation, flags).uncertainty


def test_without_a_measured_error_there_is_no_number_but_a_reason() -> None:
    record = healthy().with_lesion(LESION).measured().to_json()["uncertainty"]
    assert record == {"confidence_percent": None, "reason": NO_MEASURED_ERROR}


def test_the_interval_is_worked_out_by_hand() -> None:
    chest = healthy().with_lesion(LESION)
    suspected = np.s_[3:13, 5:19, 3:13]
    total = chest.measured().total
    found = certainty(doubted(chest, suspected, error=THIN), chest).intervals
    volume, lungs = 96.0, total.volume_ml
    low_ml, high_ml = 10 * 14 * 10 * 0.125, 96.0
    spread = math.sqrt(100 * low_ml / lungs) - math.sqrt(100 * high_ml / lungs)
    root = math.sqrt(100 * volume / lungs)
    low, high = max(root - 1.0 * spread, 0) ** 2, (root + 2.0 * spread) ** 2
    extent, ml = found["lesion_extent_percent"], found["lesion_volume_ml"]
    assert (extent.low, extent.high) == pytest.approx((low, high))
    assert (ml.low, ml.high) == pytest.approx((low * lungs / 100, high * lungs / 100))
    assert ml.low < volume < ml.high
    weight = found["lesion_weight_g"]
    assert weight.low < total.lesion_weight_g < weight.high
    assert "ggo_volume_ml" not in found, "no expert told them apart"


def test_a_hesitant_model_is_less_sure() -> None:
    chest = healthy().with_lesion(LESION)
    sure = certainty(doubted(chest), chest).intervals["lesion_volume_ml"]
    hesitant = certainty(doubted(chest, np.s_[2:20, 3:27, 2:15], np.s_[5:7, 8:10, 5:7]), chest)
    wide = hesitant.intervals["lesion_volume_ml"]
    assert wide.low < sure.low < 96 < sure.high < wide.high


def test_limits_grow_with_the_root_of_the_extent_as_in_medip() -> None:
    """Yoo et al. 2020: +-4.7 % at 10 %, +-10.4 % at 50 %."""
    reach = 4.7 / (2 * math.sqrt(10))
    for percent, limit in ((10.0, 4.7), (50.0, 10.4)):
        low, high = share_bounds(percent, reach, [-1.0, 1.0])
        assert (high - low) / 2 == pytest.approx(limit, rel=0.02)
    assert share_bounds(0.0, 0.1, [-1.0, 1.0]) == pytest.approx((0.0, 0.01))
    assert share_bounds(4.0, 1.0, [2.0, 3.0])[0] == 4.0, "what was found always lies between"


def test_thick_slices_widen_the_interval_by_what_they_were_measured_to_do() -> None:
    chest = healthy().with_lesion(LESION)  # its slices are 5 mm apart
    plain = certainty(doubted(chest, error=THIN), chest)
    thick = certainty(doubted(chest), chest)
    a, b = plain.intervals["lesion_volume_ml"], thick.intervals["lesion_volume_ml"]
    assert b.low < a.low < a.high < b.high
    worse = replace(ERROR, thick_bias_percent=(24.0, 24.0))
    wide = certainty(doubted(chest, error=worse), chest).intervals["lesion_volume_ml"]
    assert wide.high > 96 * 1.24


def test_ggo_and_consolidation_have_intervals_where_experts_told_them_apart() -> None:
    chest = healthy().with_lesion(LESION).with_lesion(np.s_[4:8, 6:10, 4:8], Label.CONSOLIDATION)
    found = certainty(doubted(chest, np.s_[3:13, 5:19, 3:13], error=WITH_SLICES), chest).intervals
    total = chest.measured().total
    assert found["ggo_volume_ml"].low < total.ggo_volume_ml < found["ggo_volume_ml"].high
    dense = found["consolidation_volume_ml"]
    assert dense.low < total.consolidation_volume_ml < dense.high
    assert found["consolidation_extent_percent"].high == pytest.approx(100 * dense.high / total.volume_ml)


def test_a_healthy_chest_without_doubt_is_surely_without_score() -> None:
    chest = healthy()
    found = certainty(doubted(chest, np.s_[:0], np.s_[:0]), chest)
    assert found.scores["ct_score"].probabilities[0] > 0.95
    assert found.scores["ct_ss"].probabilities[0] > 0.95
    assert found.intervals["lesion_extent_percent"].high < 0.5
    assert all(probability < 0.1 for probability in found.cut_offs.values())


def test_scores_get_a_distribution_that_holds_the_reported_one() -> None:
    chest = healthy().with_lesion(LESION)
    measured = measure_chest(chest, doubted(chest, np.s_[2:14, 3:22, 2:14]))
    assert measured.scores is not None
    for name, reported, maximum in (
        ("ct_score", measured.scores.ct_score, 25),
        ("ct_ss", measured.scores.ct_ss, 40),
    ):
        score = measured.uncertainty.scores[name]
        assert len(score.probabilities) == maximum + 1
        assert sum(score.probabilities) == pytest.approx(1)
        assert score.low <= score.reported == reported <= score.high
        assert 0 < score.probability < 1
        outside = sum(score.probabilities[: score.low]) + sum(score.probabilities[score.high + 1 :])
        assert outside <= 0.05 + 1e-9


def test_the_same_scan_gives_the_same_probabilities() -> None:
    chest = healthy().with_lesion(LESION)
    one, two = (certainty(doubted(chest), chest).to_json() for _ in range(2))
    assert one == two


def test_lobes_err_together() -> None:
    pieces = [Piece(800.0, 40.0, 80.0, 20.0)] * 5
    together = score_draws(replace(ERROR, lobe_sd=0.0), pieces, 0.0, LOBE_BANDS)
    assert set(together % 5) == {0}, "without errors of their own all five have one score"
    apart = score_draws(ERROR, pieces, 2.0, LOBE_BANDS)
    assert set(apart % 5) == {0, 1, 2, 3, 4}


def test_a_published_cut_off_has_a_probability() -> None:
    chest = healthy().with_lesion(LESION)
    above = certainty(doubted(chest), chest).cut_offs
    assert above["lesion_extent_percent_above_0_5"] > 0.99
    assert above["lesion_extent_percent_above_5"] < 0.2
    assert above["ct_ss_above_19_5"] == 0


def test_uncertain_numbers_carry_the_names_of_the_contract() -> None:
    chest = healthy().with_lesion(LESION)
    record = measure_chest(chest, doubted(chest, error=WITH_SLICES)).to_json()["uncertainty"]
    for name in ("lesion_volume_low_ml", "lesion_volume_high_ml", "lesion_extent_low_percent"):
        assert record[name] >= 0
    assert record["lesion_weight_low_g"] < record["lesion_weight_high_g"]
    assert {"ct_score_low", "ct_score_high", "ct_score_probability", "ct_ss_probabilities"} <= record.keys()
    assert record["confidence_percent"] == 95 and record["evidence"] == "31 cases"


def test_pieces_are_counted_with_their_doubt() -> None:
    labels = np.array([[[0, 1, 2, 3, 1, 4]]], np.uint8)
    lobes = np.array([[[0, 1, 1, 2, 2, 2]]], np.uint8)
    regions = np.array([[[0, 1, 1, 4, 4, 4]]], np.uint8)
    doubt = np.array([[[0, SUSPECTED, SURE, SURE, 0, 0]]], np.uint8)
    found = find_pieces(labels, lobes, regions, doubt, 0.5)
    assert found.lungs == Piece(2.5, 1.0, 1.5, 1.0)
    assert list(found.lobes) == [Piece(1.0, 0.5, 1.0, 0.5), Piece(1.5, 0.5, 0.5, 0.5)]
    assert list(found.regions) == list(found.lobes)


def test_many_scores_are_those_of_one_at_a_time() -> None:
    percent = np.array([0.0, 0.4, 0.5, 4.99, 5.0, 25.0, 25.01, 49.9, 50.0, 75.0, 75.1, 100.0])
    for ml in (0.5, 1.0, 50.0):
        volumes = np.full(percent.shape, ml)
        for bands, one in ((LOBE_BANDS, lobe_score), (REGION_BANDS, region_score)):
            assert score_many(bands, percent, volumes).tolist() == [one(float(p), ml) for p in percent]

"""The interval of a lesion volume."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dicomnode.segment.interval import (
    IntervalCalibration,
    calibrate_interval,
    spread,
    volume_at_ml,
    volume_interval_ml,
)


def test_a_hesitant_model_has_a_wider_interval_around_its_volume() -> None:
    calibration = IntervalCalibration(0.2, 0.8, 0.1, 0.3, 8)
    sure = volume_interval_ml(100.0, 105.0, 95.0, calibration)
    hesitant = volume_interval_ml(100.0, 160.0, 50.0, calibration)
    assert 0 < hesitant[0] < sure[0] < 100 < sure[1] < hesitant[1]


def test_nothing_found_and_nothing_suspected_is_next_to_nothing() -> None:
    low, high = volume_interval_ml(0.0, 0.0, 0.0, IntervalCalibration(0.2, 0.8, 0.1, 0.3, 8))
    assert low == 0
    assert high < 0.1


def test_it_covers_95_percent_of_patients_like_those_it_was_calibrated_on() -> None:
    rng = np.random.default_rng(1)

    def patient() -> tuple[float, float, float, float]:
        found, size = float(np.exp(rng.normal(4, 1))), float(rng.uniform(0.1, 0.8))
        at_low, at_high = found * math.exp(size / 2), found * math.exp(-size / 2)
        true = found * math.exp(spread(at_low, at_high) * rng.normal(0.2, 0.4))
        return true, found, at_low, at_high

    covered = []
    for _ in range(400):
        calibration = calibrate_interval([patient() for _ in range(8)], 0.2, 0.8)
        true, found, at_low, at_high = patient()
        low, high = volume_interval_ml(found, at_low, at_high, calibration)
        covered.append(low <= true <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def test_volume_counts_voxels_from_a_level_on() -> None:
    assert volume_at_ml(np.array([[0, 99, 100, 200]], np.uint8), 100, 0.5) == pytest.approx(1.0)


def test_a_calibration_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="low < high"):
        IntervalCalibration(0.8, 0.2, 0.0, 0.1, 8)
    with pytest.raises(ValueError, match="2 patients"):
        IntervalCalibration(0.2, 0.8, 0.0, 0.1, 1)

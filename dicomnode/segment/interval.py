"""How sure a lesion volume is: an interval from the model's own probabilities, calibrated on unseen patients.

Where a model hesitates, its volume depends on the threshold: ``spread`` is the natural logarithm of the
volume at a low threshold over that at a high one. On patients that a model had not seen, that of true over
found volume, divided by the spread, had a mean and a standard deviation; both are in the card. The interval
is the t distribution's prediction interval for one more such patient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

LEAST_SPREAD = 0.05
"""Below this no model is surer: mask edges alone are worth so much."""

LEAST_ML = 0.1
"""Added to volumes before their logarithm is taken, so that none is 0."""


@dataclass(frozen=True)
class IntervalCalibration:
    """Thresholds of the spread, and how far the truth lay off in spreads over ``patients`` unseen ones."""

    low_probability: float
    high_probability: float
    mean: float
    standard_deviation: float
    patients: int

    def __post_init__(self) -> None:
        if not 0 < self.low_probability < self.high_probability < 1:
            raise ValueError("the probabilities must satisfy 0 < low < high < 1")
        if self.patients < 2 or self.standard_deviation < 0:
            raise ValueError("a calibration needs 2 patients or more and a standard deviation of 0 or more")


def volume_interval_ml(
    volume_ml: float,
    at_low_ml: float,
    at_high_ml: float,
    calibration: IntervalCalibration,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Bounds in mL of the lesion volume.

    Parameters
    ----------
    volume_ml:
        Volume at the model's threshold.
    at_low_ml, at_high_ml:
        Volumes at the calibration's low and high probability.
    calibration:
        From the model's card.
    confidence:
        Part of the patients whose true volume lies within.

    Returns
    -------
    tuple
        Lower and upper bound; the found volume always lies between. Over the lung volume they bound the
        extent, if the lungs are right.
    """
    size = spread(at_low_ml, at_high_ml)
    quantile = float(student.ppf((1 + confidence) / 2, calibration.patients - 1))
    reach = quantile * calibration.standard_deviation * math.sqrt(1 + 1 / calibration.patients)
    low, high = (
        (volume_ml + LEAST_ML) * math.exp(size * (calibration.mean + sign * reach)) - LEAST_ML
        for sign in (-1, 1)
    )
    return max(0.0, min(low, volume_ml)), max(high, volume_ml)


def spread(at_low_ml: float, at_high_ml: float) -> float:
    """Logarithm of the volume at the low probability over that at the high one."""
    return max(math.log((at_low_ml + LEAST_ML) / (at_high_ml + LEAST_ML)), LEAST_SPREAD)


def calibrate_interval(
    volumes_ml: Sequence[tuple[float, float, float, float]], low_probability: float, high_probability: float
) -> IntervalCalibration:
    """Calibration from unseen patients: (true, found, at low, at high) volumes in mL of each."""
    off = [
        math.log((true + LEAST_ML) / (found + LEAST_ML)) / spread(at_low, at_high)
        for true, found, at_low, at_high in volumes_ml
    ]
    return IntervalCalibration(low_probability, high_probability, fmean(off), stdev(off), len(off))


def volume_at_ml(levels: NDArray[np.uint8], least: int, voxel_ml: float) -> float:
    """Volume in mL where stored probabilities (see ``Probabilities``) reach ``least``."""
    return float(np.count_nonzero(levels >= least)) * voxel_ml

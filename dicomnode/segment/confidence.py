"""What is known of a model's errors: measured on cases it never saw, and where it hesitates in this one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SURE, SUSPECTED = 2, 1
"""Values of the doubt map: lesion from the high, from the low probability on."""


@dataclass(frozen=True)
class ErrorModel:
    """``[error]`` of a model's card: how far the truth lay off on cases that the model never saw.

    All is told on the scale of MEDIP's Bland-Altman analysis (Yoo et al. 2020), the square root of a share in
    %, and in units of the case's own spread: root of the share found from the low probability on, less root
    of that from the high one, at least ``least_spread``. True root less found root, over the spread, had
    these means and standard deviations.

    Parameters
    ----------
    low_probability, high_probability, least_spread:
        What the spread is.
    patients, student_quantile:
        How many patients the figures come from, and the t distribution's quantile that makes 95 % of so many.
    lesion_mean, lesion_sd, weight_mean, weight_sd:
        Of the lesion's share of both lungs, and of its weight in g per 100 mL of lung.
    lobe_sd, region_sd:
        By how much pieces of the size of a lobe, a region of the CT-SS, differ from the patient's own error.
    slices, slice_quantile, ggo_mean, ggo_sd, consolidation_mean, consolidation_sd:
        The same of GGO and consolidation, which experts told apart on single slices only; 0 slices: nowhere.
    thick_mm, thick_bias_percent:
        Slice spacings from ``THICK_SLICE_MM`` on, and by how much lesions changed on them.
    held_out:
        The cases, for a reader.

    Raises
    ------
    ValueError
        If the figures can't be.
    """

    low_probability: float
    high_probability: float
    least_spread: float
    patients: int
    student_quantile: float
    lesion_mean: float
    lesion_sd: float
    weight_mean: float
    weight_sd: float
    lobe_sd: float
    region_sd: float
    held_out: str
    slices: int = 0
    slice_quantile: float = 0.0
    ggo_mean: float = 0.0
    ggo_sd: float = 0.0
    consolidation_mean: float = 0.0
    consolidation_sd: float = 0.0
    thick_mm: tuple[float, ...] = ()
    thick_bias_percent: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.low_probability < self.high_probability < 1:
            raise ValueError("the probabilities must satisfy 0 < low < high < 1")
        if self.patients < 3 or self.slices < 0:
            raise ValueError("an error is measured on 3 patients or more")
        deviations = (self.lesion_sd, self.weight_sd, self.lobe_sd, self.region_sd, self.ggo_sd)
        if min(*deviations, self.consolidation_sd) < 0 or self.least_spread <= 0:
            raise ValueError("standard deviations and the least spread must not be negative")
        if self.student_quantile < 1.96 or (self.slices and self.slice_quantile < 1.96):
            raise ValueError("the quantile of 95 % is 1.96 or more")
        if len(self.thick_mm) != len(self.thick_bias_percent) or list(self.thick_mm) != sorted(self.thick_mm):
            raise ValueError("thick_mm must rise and have as many values as thick_bias_percent")

    def spread(self, low_percent: float, high_percent: float) -> float:
        """Root of the share found from the low probability on less that from the high one."""
        return max(math.sqrt(low_percent) - math.sqrt(high_percent), self.least_spread)

    def thick_share(self, spacing_mm: float) -> float:
        """By what share lesions change on slices so far apart, as it was measured; 0 where it wasn't."""
        if not self.thick_mm:
            return 0.0
        return abs(float(np.interp(spacing_mm, self.thick_mm, self.thick_bias_percent))) / 100


@dataclass(frozen=True, eq=False)
class Confidence:
    """Errors of the model that made a segmentation, and its doubt there.

    Parameters
    ----------
    error:
        From the model's card.
    doubt:
        uint8 map on the volume's grid: :data:`SUSPECTED` or :data:`SURE` in the lungs, 0 elsewhere.
    """

    error: ErrorModel
    doubt: NDArray[np.uint8]


def doubt_in_place(levels: NDArray[np.uint8], labels: NDArray[np.uint8], low: int, high: int) -> None:
    """Turn stored probabilities (slices, rows, columns) into the doubt map of the lungs, without a copy."""
    for index, lung in enumerate(labels):
        plane = levels[index]
        levels[index] = ((plane >= low).view(np.uint8) + (plane >= high)) * (lung > 0)

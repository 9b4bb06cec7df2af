"""What is known of a model's errors: measured on cases it never saw, and where it hesitates in this one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_CASES = 20
"""Fewer errors bound less than 90 % of further cases."""

SURE, SUSPECTED = 2, 1
"""Values of the doubt map: lesion from the high, from the low probability on."""


@dataclass(frozen=True)
class ErrorModel:
    """``[error]`` of a model's card: how far the truth lay off on cases that the model never saw.

    All is told on the scale of MEDIP's Bland-Altman analysis (Yoo et al. 2020), the square root of a share in
    %, and in units of the case's own spread: root of the share found from the low probability on, less root
    of that from the high one. An error is true less found root, over the spread.

    Parameters
    ----------
    low_probability, high_probability:
        What the spread is.
    least_spread, least_piece_spread:
        Its least value for the lungs, and for a lobe or region.
    lesion_errors, weight_errors:
        Of each case, rising: of the lesion's share of both lungs, and of its weight in g per 100 mL of lung.
    lobe_sd, region_sd:
        By how much the errors of pieces of the size of a lobe, a region of the CT-SS, differ from their
        patient's.
    held_out:
        The cases, for a reader.
    ggo_errors, consolidation_errors:
        Of the cases on which experts told GGO and consolidation apart.
    thick_mm, thick_bias_percent:
        Spacings of thick slices, and by how much lesions changed on them.

    Raises
    ------
    ValueError
        If the figures can't be.
    """

    low_probability: float
    high_probability: float
    least_spread: float
    least_piece_spread: float
    lesion_errors: tuple[float, ...]
    weight_errors: tuple[float, ...]
    lobe_sd: float
    region_sd: float
    held_out: str
    ggo_errors: tuple[float, ...] = ()
    consolidation_errors: tuple[float, ...] = ()
    thick_mm: tuple[float, ...] = ()
    thick_bias_percent: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.low_probability < self.high_probability < 1:
            raise ValueError("the probabilities must satisfy 0 < low < high < 1")
        if min(self.least_spread, self.least_piece_spread) <= 0 or min(self.lobe_sd, self.region_sd) < 0:
            raise ValueError("least spreads must be positive, standard deviations not negative")
        for errors in (self.lesion_errors, self.weight_errors, self.ggo_errors, self.consolidation_errors):
            if list(errors) != sorted(errors) or 0 < len(errors) < LEAST_CASES:
                raise ValueError(f"errors must rise and come from {LEAST_CASES} cases or more")
        if not self.lesion_errors or len(self.lesion_errors) != len(self.weight_errors):
            raise ValueError("every case needs an error of the lesion and one of its weight")
        if len(self.thick_mm) != len(self.thick_bias_percent) or list(self.thick_mm) != sorted(self.thick_mm):
            raise ValueError("thick_mm must rise and have as many values as thick_bias_percent")

    def spread(self, low_percent: float, high_percent: float, *, is_piece: bool = False) -> float:
        """Root of the share found from the low probability on less that from the high one."""
        least = self.least_piece_spread if is_piece else self.least_spread
        return max(math.sqrt(low_percent) - math.sqrt(high_percent), least)

    def thick_share(self, spacing_mm: float) -> float:
        """By what share lesions change on slices so far apart, as it was measured; 0 where it wasn't."""
        if not self.thick_mm:
            return 0.0
        return abs(float(np.interp(spacing_mm, self.thick_mm, self.thick_bias_percent))) / 100


def error_bounds(errors: Sequence[float]) -> tuple[float, float]:
    """Bounds that hold the error of one more such case with a probability of 95 %, or as near as cases go.

    Whatever the distribution, the error of a further case falls with the same probability between any two
    neighbours of n rising errors, below or above them all (conformal prediction); up to 79 errors the bounds
    are the least and the largest, which hold (n - 1) / (n + 1) of the cases. 0 always lies between.
    """
    count = len(errors)
    low = max(math.floor((count + 1) * 0.025), 1)
    return min(errors[low - 1], 0.0), max(errors[count - low], 0.0)


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

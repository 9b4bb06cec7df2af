"""From a model's measured error and its doubt to intervals and probabilities.

True and found share of the lungs are compared by their square roots, in units of the case's own spread (see
:class:`~dicomnode.segment.confidence.ErrorModel`). One patient's errors are alike everywhere: a draw of the
error has one part that all lobes and regions share and one of each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicomnode.measure.measurements import RegionMeasurements
from dicomnode.measure.pieces import Piece, Pieces
from dicomnode.measure.scores import Comparison, Scores
from dicomnode.measure.severity import (
    CT_SCORE_MAXIMUM,
    CT_SS_MAXIMUM,
    INVOLVEMENT_PERCENT,
    LOBE_BANDS,
    REGION_BANDS,
    Band,
    score_many,
)
from dicomnode.measure.uncertainty import Interval, ScoreCertainty, Uncertainty
from dicomnode.segment.confidence import ErrorModel, error_bounds

DRAWS = 4000
SEED = 20200323
"""The same scan gives the same probabilities."""

NORMAL_QUANTILE = 1.96

Floats = NDArray[np.float64]


def assess_certainty(
    error: ErrorModel,
    pieces: Pieces,
    total: RegionMeasurements,
    scores: Scores | None,
    literature: Sequence[Comparison],
    thick_slice_mm: float | None = None,
) -> Uncertainty:
    """Intervals of volume, extent and weight, and probabilities of the scores and published cut-offs.

    Parameters
    ----------
    error:
        From the model's card.
    pieces:
        Lungs, lobes and regions with what the model found in them.
    total, scores, literature:
        What is reported.
    thick_slice_mm:
        Spacing of slices that are flagged as thick: intervals widen by what was measured on such.
    """
    share = error.thick_share(thick_slice_mm) if thick_slice_mm is not None else 0.0
    certain: dict[str, ScoreCertainty] = {}
    draws = _draw_values(error, pieces.lungs, total, share)
    if scores is not None and scores.ct_score is not None:
        points = score_draws(error, pieces.lobes, error.lobe_sd, LOBE_BANDS, share)
        certain["ct_score"] = score_certainty(points, scores.ct_score, CT_SCORE_MAXIMUM)
    if scores is not None and scores.ct_ss is not None:
        points = score_draws(error, pieces.regions, error.region_sd, REGION_BANDS, share)
        certain["ct_ss"] = score_certainty(points, scores.ct_ss, CT_SS_MAXIMUM)
        draws["ct_ss"] = points.astype(np.float64)
    above = {
        found.cut_off.name: float(np.mean(draws[found.cut_off.measure] > found.cut_off.value))
        for found in literature
        if found.cut_off.measure in draws
    }
    return Uncertainty(_intervals(error, pieces.lungs, total, share), certain, above, error.held_out)


def share_bounds(
    found_percent: float, spread: float, errors: Sequence[float], thick_share: float = 0.0
) -> tuple[float, float]:
    """95 % bounds of a share in % of which ``found_percent`` was found.

    Parameters
    ----------
    spread:
        Of the case, see :class:`ErrorModel`.
    errors:
        Of held-out cases, in spreads.
    thick_share:
        By what share lesions change on slices as thick as these.
    """
    root = math.sqrt(found_percent)
    low, high = (spread * bound for bound in error_bounds(errors))
    thick = NORMAL_QUANTILE * root * (math.sqrt(1 + thick_share) - 1)
    return max(root - math.hypot(low, thick), 0.0) ** 2, (root + math.hypot(high, thick)) ** 2


def score_draws(
    error: ErrorModel,
    parts: Sequence[Piece],
    own_sd: float,
    bands: Sequence[Band],
    thick_share: float = 0.0,
) -> NDArray[np.int64]:
    """Sums of scores of the true shares that there may be.

    Parameters
    ----------
    parts:
        Lobes or regions.
    own_sd:
        By how much their errors differ from the patient's.
    bands:
        Their scores.
    thick_share:
        As in :func:`share_bounds`.
    """
    random = np.random.default_rng(SEED)
    shared = _draw_errors(error.lesion_errors, random)[:, None]
    own = random.normal(0, own_sd, (DRAWS, len(parts)))
    thick = random.standard_normal((DRAWS, 1)) * (math.sqrt(1 + thick_share) - 1)
    roots = np.array([part.root() for part in parts])
    spreads = np.array([part.spread(error, is_piece=True) for part in parts])
    volumes = np.array([part.volume_ml for part in parts])
    drawn = np.maximum(roots * (1 + thick) + spreads * (shared + own), 0) ** 2
    percent = np.minimum(drawn, 100.0)
    total: NDArray[np.int64] = score_many(bands, percent, percent * volumes / 100).sum(axis=1)
    return total


def score_certainty(points: NDArray[np.int64], reported: int, maximum: int) -> ScoreCertainty:
    """Shares of the draws; the reported score lies within the bounds."""
    probabilities = np.bincount(points, minlength=maximum + 1) / len(points)
    low, high = (int(value) for value in np.quantile(points, (0.025, 0.975), method="inverted_cdf"))
    return ScoreCertainty(
        reported, min(low, reported), max(high, reported), tuple(float(share) for share in probabilities)
    )


def _intervals(
    error: ErrorModel, lungs: Piece, total: RegionMeasurements, thick_share: float
) -> dict[str, Interval]:
    """The bounds of each measure; a part of the lesion ends where the lesion does, that at 100 %."""
    spread, lung_ml = lungs.spread(error), total.volume_ml
    found: dict[str, Interval] = {}
    most = 100.0
    for kind, percent, errors in (
        ("lesion", total.lesion_extent_percent, error.lesion_errors),
        ("ggo", total.ggo_extent_percent, error.ggo_errors),
        ("consolidation", total.consolidation_extent_percent, error.consolidation_errors),
    ):
        if errors:
            low, high = share_bounds(percent, spread, errors, thick_share)
            low, high = _unless_noise(low), min(high, most)
            most = high if kind == "lesion" else most
            found[f"{kind}_volume_ml"] = Interval(low * lung_ml / 100, high * lung_ml / 100)
            found[f"{kind}_extent_percent"] = Interval(low, high)
    per_100_ml = 100 * total.lesion_weight_g / lung_ml
    low, high = share_bounds(per_100_ml, spread, error.weight_errors, thick_share)
    low = low if found["lesion_volume_ml"].low > 0 else 0.0
    found["lesion_weight_g"] = Interval(low * lung_ml / 100, high * lung_ml / 100)
    return found


def _unless_noise(low_percent: float) -> float:
    """A lower bound of the lungs' share; 0 where it lies within what is marked in lungs without disease."""
    return low_percent if low_percent >= INVOLVEMENT_PERCENT else 0.0


def _draw_values(
    error: ErrorModel, lungs: Piece, total: RegionMeasurements, thick_share: float
) -> dict[str, Floats]:
    """True extents and weights that there may be, for the published cut-offs."""
    spread, random = lungs.spread(error), np.random.default_rng(SEED)
    thick = random.standard_normal(DRAWS) * (math.sqrt(1 + thick_share) - 1)

    def of(found: float, errors: Sequence[float]) -> Floats:
        root = math.sqrt(found) * (1 + thick) + spread * _draw_errors(errors, random)
        drawn: Floats = np.maximum(root, 0) ** 2
        return drawn

    per_100_ml = of(100 * total.lesion_weight_g / total.volume_ml, error.weight_errors)
    return {
        "lesion_extent_percent": np.minimum(of(total.lesion_extent_percent, error.lesion_errors), 100.0),
        "lesion_weight_g": per_100_ml * total.volume_ml / 100,
    }


def _draw_errors(errors: Sequence[float], random: np.random.Generator) -> Floats:
    """Errors of further cases: with the same probability between any two neighbours, or beyond the ends.

    Beyond an end they reach as far as its last gap.
    """
    ends = (2 * errors[0] - errors[1], *errors, 2 * errors[-1] - errors[-2])
    return np.interp(random.random(DRAWS) * (len(ends) - 1), np.arange(len(ends)), ends)

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
    CT_SS_REGIONS,
    LOBE_BANDS,
    REGION_BANDS,
    Band,
    score_many,
)
from dicomnode.measure.uncertainty import Interval, ScoreCertainty, Uncertainty
from dicomnode.segment.confidence import ErrorModel

DRAWS = 4000
SEED = 20200323
"""The same scan gives the same probabilities."""

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
    intervals = _intervals(error, pieces.lungs, total, share)
    random = np.random.default_rng(SEED)
    shared = random.standard_t(error.patients - 1, DRAWS)
    certain: dict[str, ScoreCertainty] = {}
    ss_draws: NDArray[np.int64] | None = None
    if scores is not None and scores.ct_score is not None:
        drawn = _draw(error, pieces.lobes, error.lobe_sd, shared, share, random)
        points = _points(LOBE_BANDS, drawn, pieces.lobes)
        certain["ct_score"] = _certainty(points, scores.ct_score, CT_SCORE_MAXIMUM)
    if scores is not None and scores.ct_ss is not None and len(pieces.regions) == CT_SS_REGIONS:
        drawn = _draw(error, pieces.regions, error.region_sd, shared, share, random)
        ss_draws = _points(REGION_BANDS, drawn, pieces.regions)
        certain["ct_ss"] = _certainty(ss_draws, scores.ct_ss, CT_SS_MAXIMUM)
    values = _values(error, pieces.lungs, total, shared, share) | (
        {} if ss_draws is None else {"ct_ss": ss_draws}
    )
    above = {
        found.cut_off.name: float(np.mean(values[found.cut_off.measure] > found.cut_off.value))
        for found in literature
        if found.cut_off.measure in values
    }
    return Uncertainty(intervals, certain, above, error.held_out)


def score_draws(
    error: ErrorModel, parts: Sequence[Piece], own_sd: float, bands: Sequence[Band]
) -> NDArray[np.int64]:
    """Draws of the sum of scores over parts whose own error has the standard deviation ``own_sd``."""
    random = np.random.default_rng(SEED)
    shared = random.standard_t(error.patients - 1, DRAWS)
    return _points(bands, _draw(error, parts, own_sd, shared, 0.0, random), parts)


def root_interval(found_percent: float, centre: float, reach: float) -> tuple[float, float]:
    """Bounds of a share in % whose root lies ``centre`` beside the found one, give or take ``reach``.

    The found share always lies between.
    """
    root = math.sqrt(found_percent)
    low, high = max(0.0, root + centre - reach), max(0.0, root + centre + reach)
    return min(low**2, found_percent), max(high**2, found_percent)


def _intervals(
    error: ErrorModel, lungs: Piece, total: RegionMeasurements, share: float
) -> dict[str, Interval]:
    """The bounds of each measure; 100 % of the lungs bounds shares and volumes."""
    spread, lung_ml = lungs.spread(error), total.volume_ml

    def of(found: float, mean: float, sd: float, quantile: float, cases: int) -> tuple[float, float]:
        by_model = spread * sd * math.sqrt(1 + 1 / cases)
        reach = quantile * math.hypot(by_model, _thick_reach(math.sqrt(found), share))
        return root_interval(found, spread * mean, reach)

    patients = (error.student_quantile, error.patients)
    low, high = of(total.lesion_extent_percent, error.lesion_mean, error.lesion_sd, *patients)
    high = min(high, 100.0)
    found = {
        "lesion_volume_ml": Interval(low * lung_ml / 100, high * lung_ml / 100),
        "lesion_extent_percent": Interval(low, high),
    }
    per_100_ml = 100 * total.lesion_weight_g / lung_ml
    low, high = of(per_100_ml, error.weight_mean, error.weight_sd, *patients)
    found["lesion_weight_g"] = Interval(low * lung_ml / 100, high * lung_ml / 100)
    if error.slices:
        for kind, extent, mean, sd in (
            ("ggo", total.ggo_extent_percent, error.ggo_mean, error.ggo_sd),
            (
                "consolidation",
                total.consolidation_extent_percent,
                error.consolidation_mean,
                error.consolidation_sd,
            ),
        ):
            low, high = of(extent, mean, sd, error.slice_quantile, error.slices)
            high = min(high, 100.0)
            found[f"{kind}_volume_ml"] = Interval(low * lung_ml / 100, high * lung_ml / 100)
            found[f"{kind}_extent_percent"] = Interval(low, high)
    return found


def _thick_reach(root: float | Floats, share: float) -> float:
    """Standard deviation of the root that thick slices add: what they changed where it was measured."""
    return float(root) * (math.sqrt(1 + share) - 1)


def _draw(
    error: ErrorModel,
    parts: Sequence[Piece],
    own_sd: float,
    shared: Floats,
    share: float,
    random: np.random.Generator,
) -> Floats:
    """True shares in % that there may be, shape (draws, parts)."""
    roots = np.array([part.root() for part in parts])
    spreads = np.array([part.spread(error) for part in parts])
    thick = roots * (math.sqrt(1 + share) - 1)
    of_all = _of_all(error, error.lesion_sd, shared)[:, None]
    own = random.normal(0, own_sd, (len(shared), len(parts)))
    on_thick = random.standard_normal((len(shared), 1))
    drawn = roots + spreads * (error.lesion_mean + of_all + own) + thick * on_thick
    return np.minimum(np.maximum(drawn, 0) ** 2, 100.0)


def _of_all(error: ErrorModel, sd: float, shared: Floats) -> Floats:
    return sd * math.sqrt(1 + 1 / error.patients) * shared


def _values(
    error: ErrorModel, lungs: Piece, total: RegionMeasurements, shared: Floats, share: float
) -> dict[str, Floats | NDArray[np.int64]]:
    """Draws of what published cut-offs are about."""
    spread = lungs.spread(error)
    thick = np.random.default_rng(SEED + 1).standard_normal(len(shared)) * (math.sqrt(1 + share) - 1)

    def of(found: float, mean: float, sd: float) -> Floats:
        root = math.sqrt(found)
        return np.maximum(root + spread * (mean + _of_all(error, sd, shared)) + root * thick, 0) ** 2

    per_100_ml = 100 * total.lesion_weight_g / total.volume_ml
    weight = of(per_100_ml, error.weight_mean, error.weight_sd) * total.volume_ml / 100
    extent = of(total.lesion_extent_percent, error.lesion_mean, error.lesion_sd)
    return {"lesion_extent_percent": np.minimum(extent, 100.0), "lesion_weight_g": weight}


def _points(bands: Sequence[Band], percent: Floats, parts: Sequence[Piece]) -> NDArray[np.int64]:
    """The sum of scores of each draw."""
    volumes = np.array([part.volume_ml for part in parts])
    total: NDArray[np.int64] = score_many(bands, percent, percent * volumes / 100).sum(axis=1)
    return total


def _certainty(points: NDArray[np.int64], reported: int, maximum: int) -> ScoreCertainty:
    """Shares of the draws; the reported score lies within the bounds."""
    probabilities = np.bincount(points, minlength=maximum + 1) / len(points)
    low, high = (int(value) for value in np.quantile(points, (0.025, 0.975), method="inverted_cdf"))
    return ScoreCertainty(
        reported, min(low, reported), max(high, reported), tuple(float(share) for share in probabilities)
    )

"""From held-out cases to the ``[error]`` of a model's card, and how many truths its intervals cover."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from dicomnode.measure.certainty import root_interval, score_draws
from dicomnode.measure.pieces import Piece
from dicomnode.measure.severity import LOBE_BANDS, REGION_BANDS, Band, score_many
from dicomnode.segment.confidence import ErrorModel
from dicomnode.train.cases import DataError
from dicomnode.train.held_out import LOBE, PATIENT, REGION, SLICE, WHOLE, Part

LOW, HIGH = 0.2, 0.8
LEAST_SPREAD = 0.3
"""Of the root of a share in %: 0.09 % of the lungs. Mask edges alone are worth so much."""

LUNGS_ML = 4500.0
"""Of a patient here: the sets give no spacing, and what counts as involved is told in mL."""

THICK_MM, THICK_BIAS_PERCENT = (5.2, 10.0), (5.3, 24.1)
"""A patient's lesions on thicker slices, by ``python -m benchmarks.robustness``."""

Pair = Callable[[Part], tuple[float, float]]
"""True and found root of a share in %, of a part."""

Figures = Callable[[ErrorModel], tuple[float, float, float, int]]
"""Mean, standard deviation, quantile and number of cases of a measure's error."""


def fit_error(parts: Sequence[Part]) -> ErrorModel:
    """The error of the model that found ``parts`` in cases it never saw.

    Raises
    ------
    DataError
        If there are fewer than three patients.
    """
    patients = [part for part in parts if part.kind == PATIENT and part.size == WHOLE]
    slices = [part for part in parts if part.kind == SLICE and part.true_ggo_ml is not None]
    if len(patients) < 3:
        raise DataError(f"the error is measured on 3 patients or more, the table holds {len(patients)}")
    lesion, weight = _off(patients, lesion_roots), _off(patients, weight_roots)
    error = ErrorModel(
        low_probability=LOW,
        high_probability=HIGH,
        least_spread=LEAST_SPREAD,
        patients=len(patients),
        student_quantile=_quantile(len(patients)),
        lesion_mean=fmean(lesion),
        lesion_sd=stdev(lesion),
        weight_mean=fmean(weight),
        weight_sd=stdev(weight),
        lobe_sd=_within(parts, LOBE),
        region_sd=_within(parts, REGION),
        thick_mm=THICK_MM,
        thick_bias_percent=THICK_BIAS_PERCENT,
        held_out=f"{len(patients)} patients that the model in question never saw",
    )
    if len(slices) < 3:
        return error
    ggo, dense = _off(slices, ggo_roots), _off(slices, consolidation_roots)
    return replace(
        error,
        slices=len(slices),
        slice_quantile=_quantile(len(slices)),
        ggo_mean=fmean(ggo),
        ggo_sd=stdev(ggo),
        consolidation_mean=fmean(dense),
        consolidation_sd=stdev(dense),
        held_out=f"{error.held_out}; GGO and consolidation: {len(slices)} single slices",
    )


def lesion_roots(part: Part) -> tuple[float, float]:
    """Of the lesion."""
    return _root(part, part.true_ml), _root(part, part.found_ml)


def weight_roots(part: Part) -> tuple[float, float]:
    """Of the lesion's weight, in g per 100 mL."""
    return _root(part, part.true_g), _root(part, part.found_g)


def ggo_roots(part: Part) -> tuple[float, float]:
    """Of GGO."""
    return _root(part, part.true_ggo_ml or 0.0), _root(part, part.found_ggo_ml or 0.0)


def consolidation_roots(part: Part) -> tuple[float, float]:
    """Of consolidation."""
    return _root(part, part.true_consolidation_ml or 0.0), _root(part, part.found_consolidation_ml or 0.0)


MEASURES: dict[str, tuple[Pair, Figures]] = {
    "lesion": (lesion_roots, lambda e: (e.lesion_mean, e.lesion_sd, e.student_quantile, e.patients)),
    "lesion weight": (weight_roots, lambda e: (e.weight_mean, e.weight_sd, e.student_quantile, e.patients)),
    "GGO": (ggo_roots, lambda e: (e.ggo_mean, e.ggo_sd, e.slice_quantile, e.slices)),
    "consolidation": (
        consolidation_roots,
        lambda e: (e.consolidation_mean, e.consolidation_sd, e.slice_quantile, e.slices),
    ),
}


def card_section(error: ErrorModel) -> str:
    """``[error]`` as TOML."""
    lines = ["[error]"]
    for field in fields(error):
        value = getattr(error, field.name)
        if isinstance(value, tuple):
            text = f"[{', '.join(f'{entry:g}' for entry in value)}]"
        else:
            text = f'"{value}"' if isinstance(value, str) else f"{value:.4g}"
        lines.append(f"{field.name} = {text}")
    return "\n".join(lines)


def coverage(parts: Sequence[Part]) -> Iterator[str]:
    """How many truths lie within their intervals, a line a measure; no case judges itself."""
    patients = [part for part in parts if part.kind == PATIENT and part.size == WHOLE]
    slices = [part for part in parts if part.kind == SLICE]
    told = [part for part in slices if part.true_ggo_ml is not None]
    for name, kind, chosen in (
        ("lesion", "patients", patients),
        ("lesion weight", "patients", patients),
        ("lesion", "slices, by the patients' error", slices),
        ("lesion weight", "slices, by the patients' error", slices),
        ("GGO", "slices", told),
        ("consolidation", "slices", told),
    ):
        covered = [_covers(part, parts, *MEASURES[name]) for part in chosen]
        if covered:
            yield f"{name}: {sum(covered)} of {len(covered)} {kind} ({100 * fmean(covered):.0f} %)"
    for size, bands in ((LOBE, LOBE_BANDS), (REGION, REGION_BANDS)):
        found = [_score(patient, parts, size, bands) for patient in patients]
        count = len([part for part in parts if part.case == patients[0].case and part.size == size])
        inside = sum(low <= true <= high for true, low, high, _, _ in found)
        right = sum(true == reported for true, _, _, reported, _ in found)
        claimed = fmean(probability for *_, probability in found)
        yield (
            f"score over {count} pieces of the size of a {size}: {inside} of {len(found)} patients within; "
            f"reported score true in {right}, claimed {claimed * len(found):.1f}"
        )


def _covers(part: Part, parts: Sequence[Part], roots: Pair, figures: Figures) -> bool:
    """Whether the part's truth lies in the interval of an error that is fitted without its case."""
    others = [other for other in parts if other.case != part.case]
    error = fit_error(others)
    mean, sd, quantile, cases = figures(error)
    true, found = roots(part)
    spread = _spread(part)
    low, high = root_interval(found**2, spread * mean, spread * quantile * sd * math.sqrt(1 + 1 / cases))
    return low <= true**2 <= high


def _score(
    patient: Part, parts: Sequence[Part], size: str, bands: Sequence[Band]
) -> tuple[int, int, int, int, float]:
    """True score of a patient's pieces, its bounds, the reported score and its probability."""
    error = fit_error([part for part in parts if part.case != patient.case])
    own = [part for part in parts if part.case == patient.case and part.size == size]
    scale = LUNGS_ML / patient.lung_ml
    pieces = [_piece(part, scale) for part in own]
    volumes = np.array([piece.volume_ml for piece in pieces])

    def total(percent: NDArray[np.float64]) -> int:
        return int(score_many(bands, percent, percent * volumes / 100).sum())

    true = total(np.array([100 * part.true_ml / max(part.lung_ml, 1e-9) for part in own]))
    reported = total(np.array([piece.percent(piece.lesion_ml) for piece in pieces]))
    own_sd = error.lobe_sd if size == LOBE else error.region_sd
    draws = score_draws(error, pieces, own_sd, bands)
    low, high = (int(value) for value in np.quantile(draws, (0.025, 0.975), method="inverted_cdf"))
    return true, min(low, reported), max(high, reported), reported, float(np.mean(draws == reported))


def _piece(part: Part, scale: float) -> Piece:
    return Piece(*(scale * ml for ml in (part.lung_ml, part.found_ml, part.low_ml, part.high_ml)))


def _off(parts: Sequence[Part], roots: Pair) -> list[float]:
    """True less found root, in spreads, of each part."""
    return [(roots(part)[0] - roots(part)[1]) / _spread(part) for part in parts]


def _within(parts: Sequence[Part], size: str) -> float:
    """How much a patient's pieces differ from their mean, in spreads: the root of the mean variance."""
    variances = []
    for case in {part.case for part in parts if part.size == size}:
        off = _off([part for part in parts if part.case == case and part.size == size], lesion_roots)
        variances.append(stdev(off) ** 2)
    return math.sqrt(fmean(variances))


def _spread(part: Part) -> float:
    return max(_root(part, part.low_ml) - _root(part, part.high_ml), LEAST_SPREAD)


def _root(part: Part, amount: float) -> float:
    """Root of the share of the part in %."""
    return math.sqrt(100 * amount / part.lung_ml) if part.lung_ml else 0.0


def _quantile(cases: int) -> float:
    """Of the t distribution, for 95 % of single cases."""
    return float(student.ppf(0.975, cases - 1))

"""From held-out cases to the ``[error]`` of a model's card, and how many truths its intervals cover."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from dicomnode.measure.certainty import score_certainty, score_draws, share_bounds
from dicomnode.measure.pieces import Piece
from dicomnode.measure.severity import LOBE_BANDS, REGION_BANDS, Band, score_many
from dicomnode.measure.uncertainty import ScoreCertainty
from dicomnode.segment.confidence import LEAST_CASES, ErrorModel
from dicomnode.train.cases import DataError
from dicomnode.train.held_out import LOBE, PATIENT, REGION, SLICE, WHOLE, Part

LOW, HIGH = 0.2, 0.8
LEAST_SPREAD = 0.3
"""Of the root of a share in %: 0.09 % of the lungs. Mask edges alone are worth so much."""

LEAST_PIECE_SPREAD = 0.1
"""Of a piece as large as a lobe or region; where nothing is suspected there next to nothing is missed."""

NORMAL_90 = 1.645
"""Nine tenths of normal values lie so many standard deviations around their mean."""

NUMBERS_A_LINE = 12
HIGHEST_SCORE = 40
TOLD_APART = ("GGO", "consolidation")

LUNGS_ML = 4500.0
"""Of a patient here: the sets give no spacing, and what counts as involved is told in mL."""

THICK_MM, THICK_BIAS_PERCENT = (5.2, 10.0), (5.3, 24.1)
"""A patient's lesions on thicker slices, by ``python -m benchmarks.robustness``."""

Pair = Callable[[Part], tuple[float, float]]
"""True and found root of a share in %, of a part."""

Errors = Callable[[ErrorModel], tuple[float, ...]]


def fit_error(parts: Sequence[Part]) -> ErrorModel:
    """The error of the model that found ``parts`` in cases it never saw.

    Raises
    ------
    DataError
        If there are too few cases, or no patient among them.
    """
    cases = [part for part in parts if part.size == WHOLE]
    told = [part for part in cases if part.true_ggo_ml is not None]
    patients = sum(part.kind == PATIENT for part in cases)
    if len(cases) < LEAST_CASES or not patients:
        raise DataError(
            f"an error is measured on {LEAST_CASES} cases or more, patients among them; the table has "
            f"{len(cases)}, {patients} of them patients"
        )
    held_out = f"{patients} patients and {len(cases) - patients} single slices that the model never saw"
    if len(told) >= LEAST_CASES:
        held_out += f"; GGO and consolidation: {len(told)} single slices"
    else:
        told = []
    return ErrorModel(
        low_probability=LOW,
        high_probability=HIGH,
        least_spread=LEAST_SPREAD,
        least_piece_spread=LEAST_PIECE_SPREAD,
        lesion_errors=_errors(cases, lesion_roots),
        weight_errors=_errors(cases, weight_roots),
        lobe_sd=_own_sd(parts, LOBE),
        region_sd=_own_sd(parts, REGION),
        held_out=held_out,
        ggo_errors=_errors(told, ggo_roots),
        consolidation_errors=_errors(told, consolidation_roots),
        thick_mm=THICK_MM,
        thick_bias_percent=THICK_BIAS_PERCENT,
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


MEASURES: dict[str, tuple[Pair, Errors]] = {
    "lesion": (lesion_roots, lambda error: error.lesion_errors),
    "lesion weight": (weight_roots, lambda error: error.weight_errors),
    "GGO": (ggo_roots, lambda error: error.ggo_errors),
    "consolidation": (consolidation_roots, lambda error: error.consolidation_errors),
}


def card_section(error: ErrorModel) -> str:
    """``[error]`` as TOML."""
    lines = ["[error]"]
    for field in fields(error):
        value = getattr(error, field.name)
        if isinstance(value, tuple):
            rows = [", ".join(f"{entry:g}" for entry in row) for row in batched(value, NUMBERS_A_LINE)]
            text = f"[{rows[0]}]" if len(rows) == 1 else "[\n  " + ",\n  ".join(rows) + ",\n]"
        else:
            text = f'"{value}"' if isinstance(value, str) else f"{value:.4g}"
        lines.append(f"{field.name} = {text}")
    return "\n".join(lines)


def batched(values: Sequence[float], count: int) -> list[Sequence[float]]:
    """Values in rows of ``count``; one empty row of none."""
    return [values[start : start + count] for start in range(0, max(len(values), 1), count)]


def coverage(parts: Sequence[Part]) -> Iterator[str]:
    """How many truths lie within their intervals, a line a measure; no case judges itself."""
    cases = [part for part in parts if part.size == WHOLE]
    patients = [part for part in cases if part.kind == PATIENT]
    for name in MEASURES:
        chosen = [part for part in cases if part.true_ggo_ml is not None or name not in TOLD_APART]
        within = [_covers(part, [other for other in cases if other is not part], name) for part in chosen]
        if within:
            of_patients = [hit for hit, part in zip(within, chosen, strict=True) if part.kind == PATIENT]
            yield (
                f"{name}: {sum(within)} of {len(within)} cases within ({100 * fmean(within):.0f} %), "
                f"{sum(of_patients)} of {len(of_patients)} patients"
            )
    slices = [part for part in cases if part.kind == SLICE]
    for name, judges, judged in (("patients", slices, patients), ("slices", patients, slices)):
        hits = sum(_covers(part, judges, "lesion") for part in judged)
        yield f"lesion of the {name} by the errors of the others alone: {hits} of {len(judged)} within"
    for size, bands in ((LOBE, LOBE_BANDS), (REGION, REGION_BANDS)):
        found = [_score(patient, parts, size, bands) for patient in patients]
        count = len([part for part in parts if part.case == patients[0].case and part.size == size])
        inside = sum(score.low <= true <= score.high for true, score in found)
        right = sum(true == score.reported for true, score in found)
        claimed = sum(score.probability for _, score in found)
        yield (
            f"score over {count} pieces of the size of a {size}: {inside} of {len(found)} patients within; "
            f"reported score true in {right}, claimed {claimed:.1f}"
        )


def _covers(part: Part, others: Sequence[Part], name: str) -> bool:
    """Whether the part's truth lies within the bounds by the errors of ``others``."""
    roots, _ = MEASURES[name]
    known = [other for other in others if other.true_ggo_ml is not None or name not in TOLD_APART]
    true, found = roots(part)
    low, high = share_bounds(found**2, _spread(part), _errors(known, roots))
    return low <= true**2 <= high


def _score(
    patient: Part, parts: Sequence[Part], size: str, bands: Sequence[Band]
) -> tuple[int, ScoreCertainty]:
    """True score of a patient's pieces, and what is said of it."""
    error = fit_error([part for part in parts if part.case != patient.case])
    own = [part for part in parts if part.case == patient.case and part.size == size]
    scale = LUNGS_ML / patient.lung_ml
    pieces = [_piece(part, scale) for part in own]
    volumes = np.array([piece.volume_ml for piece in pieces])

    def total(percent: NDArray[np.float64]) -> int:
        return int(score_many(bands, percent, percent * volumes / 100).sum())

    true = total(np.array([100 * part.true_ml / max(part.lung_ml, 1e-9) for part in own]))
    reported = total(np.array([piece.percent(piece.lesion_ml) for piece in pieces]))
    draws = score_draws(error, pieces, error.lobe_sd if size == LOBE else error.region_sd, bands)
    return true, score_certainty(draws, reported, HIGHEST_SCORE)


def _piece(part: Part, scale: float) -> Piece:
    return Piece(*(scale * ml for ml in (part.lung_ml, part.found_ml, part.low_ml, part.high_ml)))


def _errors(parts: Sequence[Part], roots: Pair) -> tuple[float, ...]:
    """True less found root, in spreads, of each part, rising."""
    return tuple(sorted(round(_error(part, roots, _spread(part)), 3) for part in parts))


def _error(part: Part, roots: Pair, spread: float) -> float:
    true, found = roots(part)
    return (true - found) / spread


def _own_sd(parts: Sequence[Part], size: str) -> float:
    """By how much the errors of pieces differ from their patient's; nine tenths of the pieces say so.

    The others are lesions that the model didn't suspect at all, a few spreads of next to nothing.
    """
    differ = []
    for patient in (part for part in parts if part.kind == PATIENT and part.size == WHOLE):
        whole = _error(patient, lesion_roots, _spread(patient))
        for part in parts:
            if part.case == patient.case and part.size == size:
                spread = _spread(part, LEAST_PIECE_SPREAD)
                differ.append(abs(_error(part, lesion_roots, spread) - whole))
    return float(np.quantile(differ, 0.9)) / NORMAL_90 if differ else 0.0


def _spread(part: Part, least: float = LEAST_SPREAD) -> float:
    return max(_root(part, part.low_ml) - _root(part, part.high_ml), least)


def _root(part: Part, amount: float) -> float:
    """Root of the share of the part in %."""
    return math.sqrt(100 * amount / part.lung_ml) if part.lung_ml else 0.0

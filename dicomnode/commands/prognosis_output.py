"""What `dicomnode prognosis` prints: tables for people, JSON for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dicomnode.cohort.agreement import Interval
from dicomnode.cohort.logistic import INTERCEPT
from dicomnode.cohort.patients import Patients
from dicomnode.cohort.prognosis import SCORES, Model, Prognosis
from dicomnode.cohort.roc import CStatistic, CutOff
from dicomnode.terminal import print_table

PUBLISHED = {
    "CT-SS, per SD": "3.02 [2.44, 3.73]",
    "lesion extent, per SD": "3.86 [2.96, 5.05]",
    "A": "0.82",
    "B": "0.89",
    "C": "0.90",
}
"""Odds ratios and C-statistics of Bartoli et al. 2022, 1621 patients: literature to compare with."""

SCORE_NAMES = {SCORES["B"]: "CT-SS", SCORES["C"]: "lesion extent, %"}

NO_DIAGNOSIS = (
    "For research: this describes the patients of the table, it is no diagnosis and no rule for one of them."
)


def print_prognosis(found: Prognosis, notes: Sequence[str]) -> None:
    """Tables for people."""
    print_table(
        "Odds ratios",
        ("Model", "Term", "Odds ratio [95 %]", "p", "Published"),
        [
            (
                m.name,
                t.name,
                f"{t.odds_ratio:.2f} {_interval(t.interval)}",
                _p(t.p),
                PUBLISHED.get(t.name, ""),
            )
            for m in found.models
            for t in m.fit.terms
            if t.name != INTERCEPT
        ],
    )
    tested = f"C-statistic {'held out' if found.held_out else 'again'} [95 %]"
    print_table(
        "Discrimination",
        ("", "C-statistic training [95 %]", tested, "Published"),
        [
            *((f"model {m.name}", _c(m.training), _c(m.test), PUBLISHED[m.name]) for m in found.models),
            *((f"{SCORE_NAMES[s.name]} alone", "", _c(s.test), "") for s in found.scores),
        ],
    )
    print_table(
        "Against model A",
        ("Model", "Likelihood ratio chi2", "df", "p", "Gain in C-statistic", "p (DeLong)"),
        [_against_a(model) for model in found.models if model.against_a],
    )
    print_table(
        "Cut-offs by Youden's index",
        ("", "Cut-off", "Sensitivity", "Specificity"),
        [
            *(_cut_off_row(f"model {m.name}, probability", m.cut_off, m.tested) for m in found.models),
            *(_cut_off_row(SCORE_NAMES[s.name], s.cut_off, s.tested) for s in found.scores),
        ],
    )
    if found.c_against_b:
        difference = found.c_against_b
        print(f"model C against B: C-statistic {difference.difference:+.3f}, p {_p(difference.p)} (DeLong)")
    print(
        f"fitted to {found.training_patients} patients, {found.training_events} with the outcome; "
        f"tested on {found.test_patients}, {found.test_events} with the outcome"
    )
    for note in notes:
        print(f"note: {note}")
    print("published: Bartoli et al. 2022, 1621 patients; literature to compare with")
    print(NO_DIAGNOSIS)


def _against_a(model: Model) -> tuple[str, ...]:
    test, gain = model.against_a, model.test_against_a
    if test is None or gain is None:
        return (model.name,)
    told = (f"{test.chi2:.1f}", str(test.degrees_of_freedom), _p(test.p))
    return (model.name, *told, f"{gain.difference:+.3f}", _p(gain.p))


def _cut_off_row(name: str, chosen: CutOff, tested: CutOff) -> tuple[str, ...]:
    return (name, f"≥ {chosen.threshold:.4g}", f"{tested.sensitivity:.2f}", f"{tested.specificity:.2f}")


def _c(found: CStatistic) -> str:
    return f"{found.value:.3f} {_interval(found.interval, 3)}"


def prognosis_json(found: Prognosis, patients: Patients, notes: Sequence[str]) -> dict[str, Any]:
    """For scripts: all figures, unrounded."""
    return {
        "rows": patients.rows,
        "patients": len(patients),
        "left_out": dict(patients.left_out),
        "training": {"patients": found.training_patients, "events": found.training_events},
        "test": {"patients": found.test_patients, "events": found.test_events, "held_out": found.held_out},
        "models": [_model_json(model) for model in found.models],
        "scores": [asdict(score) for score in found.scores],
        "c_against_b": asdict(found.c_against_b) if found.c_against_b else None,
        "notes": list(notes),
        "use": NO_DIAGNOSIS,
    }


def _model_json(model: Model) -> dict[str, Any]:
    parts = ("fit", "training", "test", "against_a", "test_against_a", "cut_off", "tested")
    values = {name: getattr(model, name) for name in parts}
    curve = model.curve
    return {
        "name": model.name,
        **{name: asdict(value) if value else None for name, value in values.items()},
        "roc": {
            "false_positive_rate": curve.false_positive_rate.tolist(),
            "sensitivity": curve.sensitivity.tolist(),
        },
    }


def _interval(interval: Interval | None, digits: int = 2) -> str:
    return f"[{interval.low:.{digits}f}, {interval.high:.{digits}f}]" if interval else ""


def _p(value: float | None) -> str:
    return "-" if value is None else "< 0.0001" if value < 0.0001 else f"{value:.4f}"

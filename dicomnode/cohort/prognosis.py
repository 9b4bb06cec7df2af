"""What the extent of disease on CT adds to a patient's characteristics: the models of the Marseille study.

Bartoli, Fournel et al., Research in Diagnostic and Interventional Imaging 2022: logistic regression of a poor
outcome. Model A: age group, sex, comorbidities, more than 7 days since onset; B: A and the CT severity score;
C: A and the automatic lesion extent; both scores standardised; 70 % of the patients to fit, 30 % to test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.cohort.errors import CohortError
from dicomnode.cohort.logistic import (
    SOUND_EVENTS_PER_TERM,
    Design,
    Fit,
    LikelihoodRatio,
    fit_logistic,
    likelihood_ratio,
    refuse_one_outcome,
)
from dicomnode.cohort.patients import AGE_GROUPS, Patients
from dicomnode.cohort.roc import (
    Comparison,
    CStatistic,
    CutOff,
    RocCurve,
    Truths,
    at_cut_off,
    c_statistic,
    compare,
    roc_curve,
    youden_cut_off,
)

OUTCOME, AGE, SEX, COMORBIDITIES, ONSET = "outcome", "age", "sex", "comorbidities", "onset"
CHARACTERISTICS = (AGE, SEX, COMORBIDITIES, ONSET)
SCORES = {"B": "ct_ss", "C": "extent"}
"""What each model adds to model A."""

TERMS = {
    SEX: "male",
    COMORBIDITIES: "comorbidities",
    ONSET: "more than 7 days since onset",
    "ct_ss": "CT-SS, per SD",
    "extent": "lesion extent, per SD",
}
ONSET_DAYS = 7.0
FEWEST_TO_TEST = 5
"""Patients of either outcome among those held out."""


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation (n - 1) of a score in the patients that the models were fitted to."""

    mean: float
    sd: float


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted model and how well it does.

    Parameters
    ----------
    fit:
        Its terms.
    training, test:
        C-statistics; ``test`` of the patients held out, or again of all where none were.
    against_a, test_against_a:
        Likelihood-ratio test and DeLong's test against model A; ``None`` for model A itself.
    cut_off:
        Probability with the greatest Youden index in training; ``tested`` is what it does in the test.
    curve:
        ROC curve of the test.
    """

    name: str
    fit: Fit
    training: CStatistic
    test: CStatistic
    against_a: LikelihoodRatio | None
    test_against_a: Comparison | None
    cut_off: CutOff
    tested: CutOff
    curve: RocCurve


@dataclass(frozen=True)
class Score:
    """A score alone, in its own unit: the cut-off of training and what it does in the test."""

    name: str
    standard: Standard
    test: CStatistic
    cut_off: CutOff
    tested: CutOff


@dataclass(frozen=True, eq=False)
class Prognosis:
    """Models A, B and C, as far as the table has what they need."""

    models: tuple[Model, ...]
    scores: tuple[Score, ...]
    training_patients: int
    training_events: int
    test_patients: int
    test_events: int
    held_out: bool
    c_against_b: Comparison | None
    notes: tuple[str, ...]


def prognosis(patients: Patients, *, held_out: float, seed: int) -> Prognosis:
    """Fit and test the models.

    Parameters
    ----------
    patients:
        With :data:`OUTCOME` (0, 1), those of :data:`CHARACTERISTICS` that model A shall have (index of the
        age group, 0 or 1) and ``ct_ss``, ``extent`` or both.
    held_out:
        Share of the patients of either outcome that the models are tested on, 0 to below 1; at 0 they are
        tested on the patients they were fitted to.
    seed:
        Decides who is held out.

    Raises
    ------
    CohortError
        If a model can't be fitted or tested.
    """
    outcome = patients.values[OUTCOME] == 1
    refuse_one_outcome(outcome)
    train, test = _split(outcome, held_out, seed)
    base, notes = _characteristics(patients.values, train)
    standards = {
        score: _standard(patients.values[score][train], score)
        for score in SCORES.values()
        if score in patients.values
    }
    designs: dict[str, Design] = {"A": base} if base else {}
    for name, score in SCORES.items():
        if score in standards:
            scaled = (patients.values[score] - standards[score].mean) / standards[score].sd
            designs[name] = {**base, TERMS[score]: scaled}
    models: list[Model] = []
    for name, design in designs.items():
        models.append(_model(name, design, outcome, train, test, models[0] if base and models else None))
    notes += _cautions(outcome, train, designs, held_out)
    return Prognosis(
        models=tuple(models),
        scores=tuple(_score(n, s, patients.values[n], outcome, train, test) for n, s in standards.items()),
        training_patients=int(train.sum()),
        training_events=int(outcome[train].sum()),
        test_patients=int(test.sum()),
        test_events=int(outcome[test].sum()),
        held_out=held_out > 0,
        c_against_b=_c_against_b(models, designs, outcome, test),
        notes=tuple(notes),
    )


def _split(outcome: Truths, held_out: float, seed: int) -> tuple[Truths, Truths]:
    """Training and test, the same share of patients with and without the outcome."""
    everyone = np.ones(len(outcome), dtype=bool)
    if held_out == 0:
        return everyone, everyone
    random = np.random.default_rng(seed)
    test = np.zeros(len(outcome), dtype=bool)
    for what, group in (("with", np.flatnonzero(outcome)), ("without", np.flatnonzero(~outcome))):
        number = round(held_out * len(group))
        if number < FEWEST_TO_TEST:
            raise CohortError(
                f"of {len(group)} patients {what} the outcome {number} would be held out, at least "
                f"{FEWEST_TO_TEST} are needed; --held-out 0 tests on all patients, too kindly"
            )
        test[random.permutation(group)[:number]] = True
    return ~test, test


def _characteristics(
    values: Mapping[str, NDArray[np.float64]], train: Truths
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Terms of model A: the youngest age group that occurs is the reference."""
    base: dict[str, NDArray[np.float64]] = {}
    notes: list[str] = []
    if AGE in values:
        groups = sorted({int(group) for group in values[AGE][train]})
        if len(groups) == 1:
            raise CohortError(
                f"all patients are {AGE_GROUPS[groups[0]]} years old; leave age out (--without age)"
            )
        if groups[0] != 0:
            notes.append(
                f"nobody is {AGE_GROUPS[0]} years old: odds ratios of age refer to {AGE_GROUPS[groups[0]]}"
            )
        for group in groups[1:]:
            base[f"age {AGE_GROUPS[group]}"] = (values[AGE] == group).astype(float)
    for name in CHARACTERISTICS[1:]:
        if name in values:
            base[TERMS[name]] = values[name]
    return base, notes


def _standard(score: NDArray[np.float64], name: str) -> Standard:
    sd = float(score.std(ddof=1)) if len(score) > 1 else 0.0
    if sd == 0:
        raise CohortError(
            f"{TERMS[name].split(',')[0]} is the same in all patients and can't explain the outcome"
        )
    return Standard(float(score.mean()), sd)


def _model(
    name: str, design: Design, outcome: Truths, train: Truths, test: Truths, base: Model | None
) -> Model:
    try:
        fit = fit_logistic(outcome[train], {term: values[train] for term, values in design.items()})
    except CohortError as error:
        raise CohortError(f"model {name}: {error}") from error
    probability = fit.predict(design)
    cut_off = youden_cut_off(outcome[train], probability[train])
    return Model(
        name=name,
        fit=fit,
        training=c_statistic(outcome[train], probability[train]),
        test=c_statistic(outcome[test], probability[test]),
        against_a=likelihood_ratio(base.fit, fit) if base else None,
        test_against_a=_compare(base.fit, fit, design, outcome, test) if base else None,
        cut_off=cut_off,
        tested=at_cut_off(outcome[test], probability[test], cut_off.threshold),
        curve=roc_curve(outcome[test], probability[test]),
    )


def _compare(first: Fit, second: Fit, design: Design, outcome: Truths, test: Truths) -> Comparison:
    return compare(outcome[test], first.predict(design)[test], second.predict(design)[test])


def _score(
    name: str, standard: Standard, values: NDArray[np.float64], outcome: Truths, train: Truths, test: Truths
) -> Score:
    cut_off = youden_cut_off(outcome[train], values[train])
    return Score(
        name,
        standard,
        c_statistic(outcome[test], values[test]),
        cut_off,
        at_cut_off(outcome[test], values[test], cut_off.threshold),
    )


def _c_against_b(
    models: Sequence[Model], designs: Mapping[str, Design], outcome: Truths, test: Truths
) -> Comparison | None:
    """B and C aren't nested, so only their C-statistics can be compared."""
    fits = {model.name: model.fit for model in models}
    if not {"B", "C"} <= fits.keys():
        return None
    return _compare(fits["B"], fits["C"], {**designs["B"], **designs["C"]}, outcome, test)


def _cautions(outcome: Truths, train: Truths, designs: Mapping[str, Design], held_out: float) -> list[str]:
    notes = []
    terms = max(map(len, designs.values()))
    rarer = min(int(outcome[train].sum()), int((~outcome[train]).sum()))
    if rarer < SOUND_EVENTS_PER_TERM * terms:
        notes.append(
            f"few events: {rarer} for {terms} terms; below {SOUND_EVENTS_PER_TERM} a term odds ratios are "
            "exaggerated and intervals too narrow"
        )
    if held_out == 0:
        notes.append("tested on the patients that the models were fitted to: C-statistics are too kind")
    return notes

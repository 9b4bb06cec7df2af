"""Logistic regression by maximum likelihood, refused with a reason where its figures would mean nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.stats import chi2

from dicomnode.cohort.agreement import Interval
from dicomnode.cohort.errors import CohortError
from dicomnode.cohort.roc import Truths

FEWEST_EVENTS_PER_TERM = 5
"""Below it coefficients are biased and intervals too narrow (Vittinghoff & McCulloch, AJE 2007;165:710)."""

SOUND_EVENTS_PER_TERM = 10
"""From it on they are sound (Peduzzi et al., J Clin Epidemiol 1996;49:1373)."""

INTERCEPT = "intercept"

Design = Mapping[str, NDArray[np.float64]]
"""Terms of a model: a value a patient."""


@dataclass(frozen=True)
class Term:
    """One term of a model; intervals are Wald's, 95 %."""

    name: str
    coefficient: float
    standard_error: float
    odds_ratio: float
    interval: Interval
    p: float


@dataclass(frozen=True)
class Fit:
    """A fitted model; the first term is the intercept."""

    terms: tuple[Term, ...]
    log_likelihood: float
    aic: float
    patients: int
    events: int

    def term(self, name: str) -> Term:
        """The term called ``name``."""
        return next(term for term in self.terms if term.name == name)

    def predict(self, design: Design) -> NDArray[np.float64]:
        """Probability of the outcome for each patient of ``design``."""
        logit = self.terms[0].coefficient + sum(
            term.coefficient * design[term.name] for term in self.terms[1:]
        )
        return np.asarray(1 / (1 + np.exp(-logit)))


@dataclass(frozen=True)
class LikelihoodRatio:
    """Wilks' test of a model against one with fewer of its terms."""

    chi2: float
    degrees_of_freedom: int
    p: float


def fit_logistic(outcome: Truths, design: Design) -> Fit:
    """Fit ``outcome``, shape (patients,), by the terms of ``design`` and an intercept.

    Raises
    ------
    CohortError
        If a term is constant, follows from others or separates the outcome, or events are too few.
    """
    names = list(design)
    refuse_one_outcome(outcome)
    _refuse_constant(design)
    _refuse_few_events(outcome, len(names))
    matrix = np.column_stack([np.ones(len(outcome)), *design.values()])
    _refuse_collinear(matrix, names)
    _refuse_separation(outcome, matrix, names)
    from statsmodels.discrete.discrete_model import Logit  # noqa: PLC0415  (an extra)

    result = Logit(outcome.astype(float), matrix).fit(disp=0, maxiter=200)
    if not result.mle_retvals["converged"]:
        raise CohortError("the logistic regression doesn't converge; leave out a variable")
    bounds = result.conf_int(alpha=0.05)
    terms = tuple(
        Term(name, float(b), float(se), exp(b), Interval(exp(low), exp(high)), float(p))
        for name, b, se, (low, high), p in zip(
            [INTERCEPT, *names], result.params, result.bse, bounds, result.pvalues, strict=True
        )
    )
    return Fit(terms, float(result.llf), float(result.aic), len(outcome), int(outcome.sum()))


def likelihood_ratio(small: Fit, large: Fit) -> LikelihoodRatio:
    """Test ``large`` against ``small``, fitted to the same patients.

    Raises
    ------
    ValueError
        If the models aren't nested.
    """
    few, many = ({term.name for term in model.terms} for model in (small, large))
    if not few < many or (small.patients, small.events) != (large.patients, large.events):
        raise ValueError("a likelihood-ratio test needs nested models of the same patients")
    statistic = max(2 * (large.log_likelihood - small.log_likelihood), 0.0)
    return LikelihoodRatio(statistic, len(many) - len(few), float(chi2.sf(statistic, len(many) - len(few))))


def refuse_one_outcome(outcome: Truths) -> None:
    """Make sure that there are patients with and without the outcome.

    Raises
    ------
    CohortError
        If not.
    """
    if outcome.all() or not outcome.any():
        raise CohortError(f"all {len(outcome)} patients have the same outcome; nothing can be explained")


def _refuse_constant(design: Design) -> None:
    for name, values in design.items():
        if np.ptp(values) == 0:
            raise CohortError(
                f"{name} is the same in all {len(values)} patients, so it explains nothing; leave it out"
            )


def _refuse_few_events(outcome: Truths, terms: int) -> None:
    events = int(outcome.sum())
    rarer, what = min((events, "with"), (len(outcome) - events, "without"))
    if rarer < FEWEST_EVENTS_PER_TERM * terms:
        raise CohortError(
            f"{rarer} patients {what} the outcome are too few for {terms} terms, at least "
            f"{FEWEST_EVENTS_PER_TERM * terms} are needed; leave out variables or add patients"
        )


def _refuse_collinear(matrix: NDArray[np.float64], names: Sequence[str]) -> None:
    scaled = matrix / np.linalg.norm(matrix, axis=0)
    for column in range(1, matrix.shape[1]):
        if np.linalg.matrix_rank(scaled[:, : column + 1], tol=1e-8) <= column:
            earlier = ", ".join(names[: column - 1]) or INTERCEPT
            raise CohortError(f"{names[column - 1]} follows from {earlier}; leave one of them out")


def _refuse_separation(outcome: Truths, matrix: NDArray[np.float64], names: Sequence[str]) -> None:
    """Some plane with no patient on its wrong side: the likelihood has no maximum.

    Found by linear programming (Konis 2007, thesis, Oxford), so complete and quasi-complete separation are
    seen for certain, not guessed from coefficients that grow.
    """
    signed = np.where(outcome, 1.0, -1.0)[:, None] * matrix / np.abs(matrix).max(axis=0)
    if not (together := _separating(signed)):
        return
    alone = [column for column in together if _separating(signed[:, [0, column]])]
    guilty = [names[column - 1] for column in alone or together]
    raise CohortError(
        f"separation: the outcome of some patients follows without exception from {', '.join(guilty)}, whose "
        "odds ratio has no finite estimate; leave the variable out or add patients"
    )


def _separating(signed: NDArray[np.float64]) -> list[int]:
    """Columns, the intercept apart, of a plane with no patient on its wrong side; none if there is none."""
    found = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1))
    if found.status != 0 or -found.fun <= 1e-6:
        return []
    return [column for column in range(1, signed.shape[1]) if abs(found.x[column]) > 1e-7]

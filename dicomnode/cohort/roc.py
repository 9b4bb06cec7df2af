"""How well a score tells patients with the outcome from those without: C-statistic, ROC curve, cut-off."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from dicomnode.cohort.agreement import NORMAL_95, Interval

Truths = NDArray[np.bool_]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class CStatistic:
    """Probability that a patient with the outcome scores higher than one without; ties count half.

    Parameters
    ----------
    value:
        Area under the ROC curve.
    standard_error, interval:
        After DeLong, DeLong & Clarke-Pearson, Biometrics 1988;44:837: value -+ 1.96 standard errors, within
        [0, 1]. ``None`` where the scores leave no variance, as with perfect separation.
    """

    value: float
    standard_error: float
    interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """Difference of two C-statistics on the same patients, second - first, with DeLong's two-sided p."""

    difference: float
    z: float | None
    p: float | None


@dataclass(frozen=True)
class CutOff:
    """A score of ``threshold`` and above counts as positive."""

    threshold: float
    sensitivity: float
    specificity: float

    @property
    def youden(self) -> float:
        """Youden's index J = sensitivity + specificity - 1."""
        return self.sensitivity + self.specificity - 1


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Points from (0, 0) to (1, 1): a point for each distinct score taken as threshold, falling."""

    false_positive_rate: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def c_statistic(outcome: Truths, score: Scores) -> CStatistic:
    """C-statistic of ``score``, both of shape (patients,), with patients of either outcome."""
    with_outcome, without = _components(outcome, score)
    variance = _covariance(with_outcome, with_outcome) + _covariance(without, without)
    value, error = float(with_outcome.mean()), sqrt(max(variance, 0.0))
    if error == 0:
        return CStatistic(value, 0.0, None)
    low, high = value - NORMAL_95 * error, value + NORMAL_95 * error
    return CStatistic(value, error, Interval(max(low, 0.0), min(high, 1.0)))


def compare(outcome: Truths, first: Scores, second: Scores) -> Comparison:
    """DeLong's test of two scores of the same patients; no p where they order the patients alike."""
    (with_1, without_1), (with_2, without_2) = _components(outcome, first), _components(outcome, second)
    difference = float(with_2.mean() - with_1.mean())
    pairs = ((with_2 - with_1), (without_2 - without_1))
    variance = sum(_covariance(one, one) for one in pairs)
    if variance <= 0:
        return Comparison(difference, None, None)
    z = difference / sqrt(variance)
    return Comparison(difference, z, erfc(abs(z) / sqrt(2)))


def roc_curve(outcome: Truths, score: Scores) -> RocCurve:
    """The curve of ``score``."""
    thresholds = np.unique(score)[::-1]
    positive, negative = np.sort(score[outcome]), np.sort(score[~outcome])
    sensitivity = 1 - np.searchsorted(positive, thresholds, side="left") / len(positive)
    false_positives = 1 - np.searchsorted(negative, thresholds, side="left") / len(negative)
    return RocCurve(
        np.concatenate(([0.0], false_positives)),
        np.concatenate(([0.0], sensitivity)),
        np.concatenate(([np.inf], thresholds)),
    )


def youden_cut_off(outcome: Truths, score: Scores) -> CutOff:
    """The observed score with the greatest Youden index; of several the highest, which is the most specific.

    Youden, Cancer 1950;3:32.
    """
    curve = roc_curve(outcome, score)
    best = 1 + int(np.argmax((curve.sensitivity - curve.false_positive_rate)[1:].round(12)))
    return at_cut_off(outcome, score, float(curve.thresholds[best]))


def at_cut_off(outcome: Truths, score: Scores, threshold: float) -> CutOff:
    """Sensitivity and specificity of a threshold that was chosen elsewhere."""
    positive = score >= threshold
    return CutOff(threshold, float(positive[outcome].mean()), float((~positive)[~outcome].mean()))


def _components(outcome: Truths, score: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """DeLong's structural components by midranks (Sun & Xu, IEEE Signal Process Lett 2014;21:1389).

    Of each patient with the outcome the share of those without that score lower; of each one without the
    share of those with that score higher.
    """
    positive, negative = score[outcome], score[~outcome]
    if not len(positive) or not len(negative):
        raise ValueError("a C-statistic needs patients with and without the outcome")
    together = rankdata(np.concatenate((positive, negative)))
    with_outcome = (together[: len(positive)] - rankdata(positive)) / len(negative)
    without = 1 - (together[len(positive) :] - rankdata(negative)) / len(positive)
    return with_outcome, without


def _covariance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Of the means of two vectors of components."""
    if len(one) < 2:
        return 0.0
    return float(np.cov(one, other, ddof=1)[0, 1] / len(one))

"""How well two measurements of the same quantity agree, case by case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

NORMAL_95 = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""

MINIMUM_CASES = 3


class AgreementError(Exception):
    """The measurements can't be compared; the message says why."""


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class BlandAltman:
    """Bland & Altman, Lancet 1986;1:307: differences prediction - reference against their means.

    Parameters
    ----------
    bias:
        Mean difference, in the unit of the quantity (its square root where ``transformed``).
    sd:
        Standard deviation of the differences (n - 1).
    low, high:
        Limits of agreement: bias -+ 1.96 sd.
    transformed:
        Whether the square roots were compared, as MEDIP does since differences grow with the extent.
    """

    bias: float
    sd: float
    low: float
    high: float
    transformed: bool

    def limits_at(self, reference: float) -> Interval:
        """Limits of the prediction around one reference value, in the unit of the quantity.

        On square roots the limits are back-transformed: (sqrt(reference) + limit) squared, not below 0.
        """
        if not self.transformed:
            return Interval(reference + self.low, reference + self.high)
        root = sqrt(max(reference, 0.0))
        return Interval(max(root + self.low, 0.0) ** 2, max(root + self.high, 0.0) ** 2)


@dataclass(frozen=True)
class Agreement:
    """Two series of measurements of the same cases.

    ``None`` stands for what the data don't determine: a correlation where one side is constant, a Wilcoxon
    test where nothing differs, square roots of negative values.

    Parameters
    ----------
    cases:
        How many.
    mae, bias:
        Mean absolute and mean signed difference, prediction - reference.
    mvsf:
        Mean volume similarity fraction, 1 - |p - r| / (p + r); a case without either is 1.
    pearson, spearman:
        Correlation coefficients.
    icc, icc_interval:
        Intraclass correlation ICC(A,1): two-way random effects, absolute agreement, single measurement,
        with its 95 % interval (McGraw & Wong, Psychol Methods 1996;1:30).
    wilcoxon_p:
        Two-sided p of the signed-rank test that the differences centre on 0.
    """

    cases: int
    reference_mean: float
    prediction_mean: float
    mae: float
    bias: float
    mvsf: float | None
    pearson: float | None
    spearman: float | None
    icc: float | None
    icc_interval: Interval | None
    wilcoxon_p: float | None
    bland_altman: BlandAltman
    bland_altman_root: BlandAltman | None


def agree(reference: ArrayLike, prediction: ArrayLike) -> Agreement:
    """Compare ``prediction`` with ``reference``, two vectors with a value a case.

    Raises
    ------
    AgreementError
        If they differ in length, hold fewer than :data:`MINIMUM_CASES` cases or a value that isn't finite.
    """
    r, p = np.asarray(reference, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if r.ndim != 1 or r.shape != p.shape:
        raise AgreementError(f"reference and prediction need one value a case, got {r.shape} and {p.shape}")
    if len(r) < MINIMUM_CASES:
        raise AgreementError(f"{len(r)} cases are too few, statistics of agreement need {MINIMUM_CASES}")
    if not (np.isfinite(r).all() and np.isfinite(p).all()):
        raise AgreementError("a value is missing or not finite; leave such cases out")
    nonnegative = bool((r >= 0).all() and (p >= 0).all())
    varied = bool(np.ptp(r) > 0 and np.ptp(p) > 0)
    icc, interval = intraclass_correlation(np.column_stack((r, p)))
    return Agreement(
        cases=len(r),
        reference_mean=float(r.mean()),
        prediction_mean=float(p.mean()),
        mae=float(np.abs(p - r).mean()),
        bias=float((p - r).mean()),
        mvsf=_mean_volume_similarity(r, p) if nonnegative else None,
        pearson=float(stats.pearsonr(r, p).statistic) if varied else None,
        spearman=float(stats.spearmanr(r, p).statistic) if varied else None,
        icc=icc,
        icc_interval=interval,
        wilcoxon_p=float(stats.wilcoxon(p, r).pvalue) if bool((p != r).any()) else None,
        bland_altman=bland_altman(r, p),
        bland_altman_root=bland_altman(np.sqrt(r), np.sqrt(p), transformed=True) if nonnegative else None,
    )


def bland_altman(
    reference: Sequence[float] | NDArray[np.float64],
    prediction: Sequence[float] | NDArray[np.float64],
    *,
    transformed: bool = False,
) -> BlandAltman:
    """Bias and 95 % limits of agreement of two vectors; ``transformed`` says that they are square roots."""
    difference = np.asarray(prediction, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    return BlandAltman(bias, sd, bias - NORMAL_95 * sd, bias + NORMAL_95 * sd, transformed)


def intraclass_correlation(ratings: NDArray[np.float64]) -> tuple[float | None, Interval | None]:
    """ICC(A,1) of ``ratings``, shape (cases, raters), and its 95 % interval (McGraw & Wong 1996, table 7).

    ``None`` where all values are the same.
    """
    n, k = ratings.shape
    grand = ratings.mean()
    rows = k * ((ratings.mean(axis=1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((ratings.mean(axis=0) - grand) ** 2).sum() / (k - 1)
    total = ((ratings - grand) ** 2).sum()
    error = (total - rows * (n - 1) - columns * (k - 1)) / ((n - 1) * (k - 1))
    error = max(float(error), 0.0)
    denominator = rows + (k - 1) * error + k / n * (columns - error)
    if denominator <= 0:
        return None, None
    icc = float((rows - error) / denominator)
    if error <= 1e-12 * max(rows, columns):  # no scatter: F is infinite
        return icc, None
    a = k * icc / (n * (1 - icc))
    b = 1 + k * icc * (n - 1) / (n * (1 - icc))
    v = (a * columns + b * error) ** 2 / (
        (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    )
    f_low, f_high = stats.f.ppf(0.975, n - 1, v), stats.f.ppf(0.975, v, n - 1)
    shared = k * columns + (k * n - k - n) * error
    with np.errstate(over="ignore", invalid="ignore"):  # cases that hardly differ: F exceeds a float
        low = n * (rows - f_low * error) / (f_low * shared + n * rows)
        high = n * (f_high * rows - error) / (shared + n * f_high * rows)
    return icc, Interval(float(low), float(high)) if np.isfinite((low, high)).all() else None


def _mean_volume_similarity(r: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    total = r + p
    return float(np.where(total > 0, 1 - np.abs(p - r) / np.where(total > 0, total, 1), 1.0).mean())

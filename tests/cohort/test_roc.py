"""C-statistics and cut-offs against published examples, definitions and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from dicomnode.cohort.roc import at_cut_off, c_statistic, compare, roc_curve, youden_cut_off

# Ratings 1 to 5 of 109 CT images by one reader: Hanley & McNeil, Radiology 1982;143:29, table I.
NORMAL, ABNORMAL = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)


def ratings() -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    scores = [np.repeat(np.arange(1.0, 6.0), counts) for counts in (NORMAL, ABNORMAL)]
    return np.repeat([False, True], [len(score) for score in scores]), np.concatenate(scores)


def simulated(
    seed: int, patients: int = 150
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    outcome = random.random(patients) < 0.35
    shared = random.normal(size=patients)
    first = np.round(outcome * 0.8 + shared + random.normal(size=patients), 1)
    return outcome, first, outcome * 1.3 + shared + random.normal(size=patients)


def test_the_c_statistic_of_hanley_and_mcneil_with_the_interval_that_stata_prints() -> None:
    """Stata [R] roctab, example 1: area 0.8932, standard error 0.0307, 95 % interval 0.83295 to 0.95339."""
    found = c_statistic(*ratings())
    assert found.value == pytest.approx(0.8932, abs=5e-5)
    assert found.standard_error == pytest.approx(0.0307, abs=5e-5)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((0.83295, 0.95339), abs=5e-6)


@pytest.mark.parametrize("seed", range(4))
def test_value_and_errors_are_those_of_the_definition(seed: int) -> None:
    """Every patient with the outcome against every one without (DeLong 1988, equations 4 to 7)."""
    outcome, first, second = simulated(seed)
    components = []
    for score in (first, second):
        higher = score[outcome][:, None] - score[~outcome][None, :]
        wins = (higher > 0) + 0.5 * (higher == 0)
        components.append((wins.mean(axis=1), wins.mean(axis=0)))
        u = mannwhitneyu(score[outcome], score[~outcome]).statistic
        assert c_statistic(outcome, score).value == pytest.approx(u / wins.size)
    (v_1, w_1), (v_2, w_2) = components
    variance = np.cov(v_1, v_2) / len(v_1) + np.cov(w_1, w_2) / len(w_1)
    assert c_statistic(outcome, first).standard_error == pytest.approx(variance[0, 0] ** 0.5)
    found = compare(outcome, first, second)
    expected = (v_2.mean() - v_1.mean()) / (variance[0, 0] + variance[1, 1] - 2 * variance[0, 1]) ** 0.5
    assert found.z == pytest.approx(expected)


def test_the_errors_are_those_of_the_bootstrap() -> None:
    outcome, first, second = simulated(7, 300)
    random = np.random.default_rng(1)
    values, differences = [], []
    for _ in range(600):
        drawn = random.integers(0, len(outcome), len(outcome))
        one, other = (c_statistic(outcome[drawn], score[drawn]).value for score in (first, second))
        values.append(one)
        differences.append(other - one)
    assert np.std(values) == pytest.approx(c_statistic(outcome, first).standard_error, rel=0.12)
    found = compare(outcome, first, second)
    assert found.z is not None and found.p is not None
    assert np.std(differences) == pytest.approx(found.difference / found.z, rel=0.12)


def test_scores_that_leave_nothing_to_doubt_have_no_interval() -> None:
    outcome = np.array([False, False, True, True])
    perfect = c_statistic(outcome, np.array([1.0, 2, 3, 4]))
    assert (perfect.value, perfect.interval) == (1.0, None)
    assert compare(outcome, np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 5, 9])).p is None
    with pytest.raises(ValueError, match="with and without"):
        c_statistic(np.array([True, True]), np.array([1.0, 2]))


def test_the_cut_off_with_the_greatest_youden_index() -> None:
    found = youden_cut_off(*ratings())
    assert (found.threshold, found.sensitivity) == (4.0, pytest.approx(44 / 51))
    assert found.specificity == pytest.approx(45 / 58)
    assert at_cut_off(*ratings(), 5.0).sensitivity == pytest.approx(33 / 51)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=40))
def test_the_area_under_the_curve_is_the_c_statistic_and_no_cut_off_beats_youdens(
    patients: list[tuple[bool, int]],
) -> None:
    outcome = np.array([truth for truth, _ in patients] + [True, False])
    score = np.array([value for _, value in patients] + [3, 3], dtype=float)
    curve = roc_curve(outcome, score)
    assert (curve.false_positive_rate[-1], curve.sensitivity[-1]) == (1.0, 1.0)
    area = np.trapezoid(curve.sensitivity, curve.false_positive_rate)
    assert area == pytest.approx(c_statistic(outcome, score).value)
    best = max(at_cut_off(outcome, score, float(value)).youden for value in set(score))
    assert youden_cut_off(outcome, score).youden == pytest.approx(best)

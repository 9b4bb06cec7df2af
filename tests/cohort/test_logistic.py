"""Logistic regression against published examples, closed forms, and data whose truth is known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import statsmodels
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from dicomnode.cohort.errors import CohortError
from dicomnode.cohort.logistic import fit_logistic, likelihood_ratio
from dicomnode.cohort.roc import c_statistic
from tests.cohort.simulated_patients import (
    CHARACTERISTICS,
    CT_SS_ODDS_RATIO,
    EXTENT_ODDS_RATIO,
    PATIENTS,
    Simulated,
    simulate,
)

LOW_BIRTH_WEIGHT = Path(statsmodels.__file__).parent / "genmod" / "tests" / "results" / "stata_lbw_glm.csv"


def from_table(rows: list[tuple[int, int, int]]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Outcome and exposure from rows (outcome, exposure, count)."""
    outcome, exposure = (np.repeat([row[i] for row in rows], [row[2] for row in rows]) for i in (0, 1))
    return outcome == 1, exposure.astype(float)


def test_smoking_and_low_birth_weight_as_hosmer_and_lemeshow_print_it() -> None:
    """Applied Logistic Regression, chapter 3: odds ratio 2.02, 95 % interval 1.08 to 3.78."""
    outcome, smoking = from_table([(0, 0, 86), (1, 0, 29), (0, 1, 44), (1, 1, 30)])
    fit = fit_logistic(outcome, {"smoking": smoking})
    term = fit.term("smoking")
    assert round(term.odds_ratio, 2) == 2.02
    assert (round(term.interval.low, 2), round(term.interval.high, 2)) == (1.08, 3.78)
    assert term.odds_ratio == pytest.approx(86 * 30 / (29 * 44))
    assert term.standard_error == pytest.approx((1 / 86 + 1 / 29 + 1 / 44 + 1 / 30) ** 0.5)
    assert fit.predict({"smoking": np.array([0.0, 1.0])}) == pytest.approx([29 / 115, 30 / 74])


def test_the_likelihood_ratio_test_is_the_g_test_of_the_table() -> None:
    outcome, smoking = from_table([(0, 0, 86), (1, 0, 29), (0, 1, 44), (1, 1, 30)])
    random = np.random.default_rng(0)
    other = random.normal(size=len(outcome))
    small, large = (
        fit_logistic(outcome, {"x": other}),
        fit_logistic(outcome, {"x": other, "smoking": smoking}),
    )
    alone = fit_logistic(outcome, {"smoking": smoking})
    g = chi2_contingency([[86, 29], [44, 30]], correction=False, lambda_="log-likelihood")
    empty = len(outcome) * (p := outcome.mean()) * np.log(p) + len(outcome) * (1 - p) * np.log(1 - p)
    assert 2 * (alone.log_likelihood - empty) == pytest.approx(g.statistic)
    test = likelihood_ratio(small, large)
    assert test.degrees_of_freedom == 1
    assert test.chi2 == pytest.approx(2 * (large.log_likelihood - small.log_likelihood))
    with pytest.raises(ValueError, match="nested"):
        likelihood_ratio(small, alone)


@pytest.mark.skipif(not LOW_BIRTH_WEIGHT.exists(), reason="this statsmodels comes without its test data")
def test_the_risk_factors_of_low_birth_weight_as_stata_prints_them() -> None:
    """Stata [R] logistic, example 1, and [R] lroc: odds ratios, log likelihood, area under the curve."""
    with LOW_BIRTH_WEIGHT.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    column = {
        name: np.array([float(row[name]) for row in rows])
        for name in ("age", "lwt", "smoke", "ptl", "ht", "ui")
    }
    race = np.array([row["race"] for row in rows])
    names = sorted(set(race))
    assert len(names) == 3
    black = next(name for name in names if name in ("black", "2", "2.0"))
    other = next(name for name in names if name in ("other", "3", "3.0"))
    outcome = np.array([float(row["low"]) for row in rows]) == 1
    fit = fit_logistic(
        outcome, {**column, "black": (race == black).astype(float), "other": (race == other).astype(float)}
    )
    printed = {
        "age": 0.9732636,
        "lwt": 0.9849634,
        "black": 3.534767,
        "other": 2.368079,
        "smoke": 2.517698,
        "ptl": 1.719161,
        "ht": 6.249602,
        "ui": 2.1351,
    }
    for name, ratio in printed.items():
        assert fit.term(name).odds_ratio == pytest.approx(ratio, rel=1e-5), name
    assert fit.log_likelihood == pytest.approx(-100.724, abs=5e-4)
    design = {**column, "black": (race == black).astype(float), "other": (race == other).astype(float)}
    assert c_statistic(outcome, fit.predict(design)).value == pytest.approx(0.7462, abs=5e-5)


def design_of(patients: Simulated, score: str) -> dict[str, NDArray[np.float64]]:
    values = {"ct_ss": patients.ct_ss, "extent": patients.extent}[score]
    groups = ((patients.age >= 45) & (patients.age < 65), patients.age > 64)
    present = (*groups, patients.male, patients.comorbidities, patients.onset_days > 7)
    terms = {name: one.astype(float) for name, one in zip(CHARACTERISTICS, present, strict=True)}
    return {**terms, score: (values - values.mean()) / values.std(ddof=1)}


@pytest.mark.parametrize(("score", "ratio"), [("ct_ss", CT_SS_ODDS_RATIO), ("extent", EXTENT_ODDS_RATIO)])
def test_the_published_odds_ratios_are_found_again(score: str, ratio: float) -> None:
    patients = simulate(3, 40_000, by=score)
    fit = fit_logistic(patients.outcome, design_of(patients, score))
    for name, true in {**CHARACTERISTICS, score: ratio}.items():
        term = fit.term(name)
        assert abs(term.coefficient - np.log(true)) < 3.5 * term.standard_error, name
        assert term.standard_error < 0.12, "or anything would pass"
    assert fit.term(score).odds_ratio == pytest.approx(ratio, rel=0.06)


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    truth = {**CHARACTERISTICS, "extent": EXTENT_ODDS_RATIO}
    inside = []
    for seed in range(30):
        patients = simulate(seed, PATIENTS, by="extent")
        fit = fit_logistic(patients.outcome, design_of(patients, "extent"))
        inside += [fit.term(n).interval.low <= true <= fit.term(n).interval.high for n, true in truth.items()]
    assert 0.90 <= np.mean(inside) <= 0.99


def outcome_and_noise(events: int = 40, patients: int = 200) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    return np.arange(patients) < events, np.random.default_rng(5).normal(size=patients)


def test_what_would_mean_nothing_is_refused_in_one_sentence() -> None:
    outcome, noise = outcome_and_noise()
    with pytest.raises(CohortError, match=r"sex is the same in all 200 patients"):
        fit_logistic(outcome, {"noise": noise, "sex": np.ones(200)})
    with pytest.raises(CohortError, match=r"all 200 patients have the same outcome"):
        fit_logistic(outcome & False, {"noise": noise})
    with pytest.raises(CohortError, match=r"4 patients with the outcome are too few for 1 terms, at least 5"):
        fit_logistic(outcome & (np.arange(200) < 4), {"noise": noise})
    with pytest.raises(CohortError, match=r"double follows from noise"):
        fit_logistic(outcome, {"noise": noise, "double": 2 * noise + 3})


def test_separation_is_found_whether_complete_or_not() -> None:
    outcome, noise = outcome_and_noise()
    complete = np.where(outcome, 5.0, 1.0) + 0.1 * noise
    with pytest.raises(CohortError, match=r"separation: .* from marker, "):
        fit_logistic(outcome, {"noise": noise, "marker": complete})
    only_events = np.zeros(200)
    only_events[:10] = 1  # ten of the forty, and nobody without the outcome
    with pytest.raises(CohortError, match=r"separation: .* from rare, "):
        fit_logistic(outcome, {"noise": noise, "rare": only_events})
    only_events[150] = 1  # a single exception makes the estimate finite
    assert fit_logistic(outcome, {"noise": noise, "rare": only_events}).term("rare").odds_ratio > 10

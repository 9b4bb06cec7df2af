"""Each statistic against a published worked example or an independent implementation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicomnode.cohort.agreement import AgreementError, agree, bland_altman, intraclass_correlation

# Peak expiratory flow by two meters, L/min (Bland & Altman, Lancet 1986;1:307, table 1, first measurements)
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI_WRIGHT = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]

# Six targets by four judges (Shrout & Fleiss, Psychol Bull 1979;86:420, table 2)
JUDGES = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)


def volumes(seed: int = 1, cases: int = 40) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    reference = rng.gamma(1.2, 80, cases)
    return reference, np.maximum(reference * rng.normal(1.05, 0.15, cases) + rng.normal(0, 5, cases), 0)


def test_limits_of_agreement_are_those_of_bland_and_altman() -> None:
    found = bland_altman(MINI_WRIGHT, WRIGHT)
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    # the paper takes two standard deviations, so its limits are -79.7 and 75.5
    assert found.bias - 2 * found.sd == pytest.approx(-79.7, abs=0.1)
    assert found.bias + 2 * found.sd == pytest.approx(75.5, abs=0.1)


def test_the_intraclass_correlation_is_that_of_shrout_and_fleiss() -> None:
    icc, _ = intraclass_correlation(JUDGES)
    assert icc == pytest.approx(0.29, abs=0.005)


@pytest.mark.filterwarnings("ignore::Warning:pingouin")
@pytest.mark.parametrize("seed", range(5))
def test_the_intraclass_correlation_and_its_interval_are_those_of_pingouin(seed: int) -> None:
    reference, prediction = volumes(seed)
    ratings = np.column_stack((reference, prediction))
    table = pd.DataFrame(
        [(case, rater, value) for case, row in enumerate(ratings) for rater, value in enumerate(row)],
        columns=["case", "rater", "value"],
    )
    icc = pingouin.intraclass_corr(table, targets="case", raters="rater", ratings="value")
    theirs = icc[icc["Type"].isin(["ICC(A,1)", "ICC2"])].iloc[0]
    ours, interval = intraclass_correlation(ratings)
    assert ours == pytest.approx(theirs["ICC"], abs=1e-9)
    assert interval is not None
    bounds = theirs["CI95"] if "CI95" in theirs else theirs["CI95%"]
    assert (interval.low, interval.high) == pytest.approx(tuple(bounds), abs=0.006)


def test_correlations_and_signed_ranks_are_those_of_pingouin() -> None:
    reference, prediction = volumes()
    found = agree(reference, prediction)
    correlations = {
        name: float(pingouin.corr(reference, prediction, method=name)["r"].iloc[0])
        for name in ("pearson", "spearman")
    }
    assert found.pearson == pytest.approx(correlations["pearson"], abs=1e-9)
    assert found.spearman == pytest.approx(correlations["spearman"], abs=1e-9)
    signed = pingouin.wilcoxon(prediction, reference)
    p = signed["p_val"].iloc[0] if "p_val" in signed else signed["p-val"].iloc[0]
    assert found.wilcoxon_p == pytest.approx(float(p), rel=1e-6)


def test_volume_similarity_and_errors_by_hand() -> None:
    found = agree([100, 0, 50, 0], [50, 0, 100, 10])
    assert found.mvsf == pytest.approx((2 / 3 + 1 + 2 / 3 + 0) / 4)
    assert (found.mae, found.bias) == (27.5, 2.5)


def test_square_root_limits_grow_with_the_extent() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(0.5, 60, 400)
    prediction = (np.sqrt(reference) + rng.normal(0, 0.36, 400)).clip(0) ** 2
    limits = agree(reference, prediction).bland_altman_root
    assert limits is not None
    at_10, at_50 = limits.limits_at(10), limits.limits_at(50)
    # MEDIP reports 4.7 % at an extent of 10 % and 10.4 % at 50 %
    assert (at_10.high - at_10.low) / 2 == pytest.approx(4.5, abs=0.6)
    assert (at_50.high - at_50.low) / 2 == pytest.approx(10.0, abs=1.2)


def test_equal_measurements_agree_perfectly_and_nothing_is_made_up() -> None:
    found = agree([1, 2, 3, 4], [1, 2, 3, 4])
    assert (found.icc, found.mvsf, found.mae, found.wilcoxon_p) == (1.0, 1.0, 0.0, None)
    constant = agree([0, 0, 0], [0, 0, 0])
    assert (constant.icc, constant.pearson, constant.mvsf) == (None, None, 1.0)
    assert agree([-1, 2, 3], [1, 2, 4]).bland_altman_root is None


@pytest.mark.parametrize(
    ("reference", "prediction", "sentence"),
    [
        ([1, 2], [1, 2], "2 cases are too few"),
        ([1, 2, 3], [1, 2], "one value a case"),
        ([1, 2, float("nan")], [1, 2, 3], "not finite"),
    ],
)
def test_what_cannot_be_compared_is_told(
    reference: list[float], prediction: list[float], sentence: str
) -> None:
    with pytest.raises(AgreementError, match=sentence):
        agree(reference, prediction)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)), min_size=3, max_size=30))
def test_swapping_the_sides_turns_the_bias_and_nothing_else(pairs: list[tuple[float, float]]) -> None:
    reference, prediction = map(list, zip(*pairs, strict=True))
    one, other = agree(reference, prediction), agree(prediction, reference)
    assert one.bias == pytest.approx(-other.bias, abs=1e-6)
    assert one.mae == pytest.approx(other.mae)
    assert one.mvsf == pytest.approx(other.mvsf)
    assert (one.icc is None) == (other.icc is None)
    assert one.icc is None or one.icc == pytest.approx(other.icc, abs=1e-6)

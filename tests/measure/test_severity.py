"""The scores at their boundaries, and the laws that they keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomnode.measure.severity import (
    CT_SCORE_MAXIMUM,
    CT_SS_MAXIMUM,
    INVOLVEMENT_ML,
    INVOLVEMENT_PERCENT,
    ct_score,
    ct_ss,
    is_involved,
    lobe_score,
    region_score,
)

BIG_ML = 10.0
shares = st.floats(0, 100)


@pytest.mark.parametrize(
    ("extent", "score"),
    [
        (0.499, 0),
        (0.5, 1),
        (4.999, 1),
        (5, 2),
        (25, 2),
        (25.001, 3),
        (25.5, 3),
        (26, 3),
        (49, 3),
        (49.999, 3),
        (50, 4),
        (75, 4),
        (75.001, 5),
        (100, 5),
    ],
)
def test_a_lobe_at_each_boundary(extent: float, score: int) -> None:
    assert lobe_score(extent, BIG_ML) == score


@pytest.mark.parametrize(("extent", "score"), [(0.499, 0), (0.5, 1), (49.999, 1), (50, 2), (100, 2)])
def test_a_region_at_each_boundary(extent: float, score: int) -> None:
    assert region_score(extent, BIG_ML) == score


def test_noise_involves_nothing_whatever_its_share() -> None:
    assert is_involved(INVOLVEMENT_PERCENT, INVOLVEMENT_ML)
    assert not is_involved(100, INVOLVEMENT_ML - 1e-9)
    assert not is_involved(INVOLVEMENT_PERCENT - 1e-9, 1000)
    assert lobe_score(60, INVOLVEMENT_ML / 2) == 0
    assert region_score(60, INVOLVEMENT_ML / 2) == 0


def test_the_sums_reach_from_nothing_to_everything() -> None:
    assert ct_score([(0.0, 0.0)] * 5) == ct_ss([(0.0, 0.0)] * 20) == 0
    assert ct_score([(100.0, 900.0)] * 5) == CT_SCORE_MAXIMUM
    assert ct_ss([(100.0, 200.0)] * 20) == CT_SS_MAXIMUM


@pytest.mark.parametrize(("score", "parts"), [(ct_score, 4), (ct_ss, 19)])
def test_a_missing_part_is_no_lower_score(score: object, parts: int) -> None:
    with pytest.raises(ValueError, match="needs"):
        score([(100.0, 900.0)] * parts)  # type: ignore[operator]


@pytest.mark.parametrize("extent", [-0.1, 100.1, float("nan")])
def test_what_is_no_share_is_refused(extent: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        lobe_score(extent, BIG_ML)
    with pytest.raises(ValueError, match="between 0 and 100"):
        region_score(extent, BIG_ML)


@given(shares, shares)
def test_a_score_never_falls_when_a_lesion_grows(one: float, other: float) -> None:
    low, high = sorted((one, other))
    lobe_ml = 800.0
    assert lobe_score(low, low / 100 * lobe_ml) <= lobe_score(high, high / 100 * lobe_ml)
    assert region_score(low, low / 100 * lobe_ml) <= region_score(high, high / 100 * lobe_ml)

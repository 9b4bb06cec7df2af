"""A model's measured error and its doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dicomnode.segment.confidence import SURE, SUSPECTED, ErrorModel, doubt_in_place, error_bounds

ERRORS = tuple(round(-1.0 + 0.1 * step, 1) for step in range(31))
"""31 cases from -1.0 to 2.0."""

ERROR = ErrorModel(
    low_probability=0.2,
    high_probability=0.8,
    least_spread=0.3,
    least_piece_spread=0.1,
    lesion_errors=ERRORS,
    weight_errors=ERRORS,
    lobe_sd=0.5,
    region_sd=0.8,
    held_out="31 cases",
    thick_mm=(5.0, 10.0),
    thick_bias_percent=(5.0, 24.0),
)


def test_doubt_is_what_a_low_and_a_high_probability_find_within_the_lungs() -> None:
    levels = np.array([[[0, 39, 40, 159, 160, 200, 200]]], np.uint8)
    labels = np.array([[[1, 1, 1, 2, 3, 2, 0]]], np.uint8)
    doubt_in_place(levels, labels, 40, 160)
    assert levels.tolist() == [[[0, 0, SUSPECTED, SUSPECTED, SURE, SURE, 0]]]


def test_the_spread_is_of_roots_and_never_below_the_least() -> None:
    assert ERROR.spread(25.0, 9.0) == pytest.approx(2.0)
    assert ERROR.spread(4.0, 4.0) == ERROR.spread(0.0, 0.0) == ERROR.least_spread
    assert ERROR.spread(0.0, 0.0, is_piece=True) == ERROR.least_piece_spread


def test_thick_slices_change_what_was_measured_on_them() -> None:
    assert ERROR.thick_share(5.0) == pytest.approx(0.05)
    assert ERROR.thick_share(7.5) == pytest.approx(0.145)
    assert ERROR.thick_share(10.0) == ERROR.thick_share(20.0) == pytest.approx(0.24)
    assert replace(ERROR, thick_mm=(), thick_bias_percent=()).thick_share(10.0) == 0


def test_bounds_hold_as_many_further_cases_as_they_promise_whatever_the_distribution() -> None:
    rng = np.random.default_rng(0)
    for count, promised in ((20, 19 / 21), (44, 43 / 45), (199, 0.95)):
        held = []
        for _ in range(2000):
            *errors, further = rng.exponential(1.0, count + 1) - 0.5
            low, high = error_bounds(sorted(errors))
            held.append(low <= further <= high)
        assert np.mean(held) == pytest.approx(promised, abs=0.02)
    assert error_bounds([0.5, 1.0] * 10) == (0.0, 1.0), "what was found always lies between"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low_probability": 0.8, "high_probability": 0.2}, "low < high"),
        ({"lobe_sd": -0.1}, "negative"),
        ({"least_spread": 0.0}, "positive"),
        ({"lesion_errors": ERRORS[::-1]}, "rise"),
        ({"ggo_errors": ERRORS[:19]}, "20 cases"),
        ({"lesion_errors": ()}, "every case"),
        ({"weight_errors": ERRORS[1:]}, "every case"),
        ({"thick_mm": (10.0, 5.0)}, "rise"),
        ({"thick_mm": (5.0,)}, "as many"),
    ],
)
def test_an_error_that_cannot_be_is_refused(changes: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(ERROR, **changes)  # type: ignore[arg-type]

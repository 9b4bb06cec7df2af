"""How far a cohort is, and how long it still takes."""

from __future__ import annotations

import pytest

from dicomnode.cohort.journal import Outcome, State, Work
from dicomnode.cohort.meter import Meter, duration

WORK = [Work(1, "a", 100, ""), Work(2, "b", 300, "")]


def test_the_time_left_counts_slices_not_series() -> None:
    now = 0.0
    meter = Meter(WORK, lambda: now)
    assert meter.seconds_left is None
    now = 100.0
    meter.finish(WORK[0], Outcome(State.REFUSED, "gap", "x"))
    assert meter.seconds_left == pytest.approx(300.0)
    assert meter.in_words() == "series 2 of 2, 1 refused, 5 min left"
    meter.watch(WORK[1], "measure", 0.0)
    assert meter.fraction == pytest.approx((100 + 300 * 0.9) / 400)
    meter.finish(WORK[1], Outcome(State.FAILED, "analysis_failed", "x"))
    assert meter.in_words() == "series 2 of 2, 1 refused, 1 failed, 0 s left (measure)"


def test_durations_in_words() -> None:
    told = [duration(seconds) for seconds in (0.4, 45, 95, 3540, 18_600, 273_600)]
    assert told == ["0 s", "45 s", "2 min", "59 min", "5 h 10 min", "3 d 4 h"]

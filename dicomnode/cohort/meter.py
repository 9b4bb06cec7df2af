"""How far a cohort is and how long it still takes, counted in slices: series differ much in size."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from dicomnode.analysis import stage_fraction
from dicomnode.cohort.journal import Outcome, State, Work

FIRST_ESTIMATE_SECONDS = 10.0


class Meter:
    """Progress over all series in hand; may be told of it from several threads.

    Parameters
    ----------
    work:
        All series that will be analyzed.
    clock:
        Seconds, never going back.
    """

    def __init__(self, work: Sequence[Work], clock: Callable[[], float] = time.monotonic) -> None:
        self._total = sum(one.files for one in work)
        self._series = len(work)
        self._clock = clock
        self._begin = clock()
        self._lock = threading.Lock()
        self._slices_done = 0
        self._in_hand: dict[int, float] = {}
        self._outcomes = dict.fromkeys(State, 0)
        self._stage = ""

    def watch(self, work: Work, stage: str, fraction: float) -> None:
        """A series is in ``stage``, which is done to ``fraction``."""
        with self._lock:
            self._in_hand[work.series] = work.files * stage_fraction(stage, fraction)
            self._stage = stage

    def finish(self, work: Work, outcome: Outcome) -> None:
        """A series is done."""
        with self._lock:
            self._in_hand.pop(work.series, None)
            self._slices_done += work.files
            self._outcomes[outcome.state] += 1

    @property
    def fraction(self) -> float:
        """Part of all slices that is done, 0 to 1."""
        with self._lock:
            return (self._slices_done + sum(self._in_hand.values())) / max(self._total, 1)

    @property
    def seconds_left(self) -> float | None:
        """What the rest takes at the speed so far; ``None`` before there is one."""
        elapsed, done = self._clock() - self._begin, self.fraction
        if elapsed < FIRST_ESTIMATE_SECONDS or done <= 0:
            return None
        return elapsed * (1 - done) / done

    def in_words(self) -> str:
        """``series 12 of 3000, 2 refused, 1 failed, 5 h 10 min left (lesions)``."""
        done = sum(self._outcomes.values())
        parts = [f"series {min(done + 1, self._series)} of {self._series}"]
        parts += [
            f"{self._outcomes[state]} {state}"
            for state in (State.REFUSED, State.FAILED)
            if self._outcomes[state]
        ]
        left = self.seconds_left
        parts.append(f"{duration(left)} left" if left is not None else "estimating the time left")
        return ", ".join(parts) + (f" ({self._stage})" if self._stage else "")


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``5 h 10 min`` or ``3 d 4 h``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"

"""What a worker does with a series that is still arriving: decode it, and segment it before it is complete.

Slices are decoded as they come. When they seem to be all, since their association is over or nothing came
for a while, the ordinary pipeline runs on them as far as the measurements; if the node then asks for exactly
these files, that is the answer. When the lungs lie behind the slices that come, the pipeline runs on what is
there; what it finds is found again by the digest of its input (:mod:`dicomnode.segment.stages`). Nothing is
ever taken over for other files than it was made from, so the result is what it would be without.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dicomnode.arriving_series import ArrivingSeries
from dicomnode.assemble.decoded import DecodedSlices
from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.refusal import SeriesRefusedError
from dicomnode.pipeline import Prepared, prepare_series
from dicomnode.segment.segmenter import Segmenter

LOGGER = logging.getLogger(__name__)

NICENESS = 5
"""A third of the processor's time against each thread that isn't nice."""

STAGES_KEPT = 4
MOST_SERIES = 4
FORGET_SECONDS = 900.0
PATIENCE_SECONDS = 20.0
"""The longest that the node's request waits for work on the same files that has begun."""

LOOK_SECONDS = 0.5
LEAST_CORES = 0.7
"""It doesn't wait for work that gets less of the processor: others are busy, and nice work is starved."""


class _InterruptedError(Exception):
    """Something else comes first."""


class EarlyWork:
    """A thread of low priority beside the worker's own; it rests while the worker serves a request.

    Parameters
    ----------
    segmenter:
        Gives the loaded models; None as long as there are none.
    """

    def __init__(self, segmenter: Callable[[], Segmenter | None]) -> None:
        self.decoded = DecodedSlices()
        self._segmenter = segmenter
        self._series: dict[str, ArrivingSeries] = {}
        self._changed = threading.Condition()
        self._paused = False
        self._busy_with: frozenset[Path] | None = None
        self._prepared: tuple[frozenset[Path], Prepared] | None = None
        self._thread = threading.Thread(target=self._run, name="early-work", daemon=True)

    def notice(self, kind: str, series_id: str, path: str = "") -> None:
        """The node kept the instance in ``path`` (``arrived``), or the association is over (``ended``)."""
        with self._changed:
            series = self._series.setdefault(series_id, ArrivingSeries())
            if kind == "arrived":
                series.arrived(Path(path))
            else:
                series.ended = True
            self._forget_old()
            if not self._thread.ident:
                self._thread.start()
            self._changed.notify_all()

    def pause(self) -> None:
        """A request comes first: begin nothing, and stop at the next step of what is being done."""
        with self._changed:
            self._paused = True

    def prepared(self, paths: Sequence[Path]) -> Prepared | None:
        """The series of exactly these files if it is prepared, or being prepared: then once it is."""
        wanted = frozenset(paths)
        with self._changed:
            began, used = time.monotonic(), time.process_time()
            while self._busy_with == wanted and time.monotonic() - began < PATIENCE_SECONDS:
                self._changed.wait(LOOK_SECONDS)
                passed = time.monotonic() - began
                if passed >= LOOK_SECONDS and time.process_time() - used < LEAST_CORES * passed:
                    break
            self._paused = True
            known = self._prepared
        return known[1] if known is not None and known[0] == wanted else None

    def wait_until_idle(self) -> None:
        """Return when no early work runs: networks are not for two threads at once."""
        with self._changed:
            self._changed.wait_for(lambda: self._busy_with is None)

    def resume(self, done: Sequence[Path] = ()) -> None:
        """Go on; what was decoded and prepared of the files ``done`` isn't needed any more."""
        finished = frozenset(done)
        with self._changed:
            for series_id, series in list(self._series.items()):
                if finished & series.paths:
                    self._drop(series_id)
            if finished:
                self._prepared = None
                if (segmenter := self._segmenter()) is not None:
                    segmenter.memory.clear()
            self._paused = False
            self._changed.notify_all()

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            with self._changed:
                while (chosen := self._choose()) is None:
                    self._changed.wait(self._seconds_to_wait())
                series, path = chosen
                self._busy_with = frozenset() if path else series.key
            try:
                if path is not None:
                    self._decode(series, path)
                else:
                    self._prepare(series)
            except _InterruptedError:
                pass
            except Exception as error:  # early work is worth no attempt of the series
                LOGGER.warning("early work failed: %s", type(error).__name__)
                series.give_up()
            finally:
                with self._changed:
                    self._busy_with = None
                    self._changed.notify_all()

    def _choose(self) -> tuple[ArrivingSeries, Path | None] | None:
        """A slice to decode, else a series to segment; the latest first."""
        if self._paused:
            return None
        latest_first = sorted(self._series.values(), key=lambda series: -series.last_arrival)
        for series in latest_first:
            if series.pending:
                return series, series.pending.popleft()
        if self._segmenter() is None:
            return None
        return next(((series, None) for series in latest_first if series.is_due(time.monotonic())), None)

    def _seconds_to_wait(self) -> float | None:
        if self._paused:
            return None
        now = time.monotonic()
        return min((series.seconds_to_wait(now) for series in self._series.values()), default=None)

    def _decode(self, series: ArrivingSeries, path: Path) -> None:
        try:
            decoded = self.decoded.add(path)
        except FileNotFoundError:
            series.missing(path)
            return
        series.decoded(path, decoded)

    def _prepare(self, series: ArrivingSeries) -> None:
        segmenter = self._segmenter()
        assert segmenter is not None  # chosen only then
        segmenter.memory.capacity = STAGES_KEPT
        key = series.begin()
        self._prepared = None

        def go_on(stage: str, _fraction: float) -> None:
            if self._paused and self._busy_with == key:
                raise _InterruptedError
            self._decode_meanwhile()
            if stage == "measure" and series.key != key:
                raise _InterruptedError  # the steps are remembered, the figures would be others

        try:
            prepared = prepare_series(sorted(key), segmenter, go_on, self.decoded)
        except (SeriesRefusedError, AssembleError):
            series.cannot_be_prepared()
            return
        with self._changed:
            self._prepared = (key, prepared)

    def _decode_meanwhile(self) -> None:
        while not self._paused:
            with self._changed:
                waiting = next((series for series in self._series.values() if series.pending), None)
                if waiting is None:
                    return
                path = waiting.pending.popleft()
            self._decode(waiting, path)

    def _forget_old(self) -> None:
        now = time.monotonic()
        by_age = sorted(self._series, key=lambda series_id: self._series[series_id].last_arrival)
        for series_id in by_age[:-1]:
            too_many = len(self._series) > MOST_SERIES
            if too_many or now - self._series[series_id].last_arrival > FORGET_SECONDS:
                self._drop(series_id)

    def _drop(self, series_id: str) -> None:
        for path in self._series.pop(series_id).paths:
            self.decoded.drop(path)

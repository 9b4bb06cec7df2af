"""When has a series arrived completely?

A series is complete when nothing of it has come for the quiet time and no association that sent a part of
it is still open; or, if such an association is kept open without sending, after the deadline.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from dicomnode.spool.errors import LedgerError, LedgerUnavailableError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.states import SeriesState

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompletenessSettings:
    """Times in seconds since the last new instance of the series.

    Parameters
    ----------
    quiet_seconds:
        Enough when no association holds the series open.
    deadline_seconds:
        Enough in any case.
    """

    quiet_seconds: float = 10.0
    deadline_seconds: float = 900.0

    def __post_init__(self) -> None:
        if not 0 < self.quiet_seconds <= self.deadline_seconds:
            raise ValueError("quiet_seconds must be positive and not longer than deadline_seconds")


@dataclass
class _Arrival:
    last_received: float | None = None
    holders: set[Hashable] = field(default_factory=set)


class CompletenessWatch:
    """Marks series complete in the ledger; one thread that sleeps until the next one is due."""

    def __init__(
        self,
        ledger: Ledger,
        settings: CompletenessSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._arrivals: dict[str, _Arrival] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, with the series that a previous run left in ``receiving``; their quiet time begins now."""
        now = self._clock()
        with self._changed:
            for series in self._ledger.list_series(SeriesState.RECEIVING):
                self._arrivals[series.id] = _Arrival(last_received=now)
        self._thread = threading.Thread(target=self._run, name="completeness", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; series that are not complete stay in ``receiving`` for the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def reload(self, settings: CompletenessSettings) -> None:
        """Other times, for the series that are arriving, too."""
        with self._changed:
            self._settings = settings
            self._changed.notify_all()

    def hold(self, series_id: str, association: Hashable) -> None:
        """An instance is about to be kept; its series isn't complete before the association ends."""
        with self._changed:
            self._arrivals.setdefault(series_id, _Arrival()).holders.add(association)

    def received(self, series_id: str) -> None:
        """A new instance of the series was kept: its quiet time begins again."""
        with self._changed:
            arrival = self._arrivals.setdefault(series_id, _Arrival())
            was_waiting = arrival.last_received is not None
            arrival.last_received = self._clock()
            if not was_waiting:
                self._changed.notify_all()

    def association_ended(self, association: Hashable) -> None:
        """The association can bring nothing more."""
        with self._changed:
            for series_id, arrival in list(self._arrivals.items()):
                arrival.holders.discard(association)
                if arrival.last_received is None and not arrival.holders:
                    del self._arrivals[series_id]  # nothing new of it was kept
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                complete, next_due = self._look()
                if not complete:
                    self._changed.wait(next_due)
                # Under the lock: hold() waits, so an instance that comes now is a late one in the ledger.
                for series_id, decision in complete:
                    self._mark(series_id, decision)

    def _look(self) -> tuple[list[tuple[str, str]], float | None]:
        """Series that are complete now, with the decision; and the seconds until the next one may be."""
        now = self._clock()
        complete, waits = [], []
        for series_id, arrival in list(self._arrivals.items()):
            if arrival.last_received is None:
                continue
            quiet = now - arrival.last_received
            limit = self._settings.deadline_seconds if arrival.holders else self._settings.quiet_seconds
            if quiet < limit:
                waits.append(limit - quiet)
                continue
            complete.append((series_id, self._decision(quiet, held=bool(arrival.holders))))
            arrival.last_received = None
            if not arrival.holders:
                del self._arrivals[series_id]
        return complete, min(waits, default=None)

    def _decision(self, quiet: float, *, held: bool) -> str:
        if held:
            return f"deadline: nothing new for {quiet:.0f} s although an association is still open"
        return f"quiet time: nothing new for {quiet:.1f} s and no association open"

    def _mark(self, series_id: str, decision: str) -> None:
        try:
            self._ledger.mark_complete(series_id, decision)
        except LedgerUnavailableError as error:
            LOGGER.error("series not marked complete yet: %s", error, extra={"series": series_id})
            self._arrivals.setdefault(series_id, _Arrival()).last_received = self._clock()
            return
        except LedgerError as error:
            LOGGER.error("series not marked complete: %s", error, extra={"series": series_id})
            return
        LOGGER.info("series complete: %s", decision, extra={"series": series_id})

"""What the node does by the clock: purging, deadlines, alarms."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from dicomnode.config import Config
from dicomnode.spool.deadlines import Deadlines
from dicomnode.spool.errors import LedgerError, SpoolError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.purging import PURGED_BY_RETENTION
from dicomnode.spool.records import SeriesRecord
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState

LOGGER = logging.getLogger(__name__)

ROUND_SECONDS = 30.0
DAY_SECONDS = 86400.0
FAULT_SECONDS = 120.0
CLOCK_JUMP_SECONDS = 3600.0
"""A clock that gains so much on the one that never jumps is not trusted with deleting until a restart."""

WAITING = (
    SeriesState.RECEIVING,
    SeriesState.COMPLETE,
    SeriesState.ANALYZING,
    SeriesState.DELIVERING,
    SeriesState.DELIVERED,
)
FAULTY_WHEN_OVERDUE = (SeriesState.RECEIVING, SeriesState.ANALYZING)
"""Here a loop of the node itself ends the waiting, so an overdue series means that the loop hangs."""

ALARMS = {
    SeriesState.RECEIVING: "the series was not marked complete in time",
    SeriesState.COMPLETE: "the series waits for a worker",
    SeriesState.ANALYZING: "the analysis doesn't end",
    SeriesState.DELIVERING: "results are undelivered; `dicomnode status` names the destination",
    SeriesState.DELIVERED: "a destination has not promised to keep the results",
}


@dataclass(frozen=True)
class Overdue:
    """A series that stays in its state for longer than it should."""

    series: SeriesRecord
    since: float

    @property
    def sentence(self) -> str:
        """What is the matter."""
        return ALARMS[self.series.state]


def deadlines_of(config: Config) -> Deadlines:
    """How long a series may stay in a state; the loops that end the waiting get a minute or two more."""
    alarms = [destination.alarm_seconds for destination in config.destination]
    if config.fhir.url:
        alarms.append(config.fhir.alarm_seconds)
    alarm = min(alarms, default=3600.0)
    return Deadlines(
        receiving=config.series.deadline_seconds + 60,
        complete=config.analysis.waiting_alarm_seconds,
        analyzing=config.analysis.timeout_seconds + 120,
        delivering=alarm,
        delivered=alarm,
    )


def overdue_series(ledger: Ledger, deadlines: Deadlines, now: float) -> tuple[Overdue, ...]:
    """Every series past its deadline, with the moment at which it was."""
    found = []
    for series in ledger.list_series(*WAITING):
        awaits = series.state is SeriesState.DELIVERED and ledger.awaits_commitment(series.id)
        until = deadlines.until(series, awaits_commitment=awaits)
        if until is not None and until < now:
            found.append(Overdue(series, until))
    return tuple(found)


class Housekeeping:
    """One thread that looks around every :data:`ROUND_SECONDS`, and at once when a purge is asked for.

    Parameters
    ----------
    retention_days:
        After this, finished series are purged and undelivered ones fail; 0 for never.
    """

    def __init__(
        self,
        spool: Spool,
        deadlines: Deadlines,
        retention_days: float,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._deadlines = deadlines
        self._retention_seconds = retention_days * DAY_SECONDS
        self._clock = clock
        self._clock_ahead = clock() - time.monotonic()
        self._clock_jumped = False
        self._told: set[tuple[str, SeriesState, int]] = set()
        self._overdue: dict[tuple[str, SeriesState, float], float] = {}
        self.overdue: tuple[Overdue, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the purge in hand."""
        self._stopping.set()
        self._spool.ledger.database.announce()
        self._thread.join()

    def reload(self, deadlines: Deadlines, retention_days: float) -> None:
        """Other times, from the next round on."""
        self._deadlines = deadlines
        self._retention_seconds = retention_days * DAY_SECONDS

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    @property
    def hanging(self) -> tuple[str, ...]:
        """Series that show that a loop of the node hangs; the watchdog restarts it then.

        They are overdue for some time on the clock that never jumps, too.
        """
        patience = time.monotonic() - FAULT_SECONDS
        return tuple(key[0] for key, seen in self._overdue.items() if seen < patience)

    def look_around(self) -> None:
        """One round.

        Raises
        ------
        SpoolError
            If the ledger can't be read or written now.
        """
        now = self._clock()
        self._purge_requested()
        if self._retention_seconds and self._clock_is_trusted(now):
            self._purge_old(now)
            self._give_up_old(now)
        self._spool.ledger.outbox.forget_old_refusals()
        overdue = self.overdue = overdue_series(self._spool.ledger, self._deadlines, now)
        faults = [one.series for one in overdue if one.series.state in FAULTY_WHEN_OVERDUE]
        keys = [(series.id, series.state, series.state_since) for series in faults]
        self._overdue = {key: self._overdue.get(key, time.monotonic()) for key in keys}
        for one in overdue:
            if one.series.state not in FAULTY_WHEN_OVERDUE or one.series.id in self.hanging:
                self._tell(one)

    def _clock_is_trusted(self, now: float) -> bool:
        if not self._clock_jumped and now - time.monotonic() - self._clock_ahead > CLOCK_JUMP_SECONDS:
            self._clock_jumped = True
            LOGGER.error("the clock of this machine jumped ahead; nothing is purged by age until a restart")
        return not self._clock_jumped

    def _run(self) -> None:
        database = self._spool.ledger.database
        while not self._stopping.is_set():
            try:
                self.look_around()
            except SpoolError as error:
                LOGGER.error("housekeeping was interrupted: %s", error)
            except Exception as error:  # whatever it is, this thread must go on
                LOGGER.error("housekeeping was interrupted: unexpected %s", type(error).__name__)
            next_round = time.monotonic() + ROUND_SECONDS
            seen = database.version
            while not self._stopping.is_set() and (remaining := next_round - time.monotonic()) > 0:
                seen = database.wait(seen, remaining)
                if self._spool.ledger.purge_requests():
                    break

    def _purge_requested(self) -> None:
        for series in self._spool.ledger.purge_requests():
            self._purge(series, "asked for")

    def _purge_old(self, now: float) -> None:
        for series in self._spool.ledger.purgeable(PURGED_BY_RETENTION, now - self._retention_seconds):
            self._purge(series, "retention time over")

    def _purge(self, series: SeriesRecord, why: str) -> None:
        extra = {"series": series.id}
        try:
            self._spool.purge(series.id)
        except LedgerError as error:  # it has changed since
            self._spool.ledger.forget_purge_request(series.id)
            LOGGER.info("not purged: %s", error, extra=extra)
        else:
            LOGGER.info("purged: %s", why, extra=extra)

    def _give_up_old(self, now: float) -> None:
        for series in self._spool.ledger.list_series(SeriesState.DELIVERING):
            if series.state_since < now - self._retention_seconds:
                days = (now - series.state_since) / DAY_SECONDS
                detail = f"not delivered in {days:.0f} days; dicomnode retry {series.id} tries again"
                self._spool.ledger.outbox.give_up(series.id, detail)
                LOGGER.error("series failed: %s", detail, extra={"series": series.id})

    def _tell(self, one: Overdue) -> None:
        """Once a series and state."""
        key = (one.series.id, one.series.state, one.series.generation)
        if key not in self._told:
            self._told.add(key)
            LOGGER.error(
                "overdue: %s", one.sentence, extra={"series": one.series.id, "state": one.series.state.value}
            )

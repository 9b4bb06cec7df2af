"""When has a series arrived completely? The watch over all that are arriving."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable

from dicomnode.receive.count_source import Inquiries, Source
from dicomnode.receive.evidence import Opinion, Says
from dicomnode.receive.judge import Arrival, CompletenessSettings, Judge, Judgement
from dicomnode.spool.errors import LedgerError, LedgerUnavailableError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.states import SeriesState

LOGGER = logging.getLogger(__name__)

_LEDGER_AGAIN_SECONDS = 1.0


class CompletenessWatch:
    """Marks series complete in the ledger; one thread that sleeps until the next one is due.

    Parameters
    ----------
    source:
        Whom to ask how many instances a series has.
    clock:
        Seconds that never jump.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: CompletenessSettings,
        *,
        source: Source | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._inquiries = None if source is None else Inquiries(ledger, source, self._answered)
        self._judge = Judge(ledger, settings, None if self._inquiries is None else self._inquiries.ask)
        self._clock = clock
        self._arrivals: dict[str, Arrival] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, with the series that a previous run left in ``receiving``; their quiet time begins now."""
        now = self._clock()
        with self._changed:
            for series in self._ledger.list_series(SeriesState.RECEIVING):
                self._arrivals[series.id] = Arrival(last_received=now, released=False)
        if self._inquiries is not None:
            self._inquiries.start()
        self._thread = threading.Thread(target=self._run, name="completeness", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; series that are not complete stay in ``receiving`` for the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._inquiries is not None:
            self._inquiries.stop()

    @property
    def is_alive(self) -> bool:
        """Whether its threads run."""
        asking = self._inquiries is None or self._inquiries.is_alive
        return asking and self._thread is not None and self._thread.is_alive()

    def reload(self, settings: CompletenessSettings) -> None:
        """Other times, for the series that are arriving, too."""
        with self._changed:
            self._judge.settings = settings
            self._changed.notify_all()

    def hold(self, series_id: str, association: Hashable) -> None:
        """An instance is about to be kept; its series isn't complete before the association ends."""
        with self._changed:
            self._arrivals.setdefault(series_id, Arrival()).holders.add(association)

    def received(self, series_id: str) -> None:
        """A new instance of the series was kept: its quiet time begins again."""
        with self._changed:
            arrival = self._arrivals.setdefault(series_id, Arrival())
            was_waiting = arrival.last_received is not None
            arrival.received(self._clock())
            if not was_waiting or arrival.listed:
                self._changed.notify_all()

    def listed(self, series_ids: Iterable[str]) -> None:
        """A sender has asked for storage commitment of instances of these series."""
        with self._changed:
            for series_id in series_ids:
                if series_id in self._arrivals:
                    arrival = self._arrivals[series_id]
                    arrival.listed, arrival.sender = True, None
            self._changed.notify_all()

    def association_ended(self, association: Hashable, *, released: bool) -> None:
        """The association can bring nothing more; ``released``, not aborted, if its sender said so."""
        with self._changed:
            for series_id, arrival in list(self._arrivals.items()):
                if association not in arrival.holders:
                    continue
                arrival.holders.remove(association)
                arrival.released = arrival.released and released
                if arrival.last_received is None and not arrival.holders:
                    del self._arrivals[series_id]  # nothing new of it was kept
            self._changed.notify_all()

    def _answered(self, series_id: str, question: int, opinion: Opinion) -> None:
        """The count source has answered."""
        with self._changed:
            arrival = self._arrivals.get(series_id)
            if arrival is None:
                return
            arrival.answered(question, opinion, self._clock())
            is_news = opinion.says is not Says.COMPLETE and opinion.sentence != arrival.noted
            arrival.noted = opinion.sentence
            self._changed.notify_all()
        if is_news:
            LOGGER.info("count source: %s", opinion.sentence, extra={"series": series_id})
            try:
                self._ledger.note(series_id, opinion.sentence)
            except LedgerError as error:
                LOGGER.error("not noted: %s", error, extra={"series": series_id})

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
            try:
                judgement = self._judge.judge(series_id, arrival, now)
            except LedgerError as error:
                LOGGER.error("not known whether a series is complete: %s", error, extra={"series": series_id})
                judgement = Judgement(wait_seconds=_LEDGER_AGAIN_SECONDS)
            if not judgement.decision:
                waits.append(judgement.wait_seconds)
                continue
            complete.append((series_id, judgement.decision))
            arrival.last_received = None
            if not arrival.holders:
                del self._arrivals[series_id]
        return complete, min(waits, default=None)

    def _mark(self, series_id: str, decision: str) -> None:
        try:
            self._ledger.mark_complete(series_id, decision)
        except LedgerUnavailableError as error:
            LOGGER.error("series not marked complete yet: %s", error, extra={"series": series_id})
            self._arrivals.setdefault(series_id, Arrival(released=False)).last_received = self._clock()
            return
        except LedgerError as error:
            LOGGER.error("series not marked complete: %s", error, extra={"series": series_id})
            return
        LOGGER.info("series complete: %s", decision, extra={"series": series_id})

"""One destination: its objects in order, its circuit breaker, its promises."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from dicomnode.deliver.commitment import CommitmentRequester
from dicomnode.deliver.destination import Destination
from dicomnode.deliver.fhir import post_bundles
from dicomnode.deliver.refusal import Verdict
from dicomnode.deliver.sender import SendOutcome, send_files
from dicomnode.deliver.stow import stow_files
from dicomnode.spool.commitments import LAST_REPEAT_SECONDS
from dicomnode.spool.errors import SpoolError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import DeliveryRecord

LOGGER = logging.getLogger(__name__)

OBJECTS_A_ROUND = 100

NOT_NOW_IN_A_ROW = 5
"""So many objects in a row turned away for now, and the destination as a whole is left alone."""

LOST_AT_ONE_OBJECT = 3
"""So many associations lost at the same object, and it goes behind the others, for the longest wait."""

# How long a thread sleeps at most: a step of the system clock must not delay a delivery for longer.
_LONGEST_WAIT_SECONDS = 60.0

Offered = Sequence[tuple[DeliveryRecord, SendOutcome]]
"""Objects that were offered to a destination together, and what became of them."""

DeliveryObserver = Callable[[Destination, Offered], None]


class Courier:
    """The thread of one destination.

    The circuit breaker is in the ledger, so that it outlasts a restart: after a failure of the destination
    as a whole nothing is tried until its next attempt, then a single object; when that gets through, all.

    Parameters
    ----------
    observe:
        Is told what was offered; what goes wrong with it harms no delivery.
    predecessor:
        Whoever served the destination before and may still wait for an answer.
    """

    def __init__(
        self,
        ledger: Ledger,
        destination: Destination,
        clock: Callable[[], float],
        observe: DeliveryObserver,
        predecessor: Courier | None = None,
    ) -> None:
        self.destination = destination
        self._extra = {"destination": destination.name}
        self._ledger = ledger
        self._clock = clock
        self._observe = observe
        self._predecessor = predecessor
        self._stopping = threading.Event()
        self._told_failing = False
        self._commitment = CommitmentRequester(ledger, destination, clock, hurry=self._has_work)
        self._thread = threading.Thread(target=self._run, name=f"deliver-{destination.name}", daemon=True)

    def start(self) -> None:
        """Begin with what waits."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Finish the object that is on its way, leave the others."""
        self._stopping.set()
        self._ledger.database.announce()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the end."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        if self._predecessor is not None:
            self._predecessor.join()  # else its last object would be sent twice
            self._predecessor = None
        while not self._stopping.is_set():
            try:
                seen = self._ledger.database.version
                if not self._work() and not self._stopping.is_set():
                    self._ledger.database.wait(seen, self._seconds_to_next())
            except Exception as error:  # whatever it is, this thread must go on
                LOGGER.error(
                    "delivery was interrupted: %s",
                    error if isinstance(error, SpoolError) else type(error).__name__,
                    extra=self._extra,
                )
                self._stopping.wait(self.destination.retry.first_seconds)

    def _work(self) -> bool:
        """Deliver what is due, else ask for promises; whether there was something to do."""
        name, now = self.destination.name, self._clock()
        cap = self.destination.retry.cap_seconds
        self._ledger.outbox.bring_forward(name, now + cap, now + max(cap, LAST_REPEAT_SECONDS))
        due = self._ledger.outbox.due(name, now)
        if due:
            half_open = self._ledger.outbox.destination(name).failures > 0
            self._deliver(due[: 1 if half_open else OBJECTS_A_ROUND], half_open)
            return True
        if self._ledger.outbox.destination(name).next_attempt_at > now:
            return False
        return self._commitment.ask()

    def _has_work(self) -> bool:
        return self._stopping.is_set() or bool(self._ledger.outbox.due(self.destination.name, self._clock()))

    def _seconds_to_next(self) -> float:
        outbox, name, now = self._ledger.outbox, self.destination.name, self._clock()
        closed_until = outbox.destination(name).next_attempt_at
        moments = [outbox.next_attempt_at(name)]
        question_at = self._commitment.next_question_at()
        if question_at is not None:
            moments.append(max(question_at, closed_until))
        earliest = min((moment for moment in moments if moment is not None), default=None)
        if earliest is None:
            return _LONGEST_WAIT_SECONDS
        return min(max(0.0, earliest - now), _LONGEST_WAIT_SECONDS)

    def _deliver(self, due: Sequence[DeliveryRecord], half_open: bool) -> None:
        by_path = {self._ledger.directory / delivery.path: delivery for delivery in due}
        current = _Round(half_open)

        def note(outcome: SendOutcome) -> None:
            if not current.ended:
                current.offered.append((by_path[outcome.path], outcome))
                self._note(by_path[outcome.path], outcome, current)

        def should_stop() -> bool:
            return current.ended or self._stopping.is_set()

        try:
            if self.destination.fhir is not None:
                post_bundles(by_path, self.destination.fhir, note, should_stop)
            elif self.destination.stow is not None:
                stow_files(by_path, self.destination.stow, note, should_stop)
            else:
                send_files(
                    by_path, self.destination.peer, note, should_stop, deflate=self.destination.deflate
                )
        finally:
            self._tell(current.offered)

    def _note(self, delivery: DeliveryRecord, outcome: SendOutcome, current: _Round) -> None:
        """Put the outcome of one object into the ledger at once."""
        extra = {"series": delivery.series_id, "kind": delivery.kind, **self._extra}
        match outcome.verdict:
            case Verdict.STORED:
                self._ledger.outbox.succeeded(delivery, outcome.remark)
                if outcome.remark:
                    LOGGER.warning("delivered, with a warning: %s", outcome.remark, extra=extra)
                else:
                    LOGGER.info("delivered", extra=extra)
                self._answers_again(current)
            case Verdict.OBJECT_REFUSED | Verdict.KIND_REFUSED:
                whole_kind = outcome.verdict is Verdict.KIND_REFUSED
                substitute = self._ledger.outbox.refused(delivery, outcome.error, whole_kind=whole_kind)
                LOGGER.warning(
                    "refused for good: %s", outcome.error, extra={**extra, "picture_instead": substitute}
                )
                self._answers_again(current)
            case Verdict.UNREACHABLE:
                self._destination_failed(outcome, current)
            case Verdict.LOST:
                lost = delivery.attempts + 1
                wait = 0.0 if lost < LOST_AT_ONE_OBJECT else self.destination.retry.cap_seconds
                self._object_failed(delivery, outcome, wait, extra)
                self._destination_failed(outcome, current)
            case Verdict.NOT_NOW | Verdict.UNSENDABLE:
                wait = self.destination.retry.delay_seconds(delivery.attempts + 1)
                self._object_failed(delivery, outcome, wait, extra)
                if outcome.verdict is Verdict.NOT_NOW:
                    current.not_now += 1
                    if current.half_open or current.not_now >= NOT_NOW_IN_A_ROW:
                        self._destination_failed(outcome, current)

    def _object_failed(
        self, delivery: DeliveryRecord, outcome: SendOutcome, wait: float, extra: dict[str, str]
    ) -> None:
        self._ledger.outbox.failed(delivery, outcome.error, self._clock() + wait)
        if delivery.attempts == 0:  # the first time tells it all
            LOGGER.warning("not delivered, next attempt in %.0f s: %s", wait, outcome.error, extra=extra)

    def _destination_failed(self, outcome: SendOutcome, current: _Round) -> None:
        """Open the circuit breaker."""
        current.ended = True
        name, retry = self.destination.name, self.destination.retry
        failures = self._ledger.outbox.destination(name).failures + 1
        wait = outcome.retry_after_seconds or retry.delay_seconds(failures)
        wait = min(wait, retry.cap_seconds)
        self._ledger.outbox.destination_failed(name, outcome.error, self._clock() + wait)
        if not self._told_failing:
            self._told_failing = True
            LOGGER.warning(
                "destination fails, results wait; tried again every %g s at the latest: %s",
                retry.cap_seconds,
                outcome.error,
                extra=self._extra,
            )

    def _answers_again(self, current: _Round) -> None:
        """Close the circuit breaker."""
        current.not_now = 0
        if current.half_open or self._told_failing:
            current.half_open = False
            self._told_failing = False
            self._ledger.outbox.destination_answers(self.destination.name)
            LOGGER.info("destination works again", extra=self._extra)

    def _tell(self, offered: Offered) -> None:
        try:
            self._observe(self.destination, offered)
        except Exception as error:
            LOGGER.error("delivery not noted: unexpected %s", type(error).__name__, extra=self._extra)


class _Round:
    """Objects that are offered together."""

    def __init__(self, half_open: bool) -> None:
        self.half_open = half_open
        self.ended = False
        self.not_now = 0
        self.offered: list[tuple[DeliveryRecord, SendOutcome]] = []

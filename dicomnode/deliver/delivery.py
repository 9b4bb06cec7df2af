"""Results to their destinations, tried until they are there."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dicomnode.deliver.peer import Peer
from dicomnode.deliver.sender import SendOutcome, send_files
from dicomnode.spool.errors import SpoolError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import DeliveryRecord

LOGGER = logging.getLogger(__name__)

# How long a thread sleeps at most: a step of the system clock must not delay a delivery for longer.
_LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off: ``first_seconds``, then ``factor`` times longer, at most ``cap_seconds``."""

    first_seconds: float = 5.0
    factor: float = 2.0
    cap_seconds: float = 900.0

    def __post_init__(self) -> None:
        if self.first_seconds <= 0 or self.factor < 1 or self.cap_seconds < self.first_seconds:
            raise ValueError("retry needs 0 < first_seconds <= cap_seconds and factor >= 1")

    def delay_seconds(self, attempts: int, jitter: Callable[[], float] = random.random) -> float:
        """Waiting time after ``attempts`` failures; up to a quarter shorter, to stay out of step."""
        delay = self.first_seconds
        for _ in range(attempts - 1):
            if delay >= self.cap_seconds:
                break
            delay *= self.factor
        return min(delay, self.cap_seconds) * (1 - jitter() / 4)


@dataclass(frozen=True)
class Destination:
    """A storage SCP that gets results.

    Parameters
    ----------
    name:
        Its name in the ledger; a destination that is renamed doesn't get what waits under the old name.
    accepts:
        Kinds of result object: ``seg``, ``sr``, ``sc``.
    commitment:
        Whether it is asked to promise that it keeps them (storage commitment, PS3.4 Annex J).
    """

    name: str
    peer: Peer
    accepts: tuple[str, ...] = ("seg", "sr")
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    commitment: bool = False


Offered = Sequence[tuple[DeliveryRecord, SendOutcome]]
"""Objects that were offered to a destination together, and what became of them."""

DeliveryObserver = Callable[[Destination, Offered], None]


class DeliveryLoop:
    """One thread a destination, so that one that is down or slow never holds up another.

    Parameters
    ----------
    observe:
        Is told what was offered; what goes wrong with it harms no delivery.
    """

    def __init__(
        self,
        ledger: Ledger,
        destinations: Sequence[Destination],
        *,
        clock: Callable[[], float] = time.time,
        observe: DeliveryObserver = lambda _destination, _offered: None,
    ) -> None:
        self._observe = observe
        self._ledger = ledger
        self._clock = clock
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run, args=(destination,), name=f"deliver-{destination.name}", daemon=True
            )
            for destination in destinations
        ]
        self._names = {destination.name for destination in destinations}

    def start(self) -> None:
        """Begin with what waits since the last run."""
        for backlog in self._ledger.outbox.backlog():
            if backlog.destination not in self._names:
                LOGGER.warning(
                    "results wait for a destination that is not configured",
                    extra={"destination": backlog.destination, "pending": backlog.pending},
                )
        for thread in self._threads:
            thread.start()

    def stop(self, drain_seconds: float = 10.0) -> None:
        """Finish the objects that are on their way, leave the others for the next start."""
        self._stopping.set()
        self._ledger.database.announce()
        deadline = time.monotonic() + drain_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    @property
    def is_alive(self) -> bool:
        """Whether every destination has its thread."""
        return all(thread.is_alive() for thread in self._threads)

    def _run(self, destination: Destination) -> None:
        while not self._stopping.is_set():
            try:
                seen = self._ledger.database.version
                latest = self._clock() + destination.retry.cap_seconds
                self._ledger.outbox.bring_forward(destination.name, latest)
                due = self._ledger.outbox.due(destination.name, self._clock())
                if due:
                    self._deliver(destination, due)
                elif not self._stopping.is_set():
                    self._ledger.database.wait(seen, self._seconds_to_next(destination))
            except Exception as error:  # whatever it is, this thread must go on
                LOGGER.error(
                    "delivery was interrupted: %s",
                    error if isinstance(error, SpoolError) else type(error).__name__,
                    extra={"destination": destination.name},
                )
                self._stopping.wait(destination.retry.first_seconds)

    def _seconds_to_next(self, destination: Destination) -> float:
        next_attempt_at = self._ledger.outbox.next_attempt_at(destination.name)
        if next_attempt_at is None:
            return _LONGEST_WAIT_SECONDS
        return min(max(0.0, next_attempt_at - self._clock()), _LONGEST_WAIT_SECONDS)

    def _deliver(self, destination: Destination, due: Sequence[DeliveryRecord]) -> None:
        by_path = {self._ledger.directory / delivery.path: delivery for delivery in due}
        offered: list[tuple[DeliveryRecord, SendOutcome]] = []

        def note(outcome: SendOutcome) -> None:
            offered.append((by_path[outcome.path], outcome))
            self._note(destination, by_path[outcome.path], outcome)

        try:
            send_files(by_path, destination.peer, progress=note, should_stop=self._stopping.is_set)
        finally:
            self._tell(destination, offered)

    def _tell(self, destination: Destination, offered: Offered) -> None:
        try:
            self._observe(destination, offered)
        except Exception as error:
            LOGGER.error(
                "delivery not noted: unexpected %s",
                type(error).__name__,
                extra={"destination": destination.name},
            )

    def _note(self, destination: Destination, delivery: DeliveryRecord, outcome: SendOutcome) -> None:
        """Put the outcome of one object into the ledger at once."""
        extra = {"series": delivery.series_id, "kind": delivery.kind, "destination": destination.name}
        if outcome.ok:
            self._ledger.outbox.succeeded(delivery)
            LOGGER.info("delivered", extra=extra)
            return
        delay = destination.retry.delay_seconds(delivery.attempts + 1)
        self._ledger.outbox.failed(delivery, outcome.error, self._clock() + delay)
        LOGGER.warning("not delivered, next attempt in %.0f s: %s", delay, outcome.error, extra=extra)

"""Results to their destinations, tried until they are there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from dicomnode.deliver.courier import Courier, DeliveryObserver
from dicomnode.deliver.destination import Destination
from dicomnode.spool.ledger import Ledger

LOGGER = logging.getLogger(__name__)


class DeliveryLoop:
    """One thread a destination, so that one that is down or slow never holds up another.

    Parameters
    ----------
    clock:
        The one that the ledger goes by, too.
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
        self._ledger = ledger
        self._clock = clock
        self._observe = observe
        self._lock = threading.Lock()
        self._couriers = {destination.name: self._courier(destination) for destination in destinations}

    def start(self) -> None:
        """Begin with what waits since the last run."""
        with self._lock:
            self._prepare()
            for courier in self._couriers.values():
                courier.start()

    def stop(self, drain_seconds: float = 10.0) -> None:
        """Finish the objects that are on their way, leave the others for the next start."""
        with self._lock:
            _stop(list(self._couriers.values()), drain_seconds)

    def replace_destinations(self, destinations: Sequence[Destination], drain_seconds: float = 10.0) -> None:
        """Go on with these: what is gone or changed ends first, new and changed ones begin."""
        wanted = {destination.name: destination for destination in destinations}
        with self._lock:
            kept = {
                name: courier
                for name, courier in self._couriers.items()
                if wanted.get(name) == courier.destination
            }
            ended = {name: courier for name, courier in self._couriers.items() if name not in kept}
            self._couriers = kept  # those that end on purpose are missed by nobody
            _stop(list(ended.values()), drain_seconds)
            new = [
                self._courier(destination, ended.get(name))
                for name, destination in wanted.items()
                if name not in kept
            ]
            for courier in new:
                courier.start()
            self._couriers = {**kept, **{courier.destination.name: courier for courier in new}}
            self._prepare()

    @property
    def is_alive(self) -> bool:
        """Whether every destination has its thread."""
        return all(courier.is_alive for courier in list(self._couriers.values()))

    def _courier(self, destination: Destination, predecessor: Courier | None = None) -> Courier:
        return Courier(self._ledger, destination, self._clock, self._observe, predecessor)

    def _prepare(self) -> None:
        """Bring the ledger in line with the destinations there are."""
        destinations = [courier.destination for courier in self._couriers.values()]
        self._ledger.outbox.forget_commitment(
            except_for=[destination.name for destination in destinations if destination.commitment]
        )
        for backlog in self._ledger.outbox.backlog():
            if backlog.destination not in self._couriers:
                LOGGER.warning(
                    "results wait for a destination that is not configured",
                    extra={"destination": backlog.destination, "pending": backlog.pending},
                )


def _stop(couriers: Sequence[Courier], drain_seconds: float) -> None:
    for courier in couriers:
        courier.ask_to_stop()
    deadline = time.monotonic() + drain_seconds
    for courier in couriers:
        courier.join(max(0.0, deadline - time.monotonic()))

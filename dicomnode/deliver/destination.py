"""A system that gets results: where it is, what it takes, how patiently it is tried."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from dicomnode.deliver.fhir import FhirService
from dicomnode.deliver.peer import Peer
from dicomnode.deliver.stow import StowService


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential back-off: ``first_seconds``, then ``factor`` times longer, at most ``cap_seconds``."""

    first_seconds: float = 5.0
    factor: float = 2.0
    cap_seconds: float = 900.0

    def __post_init__(self) -> None:
        if self.first_seconds <= 0 or self.factor < 1 or self.cap_seconds < self.first_seconds:
            raise ValueError("retry needs 0 < first_seconds <= cap_seconds and factor >= 1")

    def delay_seconds(self, failures: int, jitter: Callable[[], float] = random.random) -> float:
        """Waiting time after ``failures`` in a row; up to a quarter shorter, to stay out of step."""
        delay = self.first_seconds
        for _ in range(failures - 1):
            if delay >= self.cap_seconds:
                break
            delay *= self.factor
        return min(delay, self.cap_seconds) * (1 - jitter() / 4)


@dataclass(frozen=True)
class Destination:
    """A storage SCP or STOW-RS service that gets results.

    Parameters
    ----------
    name:
        Its name in the ledger; a destination that is renamed doesn't get what waits under the old name.
    peer:
        Gets the results by C-STORE, and is asked for storage commitment.
    accepts:
        Kinds of result object: ``seg``, ``sr``, ``sc``.
    commitment:
        Whether it is asked to promise that it keeps them (storage commitment, PS3.4 Annex J).
    deflate:
        Whether uncompressed objects go out deflated where it accepts that at negotiation.
    stow:
        Where it is set the results go there instead.
    fhir:
        Where it is set, bundles (kind ``fhir``) are posted there and nothing else goes to this destination.
    """

    name: str
    peer: Peer
    accepts: tuple[str, ...] = ("seg", "sr")
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    commitment: bool = False
    deflate: bool = False
    stow: StowService | None = None
    fhir: FhirService | None = None

"""How each destination does: what waits for it, how it answers, what it refuses."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import Backlog, DestinationRecord, KindRefusal
from dicomnode.terminal import when

DESTINATION_COLUMNS = (
    "Destination",
    "Waiting",
    "Oldest",
    "Failures in a row",
    "Next attempt",
    "Last success",
    "Not committed",
)


@dataclass(frozen=True)
class DestinationState:
    """One destination.

    Parameters
    ----------
    configured:
        Whether the configuration has it (still).
    backlog:
        ``None`` if nothing waits.
    uncommitted:
        Objects delivered that it has not promised to keep, where it is asked to (storage commitment).
    """

    record: DestinationRecord
    configured: bool
    backlog: Backlog | None
    refusals: tuple[KindRefusal, ...]
    uncommitted: int

    @property
    def next_attempt_at(self) -> float | None:
        """``None`` if nothing waits."""
        return None if self.backlog is None else self.backlog.next_attempt_at

    @property
    def last_error(self) -> str:
        """Of the destination, else of what waits for it."""
        return self.record.last_error or (self.backlog.last_error if self.backlog else "")

    def as_json(self) -> dict[str, Any]:
        """For scripts; times are seconds since 1970 UTC."""
        return {
            "name": self.record.name,
            "configured": self.configured,
            "waiting": self.backlog.pending if self.backlog else 0,
            "oldest_created_at": self.backlog.oldest_created_at if self.backlog else None,
            "failures": self.record.failures,
            "next_attempt_at": self.next_attempt_at,
            "last_error": self.last_error,
            "last_success_at": self.record.last_success_at,
            "uncommitted": self.uncommitted,
            "refused_kinds": [
                {
                    "kind": refusal.kind,
                    "for_good": refusal.for_good,
                    "objects": refusal.objects,
                    "reason": refusal.reason,
                    "refused_at": refusal.refused_at,
                }
                for refusal in self.refusals
            ],
        }

    def row(self) -> tuple[object, ...]:
        """For people."""
        waiting, next_at = self.backlog, self.next_attempt_at
        return (
            self.record.name if self.configured else f"{self.record.name} (not configured)",
            waiting.pending if waiting else 0,
            when(waiting.oldest_created_at) if waiting else "",
            self.record.failures,
            "now" if next_at is not None and next_at <= time.time() else when(next_at),
            when(self.record.last_success_at),
            self.uncommitted,
        )

    def sentences(self) -> Iterator[str]:
        """What is wrong, for people."""
        if self.last_error:
            yield f"{self.record.name}: {self.last_error}"
        for refusal in self.refusals:
            done = "isn't sent any more" if refusal.for_good else f"{refusal.objects} times in a row"
            yield f"{self.record.name} refused {refusal.kind}, {done}: {refusal.reason}"


def destination_states(ledger: Ledger, configured: Iterable[str]) -> tuple[DestinationState, ...]:
    """The configured ones in their order, then others for which something waits."""
    names = list(configured)
    backlog = {line.destination: line for line in ledger.outbox.backlog()}
    refusals = ledger.outbox.kind_refusals()
    return tuple(
        DestinationState(
            record=ledger.outbox.destination(name),
            configured=name in names,
            backlog=backlog.get(name),
            refusals=tuple(one for one in refusals if one.destination == name),
            uncommitted=ledger.asked_of_destinations.unpromised(name),
        )
        for name in dict.fromkeys((*names, *backlog))
    )

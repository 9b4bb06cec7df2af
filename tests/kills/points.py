"""The instants at which the daemon is killed, by name."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What the daemon is in the middle of when it is killed."""

    RECEIVING = "while receiving"
    FILE_AND_LEDGER = "between file and ledger"
    LEDGER_AND_ANSWER = "between ledger and answer"
    ANALYZING = "while analyzing"
    DELIVERIES = "between two deliveries"
    COMMITMENT = "between delivery and commitment"
    START_UP = "at start-up"
    ANY = "at any instant"


class Unit(StrEnum):
    """What the passes of a point are counted in; a life brings at least so many of them."""

    ONCE = "once"
    PDU = "PDU"
    INSTANCE = "instance"
    COMMIT = "commit"
    SERIES = "series"
    STEP = "step of one analysis"


class By(StrEnum):
    """Who kills."""

    LAUNCHER = "the daemon's own process, under the launcher"
    PACS = "the PACS, when it has an object and has not answered yet"
    CLOCK = "the harness, after a random time"


@dataclass(frozen=True)
class KillPoint:
    """An instant; with a number it is the n-th time that the daemon comes there."""

    name: str
    phase: Phase
    unit: Unit = Unit.ONCE
    by: By = By.LAUNCHER

    def choose_call(self, rng: random.Random, *, instances: int, series: int) -> int:
        """A number that a life with so many new instances and series surely reaches."""
        most = {
            Unit.ONCE: 1,
            Unit.PDU: 2 * instances,
            Unit.INSTANCE: instances,
            Unit.COMMIT: 5,
            Unit.SERIES: series,
            Unit.STEP: 6,
        }
        return rng.randint(1, most[self.unit])


POINTS = (
    KillPoint("pdu-arriving", Phase.RECEIVING, Unit.PDU),
    KillPoint("file-half-written", Phase.RECEIVING, Unit.INSTANCE),
    KillPoint("file-written", Phase.FILE_AND_LEDGER, Unit.INSTANCE),
    KillPoint("log-not-synced", Phase.RECEIVING),
    KillPoint("row-not-committed", Phase.FILE_AND_LEDGER),
    KillPoint("kept-not-answered", Phase.LEDGER_AND_ANSWER, Unit.INSTANCE),
    KillPoint("series-claimed", Phase.ANALYZING, Unit.SERIES),
    KillPoint("analysis-step", Phase.ANALYZING, Unit.STEP),
    KillPoint("results-not-published", Phase.ANALYZING, Unit.SERIES),
    KillPoint("results-not-recorded", Phase.ANALYZING, Unit.SERIES),
    KillPoint("results-recorded", Phase.DELIVERIES, Unit.SERIES),
    KillPoint("stored-not-answered", Phase.DELIVERIES, Unit.SERIES, By.PACS),
    KillPoint("stored-not-noted", Phase.DELIVERIES, Unit.SERIES),
    KillPoint("delivery-noted", Phase.DELIVERIES, Unit.SERIES),
    KillPoint("ledger-opened", Phase.START_UP),
    KillPoint("spool-checked", Phase.START_UP),
    KillPoint("interrupted-requeued", Phase.START_UP),
    KillPoint("start-up-instant", Phase.START_UP, by=By.CLOCK),
    KillPoint("before-a-commit", Phase.ANY, Unit.COMMIT),
    KillPoint("after-a-commit", Phase.ANY, Unit.COMMIT),
    KillPoint("any-instant", Phase.ANY, by=By.CLOCK),
)

COMMITMENT_POINTS = (
    KillPoint("commitment-not-asked", Phase.COMMITMENT),
    KillPoint("commitment-asked", Phase.COMMITMENT),
    KillPoint("commitment-not-noted", Phase.COMMITMENT),
)
"""For a destination with ``commitment = true`` only."""

"""Is a series complete? The strongest evidence that says anything decides; the functions are in its order."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from dicomnode.receive.evidence import NO_OPINION, Opinion, Says, opinion_of_sender, opinion_of_stack
from dicomnode.spool.ledger import Ledger

SOONEST_QUESTION_SECONDS = 5.0
LATEST_QUESTION_SECONDS = 60.0
"""The count source is asked again after 5, 10, 20, 40, 60, 60 ... s."""


@dataclass(frozen=True)
class CompletenessSettings:
    """Times in seconds since the last new instance of the series.

    Parameters
    ----------
    quiet_seconds:
        Enough when no association holds the series open and stronger evidence says nothing.
    deadline_seconds:
        Enough in any case.
    release_seconds:
        Enough when stronger evidence says that nothing is missing; never longer than ``quiet_seconds``.
    """

    quiet_seconds: float = 10.0
    deadline_seconds: float = 900.0
    release_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.quiet_seconds <= self.deadline_seconds:
            raise ValueError("quiet_seconds must be positive and not longer than deadline_seconds")
        if self.release_seconds <= 0:
            raise ValueError("release_seconds must be positive")

    @property
    def rest_seconds(self) -> float:
        """The shortest quiet in which an association may have been replaced by the next one."""
        return min(self.release_seconds, self.quiet_seconds)


@dataclass
class Arrival:
    """What is known of the arrival of one series since the node runs.

    Parameters
    ----------
    last_received:
        When its last new instance came, by the clock of the watch; ``None`` if none since it was complete.
    holders:
        Open associations that brought something of it.
    released:
        Whether all that ended were released, and none was aborted or forgotten.
    listed:
        Whether a storage commitment request named it.
    question:
        How many new instances came; an answer to a question that was asked before the last one is stale.
    """

    last_received: float | None = None
    holders: set[Hashable] = field(default_factory=set)
    released: bool = True
    listed: bool = False
    question: int = 0
    noted: str = ""
    sender: Opinion | None = None
    sender_again_at: float = 0.0
    asked: bool = False
    asks: int = 0
    ask_again_at: float = 0.0
    source: Opinion | None = None
    stack: Opinion | None = None

    def received(self, now: float) -> None:
        """A new instance came: what was found out before holds no longer."""
        self.last_received = now
        self.question += 1
        self.asks, self.ask_again_at = 0, 0.0
        self.sender = self.source = self.stack = None

    def answered(self, question: int, opinion: Opinion, now: float) -> None:
        """The count source has answered."""
        self.asked = False
        if question != self.question:
            return
        self.source = opinion
        wait = min(SOONEST_QUESTION_SECONDS * 2.0**self.asks, LATEST_QUESTION_SECONDS)
        self.asks, self.ask_again_at = min(self.asks + 1, 10), now + wait


@dataclass(frozen=True)
class Judgement:
    """The decision in words, or how many seconds until the next look."""

    decision: str = ""
    wait_seconds: float = math.inf


class Judge:
    """Weighs the evidence for one series at a time.

    Parameters
    ----------
    ask_source:
        Puts a question to the count source, by series and number of the question; it must not block. The
        answer comes to :meth:`Arrival.answered`. ``None`` without a count source.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: CompletenessSettings,
        ask_source: Callable[[str, int], None] | None = None,
    ) -> None:
        self.settings = settings
        self._ledger = ledger
        self._ask_source = ask_source

    def judge(self, series_id: str, arrival: Arrival, now: float) -> Judgement:
        """What is to be done with a series that is arriving.

        Raises
        ------
        LedgerError
            If the ledger can't be read.
        """
        assert arrival.last_received is not None
        quiet = now - arrival.last_received
        judgement = (
            self._by_sender(series_id, arrival, quiet, now)
            or self._by_source(series_id, arrival, quiet, now)
            or self._by_stack(series_id, arrival, quiet)
            or self._by_time(arrival, quiet)
        )
        rest = self.settings.rest_seconds - quiet
        if judgement.decision or rest <= 0:
            return judgement
        return Judgement(wait_seconds=min(rest, judgement.wait_seconds))

    def _by_sender(self, series_id: str, arrival: Arrival, quiet: float, now: float) -> Judgement | None:
        """Storage commitment: the sender has listed what there is."""
        rest = self.settings.rest_seconds
        if arrival.sender is None:
            look = arrival.listed or quiet >= rest
        else:
            look = arrival.sender.says is Says.MISSING and now >= arrival.sender_again_at
        if look:
            kept = {instance.sop_instance_uid for instance in self._ledger.instances(series_id)}
            arrival.sender = opinion_of_sender(self._ledger.asked_by_others.listings(series_id), kept)
            arrival.sender_again_at = now + rest
        opinion = arrival.sender or NO_OPINION
        if opinion.says is Says.COMPLETE:
            if opinion.at_once or quiet >= rest:
                return Judgement(opinion.sentence)
            return Judgement(wait_seconds=rest - quiet)
        if opinion.says is Says.MISSING:
            return self._missing(opinion, quiet, rest)
        return None

    def _by_source(self, series_id: str, arrival: Arrival, quiet: float, now: float) -> Judgement | None:
        """C-FIND at the count source, when nobody is sending any more."""
        if self._ask_source is None:
            return None
        rest = self.settings.quiet_seconds if arrival.holders else self.settings.rest_seconds
        if quiet < rest:
            return Judgement(wait_seconds=rest - quiet)
        opinion = arrival.source
        if opinion is not None and opinion.says is Says.COMPLETE:
            return Judgement(opinion.sentence)
        if opinion is not None and opinion.says is Says.NOTHING:
            return None
        if not arrival.asked and now >= arrival.ask_again_at:
            arrival.asked = True
            self._ask_source(series_id, arrival.question)
        if opinion is None:
            left = self.settings.deadline_seconds - quiet
            return Judgement(wait_seconds=left) if left > 0 else None
        return self._missing(opinion, quiet, math.inf if arrival.asked else arrival.ask_again_at - now)

    def _by_stack(self, series_id: str, arrival: Arrival, quiet: float) -> Judgement | None:
        """All associations were released, and the slices have no gap."""
        if arrival.holders or not arrival.released:
            return None
        if quiet < self.settings.rest_seconds:
            return Judgement(wait_seconds=self.settings.rest_seconds - quiet)
        if arrival.stack is None:
            positions = [instance.position_mm for instance in self._ledger.instances(series_id)]
            arrival.stack = opinion_of_stack(positions)
        return Judgement(arrival.stack.sentence) if arrival.stack.says is Says.COMPLETE else None

    def _by_time(self, arrival: Arrival, quiet: float) -> Judgement:
        """The quiet time; or the deadline, if an association is kept open without sending."""
        settings = self.settings
        limit = settings.deadline_seconds if arrival.holders else settings.quiet_seconds
        if quiet < limit:
            return Judgement(wait_seconds=limit - quiet)
        if arrival.holders:
            return Judgement(f"deadline: nothing new for {quiet:.0f} s although an association is still open")
        return Judgement(f"quiet time: nothing new for {quiet:.1f} s and no association open")

    def _missing(self, opinion: Opinion, quiet: float, look_again_seconds: float) -> Judgement:
        left = self.settings.deadline_seconds - quiet
        if left <= 0:
            return Judgement(f"deadline: {opinion.sentence}")
        return Judgement(wait_seconds=min(left, max(look_again_seconds, 0.0)))

"""What happens at the front door just now, for the page."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from dicomnode.receive.access import Rejection
from dicomnode.receive.observer import Caller, ReceiveObserver, StoreOutcome
from dicomnode.receive.status import (
    CANNOT_UNDERSTAND,
    DOES_NOT_MATCH_SOP_CLASS,
    OUT_OF_RESOURCES,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
)

SECONDS = 120
"""How far back the curve of throughput goes."""

MOST_TURNED_AWAY = 20
RATE_SECONDS = 10

STATUS_WORDS = {
    SOP_CLASS_NOT_SUPPORTED: "a kind of object that the node doesn't take",
    OUT_OF_RESOURCES: "the disk is too full, or can't be written",
    DOES_NOT_MATCH_SOP_CLASS: "the object isn't what the sender announced",
    CANNOT_UNDERSTAND: "the object can't be read",
}


@dataclass(frozen=True)
class OpenAssociation:
    """An association that is open now; ``since`` in seconds since 1970 UTC."""

    caller: Caller
    since: float
    instances: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class TurnedAway:
    """Somebody or something that was not taken."""

    at: float
    who: str
    what: str
    why: str
    times: int = 1


@dataclass(frozen=True)
class Throughput:
    """Instances and bytes a second, on average of the last ten, and bytes in each of the last 120 seconds."""

    instances: float
    bytes: float
    curve: tuple[int, ...]


class Live(ReceiveObserver):
    """Keeps the last two minutes and the last refusals in memory."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[int, OpenAssociation] = {}
        self._turned_away: deque[TurnedAway] = deque(maxlen=MOST_TURNED_AWAY)
        self._seconds: deque[tuple[int, int, int]] = deque(maxlen=SECONDS + 1)

    def connection_failed(self, address: str, error: BaseException | None) -> None:
        """A connection that never became an association."""
        why = "as many connections as the node takes were open" if error is None else type(error).__name__
        self._note(address, "connection", why)

    def association_rejected(self, caller: Caller, rejection: Rejection) -> None:
        """Somebody who was not let in."""
        self._note(f"{caller.ae_title} at {caller.address}", "association", rejection.sentence)

    def association_established(self, caller: Caller) -> None:
        """One more is open."""
        with self._lock:
            self._open[caller.association] = OpenAssociation(caller, self._clock())

    def association_ended(self, association: int) -> None:
        """One less is open, if it ever was."""
        with self._lock:
            self._open.pop(association, None)

    def instance_answered(self, outcome: StoreOutcome) -> None:
        """An instance came, or was refused."""
        number = outcome.caller.association
        second = int(self._clock())
        with self._lock:
            count, size = 0, 0
            if self._seconds and self._seconds[-1][0] == second:
                _, count, size = self._seconds.pop()
            self._seconds.append((second, count + 1, size + outcome.size))
            if number in self._open:
                one = self._open[number]
                self._open[number] = replace(one, instances=one.instances + 1, bytes=one.bytes + outcome.size)
        if outcome.status != SUCCESS:
            why = STATUS_WORDS.get(outcome.status, f"status {outcome.status:04X}")
            self._note(f"{outcome.caller.ae_title} at {outcome.caller.address}", "instance", why)

    @property
    def associations(self) -> list[OpenAssociation]:
        """Those that are open, the oldest first."""
        with self._lock:
            return sorted(self._open.values(), key=lambda one: one.since)

    @property
    def turned_away(self) -> list[TurnedAway]:
        """The last ones, the newest first; the same thing again and again is one."""
        with self._lock:
            return list(reversed(self._turned_away))

    @property
    def throughput(self) -> Throughput:
        """The last two minutes."""
        now = int(self._clock())
        with self._lock:
            by_second = {second: (count, size) for second, count, size in self._seconds}
        last = [by_second.get(now - ago, (0, 0)) for ago in range(1, RATE_SECONDS + 1)]
        curve = tuple(by_second.get(now - ago, (0, 0))[1] for ago in range(SECONDS, 0, -1))
        return Throughput(
            sum(count for count, _ in last) / RATE_SECONDS,
            sum(size for _, size in last) / RATE_SECONDS,
            curve,
        )

    def _note(self, who: str, what: str, why: str) -> None:
        one = TurnedAway(self._clock(), who, what, why)
        with self._lock:
            last = self._turned_away[-1] if self._turned_away else None
            if last and (last.who, last.what, last.why) == (who, what, why):
                self._turned_away[-1] = replace(one, times=last.times + 1)
            else:
                self._turned_away.append(one)

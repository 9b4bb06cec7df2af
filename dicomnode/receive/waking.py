"""Waking the threads of an association when there is something to do.

pynetdicom 3.0.4 has two threads an association that look for work a thousand times a second each; seventy
connections that do nothing but stay open are enough to take most of a processor from the others.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import time
from collections.abc import Callable
from typing import Any

from pynetdicom.timer import Timer

LONGEST_SLEEP_SECONDS = 0.1
"""Timers and lost threads are noticed this late."""


class Alarm:
    """Ends a wait for a socket from another thread."""

    def __init__(self) -> None:
        self._file = open(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), "r+b", buffering=0)  # noqa: SIM115, PTH123

    def ring(self) -> None:
        """Wake who waits, or who will wait next."""
        with contextlib.suppress(ValueError):  # closed, nobody waits any more
            self._file.write((1).to_bytes(8, "little"))

    def wait(self, descriptor: int, seconds: float) -> bool:
        """Whether the descriptor can be read within ``seconds``; a ring ends the wait early.

        Raises
        ------
        OSError, ValueError
            If the descriptor or the alarm is closed.
        """
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._file, select.POLLIN)
        found = {ready for ready, _ in poll.poll(seconds * 1000)}
        if len(found) > (descriptor in found):
            self._file.read(8)
        return descriptor in found

    def close(self) -> None:
        """Give the descriptor back."""
        self._file.close()


class AnnouncedQueue(queue.Queue[Any]):
    """Calls ``announce`` after each new item."""

    def __init__(self, announce: Callable[[], None]) -> None:
        super().__init__()
        self._announce = announce

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add the item."""
        super().put(item, block, timeout)
        self._announce()


class MonotonicTimer(Timer):  # type: ignore[misc]  # pynetdicom has no types
    """pynetdicom's reads the wall clock: set forward it would end every association, set back none."""

    _start_time: float | None
    _end_time: float | None

    @property
    def remaining(self) -> float:
        """Seconds; 1 if the timer never expires."""
        if self.timeout is None:
            return 1
        if self._start_time is None:
            return float(self.timeout)
        end = time.monotonic() if self._end_time is None else self._end_time
        return float(self.timeout - (end - self._start_time))

    def start(self) -> None:
        """Begin, or begin again."""
        self._start_time, self._end_time = time.monotonic(), None

    def stop(self) -> None:
        """Hold."""
        self._end_time = time.monotonic()

"""Asks the process that draws, and keeps what it has drawn."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import OrderedDict
from typing import Any

DRAW_SECONDS = 60.0
MAXIMUM_CACHE_BYTES = 96 << 20

_STOP_SECONDS = 5.0


class NoPictureError(Exception):
    """There is no picture; the message says why."""


class Pictures:
    """One process that draws, begun when somebody asks and again after it has ended; one request at a time.

    Parameters
    ----------
    seconds:
        How long a request may take.
    """

    def __init__(self, seconds: float = DRAW_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cache: OrderedDict[str, tuple[dict[str, Any], bytes]] = OrderedDict()
        self._cached_bytes = 0
        self._is_over = False

    def ask(self, request: dict[str, Any], *, keep: bool = True) -> tuple[dict[str, Any], bytes]:
        """What the process answers: facts, and a picture.

        Raises
        ------
        NoPictureError
            If it can't be drawn.
        """
        line = json.dumps(request, sort_keys=True)
        with self._lock:
            if line in self._cache:
                self._cache.move_to_end(line)
                return self._cache[line]
            facts, picture = self._asked(line)
            if "error" in facts:
                raise NoPictureError(facts["error"])
            if keep:
                self._keep(line, (facts, picture))
            return facts, picture

    def begin(self) -> None:
        """Begin the process, if it doesn't run: somebody will ask soon."""
        if self._lock.acquire(blocking=False):  # else somebody asks already
            try:
                self._living_process()
            finally:
                self._lock.release()

    def stop(self) -> None:
        """End the process; nothing is drawn any more."""
        self._is_over = True
        if self._process is not None:
            self._end(self._process)

    def _asked(self, line: str) -> tuple[dict[str, Any], bytes]:
        """Asked again of a new process where the old one has ended, perhaps over something else."""
        was_there = self._process is not None
        said = self._asked_once(line)
        if said is None and was_there:
            said = self._asked_once(line)
        if said is None:
            raise NoPictureError("the process that draws has ended over it")
        return said

    def _asked_once(self, line: str) -> tuple[dict[str, Any], bytes] | None:
        process = self._living_process()
        answer: queue.Queue[tuple[dict[str, Any], bytes] | None] = queue.Queue()
        threading.Thread(target=_talk, args=(process, line, answer), name="drawing", daemon=True).start()
        try:
            said = answer.get(timeout=self._seconds)
        except queue.Empty:
            self._end(process)
            raise NoPictureError("drawing it takes too long") from None
        if said is None:
            self._end(process)
        return said

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(_STOP_SECONDS)

    def _living_process(self) -> subprocess.Popen[bytes]:
        if self._is_over:
            raise NoPictureError("the node is stopping")
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dicomnode.web.picture_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def _keep(self, line: str, answer: tuple[dict[str, Any], bytes]) -> None:
        self._cache[line] = answer
        self._cached_bytes += _size(line, answer)
        while self._cached_bytes > MAXIMUM_CACHE_BYTES:
            oldest, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= _size(oldest, dropped)


def _talk(
    process: subprocess.Popen[bytes], line: str, answer: queue.Queue[tuple[dict[str, Any], bytes] | None]
) -> None:
    """In a thread of its own, so that a process that hangs can be given up."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
        facts = json.loads(process.stdout.readline())
        length = int(facts.pop("bytes"))
        picture = process.stdout.read(length)
        answer.put((facts, picture) if len(picture) == length else None)
    except (OSError, ValueError, KeyError):
        answer.put(None)


def _size(line: str, answer: tuple[dict[str, Any], bytes]) -> int:
    """Facts are small beside a picture, but not nothing: a histogram, or areas of a thousand slices."""
    facts, picture = answer
    return 2 * len(line) + len(picture) + len(json.dumps(facts)) * 4

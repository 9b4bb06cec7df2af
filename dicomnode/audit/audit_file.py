"""Appends lines to the audit file, whatever becomes of the disk below it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from pathlib import Path

LOGGER = logging.getLogger(__name__)

SYNC_SECONDS = 1.0
"""A line is handed to the system at once and synced to disk within this time."""

MAXIMUM_WAITING = 10_000
"""Lines that are held in memory while the file can't be written; beyond, the oldest are lost."""


class AuditFile:
    """One line a message, in a file that only its owner can read.

    A line that was written survives the end of the process at once and a power cut after
    :data:`SYNC_SECONDS`. While the file can't be written, lines wait in memory and are written when it can
    be again; that is an alarm, in the log and in the metrics, and never an error for the caller. A file that
    was renamed or removed (log rotation) is made anew.

    Parameters
    ----------
    path:
        Made with mode 0600 if missing; an existing one keeps its mode. Its directory must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._descriptor: int | None = None
        self._unsynced = False
        self._failing = False
        self._written = 0
        self._failures = 0
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="audit-sync", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """Lines written so far."""
        return self._written

    @property
    def failures(self) -> int:
        """How often the file could not be written or synced, and lines that were lost."""
        return self._failures

    @property
    def waiting(self) -> int:
        """Lines that could not be written yet."""
        return len(self._waiting)

    def append(self, line: str) -> None:
        """Write a line; never raises."""
        with self._lock:
            if len(self._waiting) >= MAXIMUM_WAITING:
                self._waiting.popleft()
                self._failures += 1
            self._waiting.append(line.encode("utf-8", errors="replace") + b"\n")
            self._write_waiting()
        self._wake.set()

    def close(self) -> None:
        """Write and sync what can be, and close the file."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        with self._lock:
            self._write_waiting()
            self._sync()
            if self._waiting:
                LOGGER.error("audit messages lost", extra={"messages": len(self._waiting)})
            self._close_descriptor()

    def _run(self) -> None:
        while not self._closing:
            # Waits for a line, then lets others gather; or tries again while lines wait.
            self._wake.wait(SYNC_SECONDS if self._waiting else None)
            self._wake.clear()
            with self._lock:
                self._write_waiting()
                self._sync()
            if not self._closing:
                self._wake.wait(SYNC_SECONDS / 4)

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        try:
            descriptor = self._open()
            while self._waiting:
                _write_whole(descriptor, self._waiting[0])
                self._waiting.popleft()
                self._written += 1
                self._unsynced = True
        except OSError as error:
            self._failed(error)
            return
        if self._failing:
            self._failing = False
            LOGGER.warning("the audit file can be written again", extra={"audit_file": str(self.path)})

    def _sync(self) -> None:
        if not self._unsynced or self._descriptor is None:
            return
        try:
            os.fsync(self._descriptor)
            self._unsynced = False
        except OSError as error:
            self._failed(error)

    def _open(self) -> int:
        if self._descriptor is not None and self._was_moved(self._descriptor):
            self._sync()
            self._close_descriptor()
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, mode=0o600)
        return self._descriptor

    def _was_moved(self, descriptor: int) -> bool:
        try:
            return not os.path.samestat(self.path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return True

    def _close_descriptor(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _failed(self, error: OSError) -> None:
        self._failures += 1
        if not self._failing:
            self._failing = True
            LOGGER.error(
                "ALARM: the audit file can't be written: %s; messages wait in memory",
                error.strerror,
                extra={"audit_file": str(self.path)},
            )


def _write_whole(descriptor: int, line: bytes) -> None:
    """Write all of the line, or leave the file as it was."""
    size = os.fstat(descriptor).st_size
    done = 0
    try:
        while done < len(line):
            done += os.write(descriptor, line[done:])
    except OSError:
        if done:
            os.ftruncate(descriptor, size)
        raise

"""The SQLite file below the ledger: schema, transactions, and waking up whoever waits for a change."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

from dicomnode.spool.errors import LedgerUnavailableError
from dicomnode.spool.instances import sync_directory
from dicomnode.spool.schema import bring_up_to_date

# How soon a change made by another process (``dicomnode retry``) is seen.
OTHER_PROCESS_SECONDS = 1.0

_BUSY_SECONDS = 10.0

_T = TypeVar("_T")


class Log(Protocol):
    """Has what a transaction says, too, and is replayed after a power cut."""

    def sync(self) -> None:
        """It is on disk then."""


class _Work(Generic[_T]):
    """One caller's part of a common transaction, and what became of it."""

    def __init__(self, do: Callable[[sqlite3.Connection], _T], folder: Path | None, log: Log | None) -> None:
        self.do = do
        self.folder = folder
        self.log = log
        self.is_over = False
        self.result: _T | None = None
        self.error: Exception | None = None


@contextmanager
def consistent_look(connection: sqlite3.Connection, path: Path) -> Iterator[sqlite3.Connection]:
    """Read the ledger at ``path`` as it is at one moment.

    Raises
    ------
    LedgerUnavailableError
        If it can't be read.
    """
    try:
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise LedgerUnavailableError(f"can't read the ledger {path}: {error}") from error


class Database:
    """One connection, shared by all threads of the process behind a lock.

    WAL with ``synchronous=FULL``: when a transaction returns, it is on disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._queue: deque[_Work[Any]] = deque()
        self._changed = threading.Condition()
        self._version = 0
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            try:
                bring_up_to_date(self._connection, path)
            except BaseException:
                self._connection.close()
                raise
            self._syncs = True
            self._data_version = self._read_data_version()
        except sqlite3.Error as error:
            raise LedgerUnavailableError(f"can't open the ledger {path}: {error}") from error

    def close(self) -> None:
        """Close the connection; nothing is lost, every transaction was synced."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def write(self, *, announce: bool = True, sync: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk when the block is left; rolled back if it raises.

        Parameters
        ----------
        announce:
            Wake those who :meth:`wait`.
        sync:
            ``False`` if a log has it: it is on disk with the next transaction that is synced.
        """
        with self._lock:
            try:
                if sync != self._syncs:
                    self._connection.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
                    self._syncs = sync
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise LedgerUnavailableError(f"can't write the ledger {self.path}: {error}") from error
        if announce:
            self.announce()

    def write_together(
        self,
        do: Callable[[sqlite3.Connection], _T],
        folder: Path | None = None,
        log: Log | None = None,
    ) -> _T:
        """Group commit: ``do`` runs in one transaction with what other threads bring meanwhile.

        Whoever gets the lock runs the work of all who wait for it, so that many associations share the
        syncs. Work that raises is undone alone. Nobody is woken from :meth:`wait`.

        Parameters
        ----------
        folder:
            Synced before ``do`` runs, once for all who name it: a directory with a new file.
        log:
            Synced likewise; where all have one the transaction isn't synced besides.

        Raises
        ------
        LedgerUnavailableError
            If the transaction can't be written; nothing of it is there then.
        """
        work = _Work(do, folder, log)
        self._queue.append(work)
        with self._lock:
            if not work.is_over:
                self._run_queue()
        if work.error is not None:
            raise work.error
        return cast(_T, work.result)

    def _run_queue(self) -> None:
        together = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            with self.write(announce=False, sync=not all(work.log for work in together)) as connection:
                for folder in {work.folder for work in together if work.folder}:
                    sync_directory(folder)
                for log in {id(work.log): work.log for work in together if work.log}.values():
                    log.sync()
                for work in together:
                    _run_alone(connection, work)
        except BaseException as error:
            for work in together:
                work.error = work.error or LedgerUnavailableError(f"can't write the ledger: {error}")
            if not isinstance(error, (LedgerUnavailableError, OSError)):
                raise
        finally:
            for work in together:
                work.is_over = True

    def sync(self) -> None:
        """Transactions that weren't synced are on disk then.

        Raises
        ------
        OSError
            If that fails.
        """
        # No other file of SQLite's: closing one that it has locked would unlock it.
        try:
            descriptor = os.open(self.path.with_name(f"{self.path.name}-wal"), os.O_RDONLY)
        except FileNotFoundError:
            return  # all of it is in the main file, which SQLite has synced
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent look at the ledger."""
        with self._lock, consistent_look(self._connection, self.path) as connection:
            yield connection

    @property
    def version(self) -> int:
        """Grows with every announced change."""
        with self._changed:
            return self._version

    def announce(self) -> None:
        """Wake everyone who waits."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def wait(self, seen: int, timeout: float | None = None) -> int:
        """Sleep until the version isn't ``seen`` any more or ``timeout`` seconds are over; the version then.

        Changes of other processes count too; they are noticed within :data:`OTHER_PROCESS_SECONDS`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            remaining = OTHER_PROCESS_SECONDS
            if deadline is not None:
                remaining = min(remaining, deadline - time.monotonic())
            with self._changed:
                if self._version != seen or remaining <= 0:
                    return self._version
                self._changed.wait(remaining)
                if self._version != seen:
                    return self._version
            self._look_for_other_processes()

    def _look_for_other_processes(self) -> None:
        with self._lock:
            data_version = self._read_data_version()
            other_wrote = data_version != self._data_version
            self._data_version = data_version
        if other_wrote:
            self.announce()

    def _read_data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def _run_alone(connection: sqlite3.Connection, work: _Work[Any]) -> None:
    """Run one part of a transaction; if it raises, only this part is undone."""
    connection.execute("SAVEPOINT work")
    try:
        work.result = work.do(connection)
    except sqlite3.Error:
        raise  # the file itself: the transaction is lost
    except Exception as error:
        work.error = error
        connection.execute("ROLLBACK TO work")
    connection.execute("RELEASE work")

"""The SQLite file below the ledger: schema, transactions, and waking up whoever waits for a change."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicomnode.spool.errors import LedgerError, LedgerUnavailableError

SCHEMA_VERSION = 1

# How soon a change made by another process (``dicomnode retry``) is seen.
OTHER_PROCESS_SECONDS = 1.0

_BUSY_SECONDS = 10.0

_SCHEMA = """
CREATE TABLE series (
    id                  TEXT PRIMARY KEY,
    study_instance_uid  TEXT NOT NULL,
    series_instance_uid TEXT NOT NULL,
    state               TEXT NOT NULL,
    reason              TEXT NOT NULL DEFAULT '',
    detail              TEXT NOT NULL DEFAULT '',
    generation          INTEGER NOT NULL DEFAULT 1,
    attempts            INTEGER NOT NULL DEFAULT 0,
    instances           INTEGER NOT NULL DEFAULT 0,
    bytes               INTEGER NOT NULL DEFAULT 0,
    completeness        TEXT NOT NULL DEFAULT '',
    created_at          REAL NOT NULL,
    last_received_at    REAL NOT NULL,
    state_since         REAL NOT NULL,
    UNIQUE (study_instance_uid, series_instance_uid)
);
CREATE INDEX series_by_state ON series (state, state_since);
CREATE TABLE instance (
    series_id           TEXT NOT NULL REFERENCES series (id),
    sop_instance_uid    TEXT NOT NULL,
    sop_class_uid       TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    path                TEXT NOT NULL,
    bytes               INTEGER NOT NULL,
    sha256              TEXT NOT NULL,
    received_at         REAL NOT NULL,
    calling_ae_title    TEXT NOT NULL,
    generation          INTEGER NOT NULL,
    conflicts           INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (series_id, sop_instance_uid)
) WITHOUT ROWID;
CREATE TABLE result (
    series_id           TEXT NOT NULL REFERENCES series (id),
    sop_instance_uid    TEXT NOT NULL,
    generation          INTEGER NOT NULL,
    position            INTEGER NOT NULL,
    kind                TEXT NOT NULL,
    sop_class_uid       TEXT NOT NULL,
    path                TEXT NOT NULL,
    created_at          REAL NOT NULL,
    PRIMARY KEY (series_id, sop_instance_uid)
) WITHOUT ROWID;
CREATE TABLE delivery (
    series_id           TEXT NOT NULL,
    sop_instance_uid    TEXT NOT NULL,
    destination         TEXT NOT NULL,
    state               TEXT NOT NULL,
    attempts            INTEGER NOT NULL DEFAULT 0,
    next_attempt_at     REAL NOT NULL,
    last_error          TEXT NOT NULL DEFAULT '',
    delivered_at        REAL,
    PRIMARY KEY (series_id, sop_instance_uid, destination),
    FOREIGN KEY (series_id, sop_instance_uid) REFERENCES result (series_id, sop_instance_uid)
) WITHOUT ROWID;
CREATE INDEX delivery_due ON delivery (state, destination, next_attempt_at);
"""


class Database:
    """One connection, shared by all threads of the process behind a lock.

    WAL with ``synchronous=FULL``: when a transaction returns, it is on disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
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
            self._migrate()
            self._data_version = self._read_data_version()
        except sqlite3.Error as error:
            raise LedgerUnavailableError(f"can't open the ledger {path}: {error}") from error

    def close(self) -> None:
        """Close the connection; nothing is lost, every transaction was synced."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def write(self, *, announce: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk when the block is left; rolled back if it raises.

        Parameters
        ----------
        announce:
            Wake those who :meth:`wait`.
        """
        with self._lock:
            try:
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

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent look at the ledger."""
        with self._lock:
            try:
                self._connection.execute("BEGIN")
                try:
                    yield self._connection
                finally:
                    self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise LedgerUnavailableError(f"can't read the ledger {self.path}: {error}") from error

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

    def _migrate(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
            if version > SCHEMA_VERSION:
                raise LedgerError(
                    f"the ledger {self.path} has schema version {version}, newer than {SCHEMA_VERSION}; "
                    "install the newer program that wrote it"
                )
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

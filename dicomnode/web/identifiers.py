"""Patient ID and accession number of the series, where the configuration lets the page know them.

They have a file of their own, so that the ledger names no patient and the file can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomnode.receive.observer import ReceiveObserver, StoreOutcome
from dicomnode.receive.patient import decode_patient
from dicomnode.spool.records import Kept

LOGGER = logging.getLogger(__name__)

FILE_NAME = "identifiers.sqlite"
SWEEP_SECONDS = 3600.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS series_identifier (
    series_id        TEXT PRIMARY KEY,
    patient_id       TEXT NOT NULL,
    accession_number TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_accession ON series_identifier (accession_number);
"""
_MOST_FOUND = 500
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Identity:
    """Whose series it is, in the words of the hospital."""

    patient_id: str = ""
    accession_number: str = ""


def forget_identifiers(directory: Path) -> None:
    """Delete what was noted while the configuration still asked for it."""
    (directory / FILE_NAME).unlink(missing_ok=True)


class Identifiers(ReceiveObserver):
    """Notes them with the first instance of a series; forgets those of purged series.

    Parameters
    ----------
    purged:
        Which of these series are purged.
    """

    def __init__(
        self,
        directory: Path,
        purged: Callable[[Sequence[str]], set[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        path = directory / FILE_NAME
        path.touch(mode=0o600)
        self._purged = purged
        self._clock = clock
        self._swept_at = float("-inf")
        self._noted: dict[str, None] = {}
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute(
            "PRAGMA synchronous = OFF"
        )  # lost with the power, they are missed by a search
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def instance_answered(self, outcome: StoreOutcome) -> None:
        """The first instance of a series says whose it is."""
        if outcome.kept is not Kept.NEW or outcome.identity is None:
            return
        with self._lock:
            if outcome.series_id in self._noted:
                return
            while len(self._noted) >= _REMEMBERED:
                del self._noted[next(iter(self._noted))]
            self._noted[outcome.series_id] = None
            patient = decode_patient(outcome.identity.patient)
            try:
                self._connection.execute(
                    "INSERT OR REPLACE INTO series_identifier VALUES (?, ?, ?)",
                    (outcome.series_id, patient.id, patient.accession_number),
                )
                if self._clock() - self._swept_at > SWEEP_SECONDS:
                    self._sweep()
            except sqlite3.Error as error:
                LOGGER.warning("identifiers for the page are not noted: %s", error)

    def of(self, series_id: str) -> Identity:
        """Of one series; empty where nothing is known."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            row = self._connection.execute(
                "SELECT patient_id, accession_number FROM series_identifier WHERE series_id = ?", (series_id,)
            ).fetchone()
            if row is not None:
                return Identity(*row)
        return Identity()

    def with_accession(self, accession_number: str) -> tuple[str, ...]:
        """Series with this accession number."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            rows = self._connection.execute(
                "SELECT series_id FROM series_identifier WHERE accession_number = ? LIMIT ?",
                (accession_number, _MOST_FOUND),
            )
            return tuple(row[0] for row in rows)
        return ()

    def _sweep(self) -> None:
        self._swept_at = self._clock()
        known = [row[0] for row in self._connection.execute("SELECT series_id FROM series_identifier")]
        gone = self._purged(known)
        self._connection.executemany(
            "DELETE FROM series_identifier WHERE series_id = ?", [(one,) for one in gone]
        )

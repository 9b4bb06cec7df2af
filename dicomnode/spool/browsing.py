"""The ledger for people who look around: a connection of its own that only reads, and short answers."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dicomnode.spool import rows
from dicomnode.spool.database import consistent_look
from dicomnode.spool.errors import LedgerUnavailableError
from dicomnode.spool.moves import find
from dicomnode.spool.records import SeriesDetails, SeriesRecord
from dicomnode.spool.states import HELD, DeliveryState, SeriesState

ON_THE_WAY = (
    SeriesState.RECEIVING,
    SeriesState.COMPLETE,
    SeriesState.ANALYZING,
    SeriesState.DELIVERING,
)
FINISHED = (SeriesState.DELIVERED, SeriesState.COMMITTED)
NOT_MEASURED = (SeriesState.REFUSED, SeriesState.FAILED)

_BUSY_SECONDS = 5.0
_MOST_RESULTS = 500
_MOST_VALUES = 500


@dataclass(frozen=True)
class Delivered:
    """How many of the objects of a series that are to be delivered are."""

    done: int
    total: int


@dataclass(frozen=True)
class KnownResult:
    """A measured scan: digests of its patient's identifiers by keyword, and the result as JSON."""

    series_id: str
    marks: Mapping[str, str]
    record: str
    created_at: float


@dataclass(frozen=True)
class Query:
    """What series are searched for; empty and None mean any.

    Parameters
    ----------
    begins_at, ends_at:
        When the series began to arrive, in seconds since 1970 UTC; the end is not included.
    study_instance_uid:
        As it is.
    series_ids:
        Only these, if it isn't None.
    """

    begins_at: float | None = None
    ends_at: float | None = None
    states: tuple[SeriesState, ...] = ()
    study_instance_uid: str = ""
    series_ids: tuple[str, ...] | None = None

    @property
    def where(self) -> tuple[str, list[str | float]]:
        """As SQL, with its values."""
        parts: list[str] = ["1"]
        values: list[str | float] = []
        if self.begins_at is not None:
            parts.append("created_at >= ?")
            values.append(self.begins_at)
        if self.ends_at is not None:
            parts.append("created_at < ?")
            values.append(self.ends_at)
        if self.study_instance_uid:
            parts.append("study_instance_uid = ?")
            values.append(self.study_instance_uid)
        for column, wanted in (("state", self.states or None), ("id", self.series_ids)):
            if wanted is not None:
                parts.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                values += wanted
        return " AND ".join(parts), values


class Browser:
    """Reads the ledger beside the node, whose own connection is never kept waiting by it.

    Parameters
    ----------
    path:
        The SQLite file, which exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise LedgerUnavailableError(f"can't read the ledger {path}: {error}") from error
        self._connection.row_factory = sqlite3.Row

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def newest(self, states: Sequence[SeriesState], limit: int) -> list[SeriesRecord]:
        """The series that came into one of the states last, the newest first; purged ones, too."""
        found: list[SeriesRecord] = []
        with self._read() as connection:
            for state in states:  # each by the index of states and times
                query = "SELECT * FROM series WHERE state = ? ORDER BY state_since DESC LIMIT ?"
                found += [rows.series(row) for row in connection.execute(query, (state, limit))]
        return sorted(found, key=lambda series: series.state_since, reverse=True)[:limit]

    def delivered(self, series_id: str, generation: int) -> Delivered:
        """How far the delivery of the newest generation's results is."""
        query = (
            "SELECT delivery.state AS state, count(*) AS objects FROM delivery "
            "JOIN result USING (series_id, sop_instance_uid) "
            "WHERE series_id = ? AND generation = ? GROUP BY delivery.state"
        )
        with self._read() as connection:
            counted = {
                row["state"]: row["objects"] for row in connection.execute(query, (series_id, generation))
            }
        done = sum(counted.get(state, 0) for state in HELD)
        return Delivered(done, done + counted.get(DeliveryState.PENDING, 0))

    def counts(self) -> dict[SeriesState, int]:
        """How many series are in each state; purged ones don't count."""
        query = "SELECT state, count(*) AS series FROM series WHERE purged_at IS NULL GROUP BY state"
        with self._read() as connection:
            counted = {row["state"]: int(row["series"]) for row in connection.execute(query)}
        return {state: counted.get(state, 0) for state in SeriesState}

    def show(self, series_id: str) -> SeriesDetails:
        """Everything about the series whose id begins with ``series_id``, or that has this UID.

        Raises
        ------
        LedgerError
            If there is no such series, or more than one.
        """
        with self._read() as connection:
            return rows.details(connection, find(connection, series_id))

    def patient_results(self, series_id: str, identifiers: Sequence[str]) -> list[KnownResult]:
        """Results of scans that share one of the identifiers with those of this series; its own, too.

        Parameters
        ----------
        identifiers:
            Keywords, of which each alone is looked up.
        """
        marks = "SELECT keyword, digest FROM patient_mark WHERE series_id = ?"
        text = (
            "SELECT patient_result.series_id AS series_id, record, created_at FROM patient_mark "
            "JOIN patient_result USING (series_id) JOIN series ON series.id = patient_result.series_id "
            "AND series.generation = patient_result.generation WHERE keyword = ? AND digest = ? LIMIT ?"
        )
        found: dict[str, KnownResult] = {}
        with self._read() as connection:
            for keyword, digest in connection.execute(marks, (series_id,)).fetchall():
                if keyword not in identifiers:
                    continue
                for row in connection.execute(text, (keyword, digest, _MOST_RESULTS)).fetchall():
                    own = {
                        one["keyword"]: one["digest"]
                        for one in connection.execute(marks, (row["series_id"],))
                    }
                    result = KnownResult(row["series_id"], own, row["record"], row["created_at"])
                    found[row["series_id"]] = result
        return list(found.values())

    def purged(self, series_ids: Sequence[str]) -> set[str]:
        """Those of the series that are purged, or not known any more."""
        there: set[str] = set()
        with self._read() as connection:
            for start in range(0, len(series_ids), _MOST_VALUES):
                some = series_ids[start : start + _MOST_VALUES]
                marks = ", ".join("?" * len(some))
                query = f"SELECT id FROM series WHERE purged_at IS NULL AND id IN ({marks})"
                there.update(row["id"] for row in connection.execute(query, list(some)))
        return set(series_ids) - there

    def search(self, query: Query, limit: int, offset: int = 0) -> list[SeriesRecord]:
        """Series that fit, those that began to arrive last first."""
        where, values = query.where
        text = f"SELECT * FROM series WHERE {where} ORDER BY created_at DESC, id LIMIT ? OFFSET ?"
        with self._read() as connection:
            return [rows.series(row) for row in connection.execute(text, [*values, limit, offset])]

    def count(self, query: Query) -> int:
        """How many series fit."""
        where, values = query.where
        with self._read() as connection:
            return int(connection.execute(f"SELECT count(*) FROM series WHERE {where}", values).fetchone()[0])

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """One consistent look."""
        with self._lock, consistent_look(self._connection, self._path) as connection:
            yield connection

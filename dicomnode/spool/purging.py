"""Which series may be purged: those at their end, delivered, and promised where promises are given."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from dicomnode.spool import rows
from dicomnode.spool.errors import LedgerError
from dicomnode.spool.moves import get, note
from dicomnode.spool.queueing import awaits_commitment, has_pending
from dicomnode.spool.records import SeriesRecord
from dicomnode.spool.sender_requests import forget_reported, requests_for
from dicomnode.spool.states import SeriesState

PURGED_BY_RETENTION = (SeriesState.DELIVERED, SeriesState.COMMITTED, SeriesState.REFUSED)
"""A failed series waits for a person, however long that takes."""

PURGEABLE = (*PURGED_BY_RETENTION, SeriesState.FAILED)


def why_not_purgeable(connection: sqlite3.Connection, series: SeriesRecord) -> str | None:
    """The sentence that keeps a series from being purged; ``None`` if nothing does."""
    if series.purged_at is not None:
        return f"series {series.id} is purged already"
    if series.state not in PURGEABLE:
        return f"series {series.id} is {series.state}, not at its end"
    if has_pending(connection, series.id):
        return f"series {series.id} has results that are not delivered"
    if awaits_commitment(connection, series.id):
        return f"series {series.id} has results that their destination has not promised to keep"
    return None


def purgeable(
    connection: sqlite3.Connection, states: Collection[SeriesState], before: float
) -> tuple[SeriesRecord, ...]:
    """Series in one of ``states`` since a moment before ``before`` that may be purged, oldest first."""
    marks = ", ".join("?" * len(states))
    found = connection.execute(
        f"SELECT * FROM series WHERE state IN ({marks}) AND purged_at IS NULL AND state_since <= ? "
        "AND last_received_at <= ? ORDER BY state_since, id",
        (*states, before, before),
    )
    candidates = [rows.series(row) for row in found]
    return tuple(series for series in candidates if why_not_purgeable(connection, series) is None)


def request_purge(connection: sqlite3.Connection, series_id: str, now: float) -> None:
    """Ask the running node to purge a series.

    Raises
    ------
    LedgerError
        If it may not be purged.
    """
    series = get(connection, series_id)
    if reason := why_not_purgeable(connection, series):
        raise LedgerError(reason)
    connection.execute("UPDATE series SET purge_requested_at = ? WHERE id = ?", (now, series_id))


def mark_purged(connection: sqlite3.Connection, series_id: str, now: float) -> None:
    """Take the instances of a series off the ledger; the series, its results and their ways stay as history.

    Raises
    ------
    LedgerError
        If it may not be purged.
    """
    series = get(connection, series_id)
    if reason := why_not_purgeable(connection, series):
        raise LedgerError(reason)
    requests = requests_for(connection, series_id)
    connection.execute("DELETE FROM instance WHERE series_id = ?", (series_id,))
    forget_reported(connection, requests)
    connection.execute(
        "UPDATE series SET purged_at = ?, purge_requested_at = NULL WHERE id = ?", (now, series_id)
    )
    note(connection, series, now, "purged")

"""Finding a series in the ledger and moving it from state to state, inside a transaction."""

from __future__ import annotations

import sqlite3

from dicomnode.spool import rows
from dicomnode.spool.errors import LedgerError, SupersededError
from dicomnode.spool.records import SeriesRecord
from dicomnode.spool.states import TRANSITIONS, SeriesState


def move(
    connection: sqlite3.Connection,
    series: SeriesRecord,
    now: float,
    state: SeriesState,
    **columns: str | int | None,
) -> SeriesRecord:
    """Take ``series`` to ``state``, set other columns with it, and note the step; the series then.

    Raises
    ------
    LedgerError
        If the table of transitions doesn't have this move.
    """
    if state not in TRANSITIONS[series.state]:
        raise LedgerError(f"series {series.id} is {series.state} and can't become {state}")
    assignments = "".join(f", {column} = ?" for column in columns)
    connection.execute(
        f"UPDATE series SET state = ?, state_since = ?{assignments} WHERE id = ?",
        (state, now, *columns.values(), series.id),
    )
    moved = get(connection, series.id)
    words = (columns.get("reason"), columns.get("detail"), columns.get("completeness"))
    note(connection, moved, now, ": ".join(str(word) for word in words if word))
    return moved


def note(connection: sqlite3.Connection, series: SeriesRecord, now: float, text: str) -> None:
    """Add a sentence to the story of the series."""
    connection.execute(
        "INSERT INTO event (series_id, at, state, generation, text) VALUES (?, ?, ?, ?, ?)",
        (series.id, now, series.state, series.generation, text),
    )


def get(connection: sqlite3.Connection, series_id: str) -> SeriesRecord:
    """The series with exactly this id."""
    row = connection.execute("SELECT * FROM series WHERE id = ?", (series_id,)).fetchone()
    if row is None:
        raise LedgerError(f"there is no series {series_id}")
    return rows.series(row)


def current(
    connection: sqlite3.Connection, series_id: str, generation: int, state: SeriesState | None = None
) -> SeriesRecord:
    """The series, if it still is in this generation and, where given, in this state."""
    series = get(connection, series_id)
    if series.generation != generation:
        raise SupersededError(
            f"series {series_id} is in generation {series.generation}, not {generation}: late slices came"
        )
    if state is not None and series.state is not state:
        raise LedgerError(f"series {series_id} is {series.state}, not {state}")
    return series


def find(connection: sqlite3.Connection, name: str) -> SeriesRecord:
    """The one series whose id begins with ``name``, or to which that UID belongs (also of a result)."""
    if "." in name:
        return _find_by_uid(connection, name)
    found = connection.execute(
        "SELECT * FROM series WHERE substr(id, 1, ?) = ? LIMIT 2", (len(name), name.lower())
    ).fetchall()
    if not name or not found:
        raise LedgerError(f"there is no series {name!r}; `dicomnode status` lists them")
    if len(found) > 1:
        raise LedgerError(f"more than one series begins with {name!r}; give more digits")
    return rows.series(found[0])


def _find_by_uid(connection: sqlite3.Connection, uid: str) -> SeriesRecord:
    found = connection.execute(
        "SELECT * FROM series WHERE series_instance_uid = ?1 OR id IN "
        "(SELECT series_id FROM result WHERE sop_instance_uid = ?1 OR series_instance_uid = ?1) OR id IN "
        "(SELECT series_id FROM instance WHERE sop_instance_uid = ?1) ORDER BY created_at",
        (uid,),
    ).fetchall()
    if not found:
        raise LedgerError(f"no series, instance or result here has the UID {uid}")
    if len(found) > 1:
        ids = ", ".join(str(row["id"]) for row in found)
        raise LedgerError(f"{len(found)} series belong to the UID {uid}: {ids}; give one of these")
    return rows.series(found[0])

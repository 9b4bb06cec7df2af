"""Instances coming into the ledger, inside a transaction."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dicomnode.spool import rows
from dicomnode.spool.moves import get, move
from dicomnode.spool.outbox import supersede
from dicomnode.spool.records import InstanceRecord, Kept, NewInstance, SeriesRecord
from dicomnode.spool.states import SeriesState


def find_instance(connection: sqlite3.Connection, instance: NewInstance) -> InstanceRecord | None:
    """The row of this SOP Instance UID in this series."""
    row = connection.execute(
        "SELECT * FROM instance WHERE series_id = ? AND sop_instance_uid = ?",
        (instance.series_id, instance.sop_instance_uid),
    ).fetchone()
    return None if row is None else rows.instance(row)


def count_repetition(connection: sqlite3.Connection, known: InstanceRecord, instance: NewInstance) -> Kept:
    """A known UID came again; other bytes than the first time are counted."""
    if known.sha256 == instance.sha256:
        return Kept.DUPLICATE
    connection.execute(
        "UPDATE instance SET conflicts = conflicts + 1 WHERE series_id = ? AND sop_instance_uid = ?",
        (known.series_id, known.sop_instance_uid),
    )
    return Kept.CONFLICT


def add_instance(
    connection: sqlite3.Connection, instance: NewInstance, path: Path, size: int, now: float
) -> None:
    """A new row, and the series it belongs to in state ``receiving``."""
    series = _receiving_series(connection, instance, now)
    connection.execute(
        "INSERT INTO instance (series_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid, path, bytes, "
        "sha256, received_at, calling_ae_title, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            series.id,
            instance.sop_instance_uid,
            instance.sop_class_uid,
            instance.transfer_syntax_uid,
            path.as_posix(),
            size,
            instance.sha256,
            now,
            instance.calling_ae_title,
            series.generation,
        ),
    )
    connection.execute(
        "UPDATE series SET instances = instances + 1, bytes = bytes + ?, last_received_at = ? WHERE id = ?",
        (size, now, series.id),
    )


def _receiving_series(connection: sqlite3.Connection, instance: NewInstance, now: float) -> SeriesRecord:
    """The series of a new instance: made, found, or brought back to ``receiving`` by a late slice."""
    row = connection.execute("SELECT * FROM series WHERE id = ?", (instance.series_id,)).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO series (id, study_instance_uid, series_instance_uid, state, created_at, "
            "last_received_at, state_since) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                instance.series_id,
                instance.study_instance_uid,
                instance.series_instance_uid,
                SeriesState.RECEIVING,
                now,
                now,
                now,
            ),
        )
        return get(connection, instance.series_id)
    series = rows.series(row)
    if series.state is SeriesState.RECEIVING:
        return series
    supersede(connection, series.id)
    move(
        connection,
        series,
        now,
        SeriesState.RECEIVING,
        generation=series.generation + 1,
        attempts=0,
        reason="",
        detail="",
        completeness="",
    )
    return get(connection, series.id)

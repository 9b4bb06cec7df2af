"""Instances coming into the ledger, inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from dicomnode.spool import rows
from dicomnode.spool.moves import get, move, note
from dicomnode.spool.queueing import supersede
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
        "sha256, received_at, calling_ae_title, generation, position_mm) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            instance.position_mm,
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
        series = get(connection, instance.series_id)
        note(connection, series, now, f"first instance, from {instance.calling_ae_title}")
        return series
    series = rows.series(row)
    if series.state is SeriesState.RECEIVING:
        return series
    supersede(connection, series.id)
    late = "sent again after it was purged" if series.purged_at else "a late slice"
    if series.purged_at:
        connection.execute("UPDATE series SET instances = 0, bytes = 0 WHERE id = ?", (series.id,))
    return move(
        connection,
        series,
        now,
        SeriesState.RECEIVING,
        generation=series.generation + 1,
        attempts=0,
        reason="",
        detail=late,
        completeness="",
        purge_requested_at=None,
        purged_at=None,
    )


def forget_instances(
    connection: sqlite3.Connection, lost: Sequence[InstanceRecord], detail: str, now: float
) -> None:
    """Take instances without a file off the ledger and fail their series; they can be sent again then."""
    for instance in lost:
        connection.execute(
            "DELETE FROM instance WHERE series_id = ? AND sop_instance_uid = ?",
            (instance.series_id, instance.sop_instance_uid),
        )
        connection.execute(
            "UPDATE series SET instances = instances - 1, bytes = bytes - ? WHERE id = ?",
            (instance.bytes, instance.series_id),
        )
    for series_id in {instance.series_id for instance in lost}:
        series = get(connection, series_id)
        if series.state is not SeriesState.FAILED:
            move(connection, series, now, SeriesState.FAILED, reason="instances_lost", detail=detail)
        supersede(connection, series_id)

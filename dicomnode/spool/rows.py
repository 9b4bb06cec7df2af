"""SQLite rows to records."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dicomnode.spool.records import (
    DeliveryRecord,
    EventRecord,
    InstanceRecord,
    ResultRecord,
    SeriesDetails,
    SeriesRecord,
)
from dicomnode.spool.states import DeliveryState, SeriesState

DELIVERIES = (
    "SELECT delivery.*, result.kind, result.sop_class_uid, result.path, result.position, result.created_at "
    "FROM delivery JOIN result USING (series_id, sop_instance_uid) "
)


def series(row: sqlite3.Row) -> SeriesRecord:
    """A row of table ``series``."""
    return SeriesRecord(**{**dict(row), "state": SeriesState(row["state"])})


def instance(row: sqlite3.Row) -> InstanceRecord:
    """A row of table ``instance``."""
    return InstanceRecord(**{**dict(row), "path": Path(row["path"])})


def result(row: sqlite3.Row) -> ResultRecord:
    """A row of table ``result``."""
    columns = {**dict(row), "path": Path(row["path"])}
    del columns["position"]
    return ResultRecord(**columns)


def delivery(row: sqlite3.Row) -> DeliveryRecord:
    """A row of :data:`DELIVERIES`."""
    columns = {**dict(row), "path": Path(row["path"]), "state": DeliveryState(row["state"])}
    columns["wants_commitment"] = bool(row["wants_commitment"])
    del columns["position"], columns["created_at"]
    return DeliveryRecord(**columns)


def event(row: sqlite3.Row) -> EventRecord:
    """A row of table ``event``."""
    columns = {**dict(row), "state": SeriesState(row["state"])}
    del columns["number"]
    return EventRecord(**columns)


def instances(connection: sqlite3.Connection, series_id: str) -> tuple[InstanceRecord, ...]:
    """Instances of one series in the order of their arrival."""
    found = connection.execute(
        "SELECT * FROM instance WHERE series_id = ? ORDER BY received_at, sop_instance_uid", (series_id,)
    )
    return tuple(instance(row) for row in found)


def details(connection: sqlite3.Connection, record: SeriesRecord) -> SeriesDetails:
    """Everything about one series."""
    results = connection.execute(
        "SELECT * FROM result WHERE series_id = ? ORDER BY generation, position", (record.id,)
    )
    deliveries = connection.execute(
        f"{DELIVERIES} WHERE series_id = ? ORDER BY destination, result.generation, result.position",
        (record.id,),
    )
    events = connection.execute("SELECT * FROM event WHERE series_id = ? ORDER BY number", (record.id,))
    return SeriesDetails(
        series=record,
        instances=instances(connection, record.id),
        results=tuple(result(row) for row in results),
        deliveries=tuple(delivery(row) for row in deliveries),
        events=tuple(event(row) for row in events),
    )

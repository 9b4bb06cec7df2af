"""Which result object goes to which destination, and what that makes of the series, in a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from dicomnode.spool.moves import get, move
from dicomnode.spool.records import Accepting, ResultObject, SeriesRecord
from dicomnode.spool.states import HELD, DeliveryState, SeriesState

FALLBACK_KIND = "sc"
"""The picture that a destination gets instead of what it refuses: every viewer shows a secondary capture."""

BUNDLE_KIND = "fhir"
"""What only a FHIR server takes; no picture can stand in for it."""

REFUSED_REASON = "destination_refused"


def enqueue(
    connection: sqlite3.Connection,
    series: SeriesRecord,
    results: Sequence[ResultObject],
    destinations: Iterable[Accepting],
    now: float,
    *,
    spool_directory: Path,
    include: Collection[str] | None = None,
) -> None:
    """Note the results and, for each destination, a pending delivery of those that it should get.

    An object that a destination got in an earlier attempt stays delivered; its UID is derived from the
    input, so it is the same object.

    Parameters
    ----------
    include:
        Kinds that are delivered; the others are kept for destinations that refuse what they are offered.
        ``None``: all.
    """
    for position, result in enumerate(results):
        path = result.path
        connection.execute(
            "INSERT INTO result (series_id, sop_instance_uid, series_instance_uid, generation, position, "
            "kind, sop_class_uid, path, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET generation = excluded.generation, "
            "position = excluded.position, path = excluded.path",
            (
                series.id,
                result.sop_instance_uid,
                result.series_instance_uid,
                series.generation,
                position,
                str(result.kind),
                result.sop_class_uid,
                str(path.relative_to(spool_directory) if path.is_relative_to(spool_directory) else path),
                now,
            ),
        )
    uids: dict[str, list[str]] = {}
    for result in results:
        uids.setdefault(str(result.kind), []).append(result.sop_instance_uid)
    for destination in destinations:
        for kind in _kinds(connection, destination, uids, include):
            for uid in uids[kind]:
                _queue(connection, series.id, uid, destination.name, now, commitment=destination.commitment)


def _kinds(
    connection: sqlite3.Connection,
    destination: Accepting,
    available: Collection[str],
    include: Collection[str] | None,
) -> Iterator[str]:
    """Kinds for one destination; the picture stands in for what it refuses, and for nothing at all."""
    refused = {
        str(row["kind"])
        for row in connection.execute(
            "SELECT kind FROM kind_refusal WHERE destination = ? AND for_good", (destination.name,)
        )
    }
    wanted = [
        kind for kind in available if kind in destination.accepts and (include is None or kind in include)
    ]
    chosen = [kind for kind in wanted if kind not in refused]
    needs_picture = len(chosen) < len(wanted) or not chosen
    yield from chosen
    if set(destination.accepts) <= {BUNDLE_KIND}:
        return
    if needs_picture and FALLBACK_KIND in available and FALLBACK_KIND not in {*chosen, *refused}:
        yield FALLBACK_KIND


def fall_back(connection: sqlite3.Connection, series_id: str, destination: str, now: float) -> bool:
    """Queue the picture for a destination that refused another kind; whether it gets one."""
    row = connection.execute(
        "SELECT result.sop_instance_uid, max(delivery.wants_commitment) AS commitment FROM result "
        "JOIN series ON series.id = result.series_id AND series.generation = result.generation "
        "JOIN delivery ON delivery.series_id = result.series_id AND delivery.destination = ? "
        "WHERE result.series_id = ? AND result.kind = ?",
        (destination, series_id, FALLBACK_KIND),
    ).fetchone()
    if row["sop_instance_uid"] is None:
        return False
    known = connection.execute(
        "SELECT state FROM delivery WHERE series_id = ? AND sop_instance_uid = ? AND destination = ?",
        (series_id, row["sop_instance_uid"], destination),
    ).fetchone()
    if known is not None:
        return DeliveryState(known["state"]) is not DeliveryState.REFUSED
    _queue(
        connection, series_id, row["sop_instance_uid"], destination, now, commitment=bool(row["commitment"])
    )
    return True


def _queue(
    connection: sqlite3.Connection,
    series_id: str,
    uid: str,
    destination: str,
    now: float,
    *,
    commitment: bool,
) -> None:
    connection.execute(
        "INSERT INTO delivery (series_id, sop_instance_uid, destination, state, next_attempt_at, "
        "wants_commitment) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state, "
        "attempts = 0, next_attempt_at = excluded.next_attempt_at, last_error = '', "
        "wants_commitment = excluded.wants_commitment WHERE state NOT IN (?, ?)",
        (series_id, uid, destination, DeliveryState.PENDING, now, commitment, *HELD),
    )


def has_pending(connection: sqlite3.Connection, series_id: str) -> bool:
    """Whether something of the series still has to be delivered."""
    row = connection.execute(
        "SELECT 1 FROM delivery WHERE series_id = ? AND state = ? LIMIT 1", (series_id, DeliveryState.PENDING)
    ).fetchone()
    return row is not None


def awaits_commitment(connection: sqlite3.Connection, series_id: str) -> bool:
    """Whether a destination holds something of the series that it has not promised to keep yet."""
    row = connection.execute(
        "SELECT 1 FROM delivery WHERE series_id = ? AND state = ? AND wants_commitment LIMIT 1",
        (series_id, DeliveryState.DELIVERED),
    ).fetchone()
    return row is not None


def settle(connection: sqlite3.Connection, series_id: str, now: float) -> SeriesRecord:
    """Move the series on after one of its deliveries changed."""
    series = get(connection, series_id)
    if series.state not in (SeriesState.DELIVERING, SeriesState.DELIVERED):
        return series
    if has_pending(connection, series_id):
        return series
    if series.state is SeriesState.DELIVERING:
        refused = _refused_without_substitute(connection, series_id)
        if refused:
            detail = f"{', '.join(refused)} took neither the results nor a picture instead"
            return move(connection, series, now, SeriesState.FAILED, reason=REFUSED_REASON, detail=detail)
        series = move(connection, series, now, SeriesState.DELIVERED)
    promised = connection.execute(
        "SELECT 1 FROM delivery WHERE series_id = ? AND state = ? LIMIT 1",
        (series_id, DeliveryState.COMMITTED),
    ).fetchone()
    if promised is not None and not awaits_commitment(connection, series_id):
        series = move(connection, series, now, SeriesState.COMMITTED)
    return series


def _refused_without_substitute(connection: sqlite3.Connection, series_id: str) -> list[str]:
    """Destinations that refused something of the current generation and don't have the picture either."""
    found = connection.execute(
        "SELECT destination, max(delivery.state IN (?, ?) AND result.kind = ?) AS has_picture, "
        "max(delivery.state = ?) AS refused FROM delivery JOIN result USING (series_id, sop_instance_uid) "
        "JOIN series ON series.id = delivery.series_id AND series.generation = result.generation "
        "WHERE delivery.series_id = ? GROUP BY destination ORDER BY destination",
        (*HELD, FALLBACK_KIND, DeliveryState.REFUSED, series_id),
    )
    return [str(row["destination"]) for row in found if row["refused"] and not row["has_picture"]]


def supersede(connection: sqlite3.Connection, series_id: str) -> None:
    """Deliveries of the series that have not happened will not happen."""
    connection.execute(
        "UPDATE delivery SET state = ? WHERE series_id = ? AND state = ?",
        (DeliveryState.SUPERSEDED, series_id, DeliveryState.PENDING),
    )


def make_due(connection: sqlite3.Connection, series_id: str, now: float) -> None:
    """Deliveries of the series that wait for their next attempt get it now, whatever the destination did."""
    connection.execute(
        "UPDATE delivery SET next_attempt_at = ? WHERE series_id = ? AND state = ?",
        (now, series_id, DeliveryState.PENDING),
    )
    connection.execute(
        "UPDATE destination SET next_attempt_at = 0 WHERE name IN "
        "(SELECT destination FROM delivery WHERE series_id = ? AND state = ?)",
        (series_id, DeliveryState.PENDING),
    )


def offer_again(connection: sqlite3.Connection, series_id: str, now: float) -> bool:
    """Give refused deliveries of the current generation another chance; whether there were any."""
    current_results = (
        "series_id = ? AND state = ? AND sop_instance_uid IN (SELECT sop_instance_uid FROM result "
        "JOIN series ON series.id = result.series_id AND series.generation = result.generation "
        "WHERE result.series_id = ?)"
    )
    values = (series_id, DeliveryState.REFUSED, series_id)
    connection.execute(
        "DELETE FROM kind_refusal WHERE destination IN "
        f"(SELECT destination FROM delivery WHERE {current_results})",
        values,
    )
    changed = connection.execute(
        f"UPDATE delivery SET state = ?, attempts = 0, next_attempt_at = ? WHERE {current_results}",
        (DeliveryState.PENDING, now, *values),
    )
    make_due(connection, series_id, now)
    return changed.rowcount > 0

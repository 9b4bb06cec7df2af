"""The part of the ledger that delivery works through: each result object once to each destination."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence

from dicomnode.spool import rows
from dicomnode.spool.database import Database
from dicomnode.spool.errors import LedgerError
from dicomnode.spool.records import Accepting, Backlog, DeliveryRecord, ResultObject, SeriesRecord
from dicomnode.spool.states import DeliveryState, SeriesState


class Outbox:
    """Deliveries that wait; all methods may be called from any thread."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def due(self, destination: str, now: float | None = None) -> tuple[DeliveryRecord, ...]:
        """What should be sent to ``destination`` at ``now``, oldest result first, SEG before its SR."""
        with self._database.read() as connection:
            found = connection.execute(
                f"{rows.DELIVERIES} WHERE state = ? AND destination = ? AND next_attempt_at <= ? "
                "ORDER BY result.created_at, series_id, result.position",
                (DeliveryState.PENDING, destination, self._clock() if now is None else now),
            )
            return tuple(rows.delivery(row) for row in found)

    def next_attempt_at(self, destination: str) -> float | None:
        """When the next delivery to ``destination`` is due; ``None`` if nothing waits."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT min(next_attempt_at) FROM delivery WHERE state = ? AND destination = ?",
                (DeliveryState.PENDING, destination),
            ).fetchone()
        return None if row[0] is None else float(row[0])

    def succeeded(self, delivery: DeliveryRecord) -> None:
        """The destination has the object; with the last one the series is ``delivered``.

        A delivery that was superseded while it was on its way counts as delivered: it is there.
        """
        now = self._clock()
        with self._database.write() as connection:
            self._update(
                connection,
                delivery,
                "state = ?, attempts = attempts + 1, last_error = '', delivered_at = ?",
                (DeliveryState.DELIVERED, now),
            )
            if not has_pending(connection, delivery.series_id):
                connection.execute(
                    "UPDATE series SET state = ?, state_since = ? WHERE id = ? AND state = ?",
                    (SeriesState.DELIVERED, now, delivery.series_id, SeriesState.DELIVERING),
                )

    def failed(self, delivery: DeliveryRecord, error: str, next_attempt_at: float) -> None:
        """The destination doesn't have it yet; try again at ``next_attempt_at``."""
        with self._database.write(announce=False) as connection:
            self._update(
                connection,
                delivery,
                "attempts = attempts + 1, last_error = ?, next_attempt_at = ?",
                (error, next_attempt_at),
            )

    def backlog(self) -> tuple[Backlog, ...]:
        """What waits, a line a destination."""
        with self._database.read() as connection:
            found = connection.execute(
                "SELECT destination, count(*) AS pending, min(created_at) AS oldest_created_at, "
                "min(next_attempt_at) AS next_attempt_at, max(last_error) AS last_error "
                "FROM delivery JOIN result USING (series_id, sop_instance_uid) WHERE state = ? "
                "GROUP BY destination ORDER BY destination",
                (DeliveryState.PENDING,),
            )
            return tuple(Backlog(**dict(row)) for row in found)

    @staticmethod
    def _update(
        connection: sqlite3.Connection,
        delivery: DeliveryRecord,
        assignments: str,
        values: tuple[str | float, ...],
    ) -> None:
        updated = connection.execute(
            f"UPDATE delivery SET {assignments} "
            "WHERE series_id = ? AND sop_instance_uid = ? AND destination = ?",
            (*values, delivery.series_id, delivery.sop_instance_uid, delivery.destination),
        )
        if updated.rowcount != 1:
            raise LedgerError(f"series {delivery.series_id} has no such delivery to {delivery.destination!r}")


def enqueue(
    connection: sqlite3.Connection,
    series: SeriesRecord,
    results: Sequence[ResultObject],
    destinations: Iterable[Accepting],
    now: float,
) -> None:
    """Note the results and, for each destination that accepts their kind, a pending delivery.

    An object that a destination got in an earlier attempt stays delivered; its UID is derived from the
    input, so it is the same object.
    """
    receivers = tuple(destinations)
    for position, result in enumerate(results):
        connection.execute(
            "INSERT INTO result (series_id, sop_instance_uid, generation, position, kind, sop_class_uid, "
            "path, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "generation = excluded.generation, position = excluded.position, path = excluded.path",
            (
                series.id,
                result.sop_instance_uid,
                series.generation,
                position,
                str(result.kind),
                result.sop_class_uid,
                str(result.path),
                now,
            ),
        )
        for destination in receivers:
            if str(result.kind) not in destination.accepts:
                continue
            connection.execute(
                "INSERT INTO delivery (series_id, sop_instance_uid, destination, state, next_attempt_at) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state, "
                "attempts = 0, next_attempt_at = excluded.next_attempt_at, last_error = '' WHERE state <> ?",
                (
                    series.id,
                    result.sop_instance_uid,
                    destination.name,
                    DeliveryState.PENDING,
                    now,
                    DeliveryState.DELIVERED,
                ),
            )


def has_pending(connection: sqlite3.Connection, series_id: str) -> bool:
    """Whether something of the series still has to be delivered."""
    row = connection.execute(
        "SELECT 1 FROM delivery WHERE series_id = ? AND state = ? LIMIT 1", (series_id, DeliveryState.PENDING)
    ).fetchone()
    return row is not None


def supersede(connection: sqlite3.Connection, series_id: str) -> None:
    """Deliveries of the series that have not happened will not happen."""
    connection.execute(
        "UPDATE delivery SET state = ? WHERE series_id = ? AND state = ?",
        (DeliveryState.SUPERSEDED, series_id, DeliveryState.PENDING),
    )


def make_due(connection: sqlite3.Connection, series_id: str, now: float) -> None:
    """Deliveries of the series that wait for their next attempt get it now."""
    connection.execute(
        "UPDATE delivery SET next_attempt_at = ? WHERE series_id = ? AND state = ?",
        (now, series_id, DeliveryState.PENDING),
    )

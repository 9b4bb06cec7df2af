"""The part of the ledger that delivery works through: each result object once to each destination."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection

from dicomnode.spool import rows
from dicomnode.spool.database import Database
from dicomnode.spool.errors import LedgerError
from dicomnode.spool.moves import get, move, note
from dicomnode.spool.queueing import BUNDLE_KIND, fall_back, settle
from dicomnode.spool.records import Backlog, DeliveryRecord, DestinationRecord, KindRefusal
from dicomnode.spool.states import DeliveryState, SeriesState

OBJECTS_FOR_GOOD = 3
"""So many objects of one kind refused in a row make a destination one that doesn't take the kind."""

KIND_REFUSAL_SECONDS = 7 * 86400.0
"""After this a kind that was refused for good is offered once more: systems get upgraded."""

UNDELIVERABLE_REASON = "undeliverable"


class Outbox:
    """Deliveries that wait; all methods may be called from any thread."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def due(self, destination: str, now: float | None = None) -> tuple[DeliveryRecord, ...]:
        """What should be sent to ``destination`` at ``now``, oldest result first, SEG before its SR.

        Nothing, while the destination as a whole waits for its next attempt.
        """
        moment = self._clock() if now is None else now
        with self._database.read() as connection:
            if _destination_waits_until(connection, destination) > moment:
                return ()
            found = connection.execute(
                f"{rows.DELIVERIES} WHERE state = ? AND destination = ? AND next_attempt_at <= ? "
                "ORDER BY result.created_at, series_id, result.position",
                (DeliveryState.PENDING, destination, moment),
            )
            return tuple(rows.delivery(row) for row in found)

    def next_attempt_at(self, destination: str) -> float | None:
        """When the next delivery to ``destination`` is due; ``None`` if nothing waits."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT min(next_attempt_at) FROM delivery WHERE state = ? AND destination = ?",
                (DeliveryState.PENDING, destination),
            ).fetchone()
            waits_until = _destination_waits_until(connection, destination)
        return None if row[0] is None else max(float(row[0]), waits_until)

    def bring_forward(self, destination: str, latest: float, latest_object: float | None = None) -> None:
        """Make due what would wait beyond ``latest``: a clock that was set back held it up by as much.

        Parameters
        ----------
        latest_object:
            For a single object, where that may wait for longer than the destination as a whole.
        """
        object_limit = latest if latest_object is None else latest_object
        with self._database.read() as connection:
            beyond = connection.execute(
                "SELECT 1 FROM delivery WHERE state = ? AND destination = ? AND next_attempt_at > ? LIMIT 1",
                (DeliveryState.PENDING, destination, object_limit),
            ).fetchone()
            if beyond is None and _destination_waits_until(connection, destination) <= latest:
                return
        with self._database.write(announce=False) as connection:
            connection.execute(
                "UPDATE delivery SET next_attempt_at = 0 "
                "WHERE state = ? AND destination = ? AND next_attempt_at > ?",
                (DeliveryState.PENDING, destination, object_limit),
            )
            connection.execute(
                "UPDATE destination SET next_attempt_at = 0 WHERE name = ? AND next_attempt_at > ?",
                (destination, latest),
            )

    def succeeded(self, delivery: DeliveryRecord, remark: str = "") -> None:
        """The destination has the object; with the last one the series is ``delivered``.

        A delivery that was superseded while it was on its way counts as delivered: it is there.

        Parameters
        ----------
        remark:
            What the destination warned of; stays with the delivery and in the story of the series.
        """
        now = self._clock()
        with self._database.write() as connection:
            self._update(
                connection,
                delivery,
                "state = ?, attempts = attempts + 1, last_error = ?, delivered_at = ?",
                (DeliveryState.DELIVERED, remark, now),
            )
            if remark:
                text = f"{delivery.kind} to {delivery.destination}: {remark}"
                note(connection, get(connection, delivery.series_id), now, text)
            connection.execute(
                "INSERT INTO destination (name, last_success_at) VALUES (?, ?) ON CONFLICT DO UPDATE SET "
                "failures = 0, next_attempt_at = 0, last_error = '', "
                "last_success_at = excluded.last_success_at",
                (delivery.destination, now),
            )
            connection.execute(
                "DELETE FROM kind_refusal WHERE destination = ? AND kind = ?",
                (delivery.destination, delivery.kind),
            )
            settle(connection, delivery.series_id, now)

    def failed(self, delivery: DeliveryRecord, error: str, next_attempt_at: float) -> None:
        """The destination doesn't have the object yet; try again at ``next_attempt_at``."""
        with self._database.write(announce=False) as connection:
            self._update(
                connection,
                delivery,
                "attempts = attempts + 1, last_error = ?, next_attempt_at = ?",
                (error, next_attempt_at),
            )

    def refused(self, delivery: DeliveryRecord, error: str, *, whole_kind: bool) -> bool:
        """The destination won't ever take the object; whether it gets the picture instead.

        Parameters
        ----------
        whole_kind:
            It takes no object of this kind (its SOP class is not accepted), so none is offered any more for
            :data:`KIND_REFUSAL_SECONDS`. Otherwise that is so after :data:`OBJECTS_FOR_GOOD` objects.
        """
        now = self._clock()
        with self._database.write() as connection:
            self._update(
                connection,
                delivery,
                "state = ?, attempts = attempts + 1, last_error = ?",
                (DeliveryState.REFUSED, error),
            )
            connection.execute(
                "INSERT INTO kind_refusal (destination, kind, reason, objects, for_good, refused_at) "
                "VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET reason = excluded.reason, "
                "objects = objects + 1, refused_at = excluded.refused_at, "
                "for_good = for_good OR excluded.for_good OR objects + 1 >= ?",
                (delivery.destination, delivery.kind, error, whole_kind, now, OBJECTS_FOR_GOOD),
            )
            replaced = delivery.kind != BUNDLE_KIND and fall_back(
                connection, delivery.series_id, delivery.destination, now
            )
            settle(connection, delivery.series_id, now)
            return replaced

    def destination_failed(self, destination: str, error: str, next_attempt_at: float) -> int:
        """The destination as a whole can't be reached: nothing is tried before; its failures in a row."""
        with self._database.write(announce=False) as connection:
            row = connection.execute(
                "INSERT INTO destination (name, failures, next_attempt_at, last_error) VALUES (?, 1, ?, ?) "
                "ON CONFLICT DO UPDATE SET failures = failures + 1, "
                "next_attempt_at = excluded.next_attempt_at, last_error = excluded.last_error "
                "RETURNING failures",
                (destination, next_attempt_at, error),
            ).fetchone()
            return int(row["failures"])

    def destination_answers(self, destination: str) -> None:
        """It works again, even if it has refused what it was offered."""
        with self._database.write(announce=False) as connection:
            connection.execute(
                "UPDATE destination SET failures = 0, next_attempt_at = 0, last_error = '' WHERE name = ?",
                (destination,),
            )

    def destination(self, name: str) -> DestinationRecord:
        """How the destination has answered so far."""
        with self._database.read() as connection:
            row = connection.execute("SELECT * FROM destination WHERE name = ?", (name,)).fetchone()
        return DestinationRecord(name, 0, 0.0, "", None) if row is None else DestinationRecord(**dict(row))

    def kind_refusals(self) -> tuple[KindRefusal, ...]:
        """What the destinations refused."""
        with self._database.read() as connection:
            found = connection.execute("SELECT * FROM kind_refusal ORDER BY destination, kind")
            return tuple(KindRefusal(**{**dict(row), "for_good": bool(row["for_good"])}) for row in found)

    def forget_old_refusals(self) -> None:
        """Kinds that were refused long ago are offered again."""
        with self._database.write(announce=False) as connection:
            connection.execute(
                "DELETE FROM kind_refusal WHERE refused_at <= ?", (self._clock() - KIND_REFUSAL_SECONDS,)
            )

    def give_up(self, series_id: str, detail: str) -> None:
        """Stop offering a series that was not taken in time; ``dicomnode retry`` offers it again."""
        now = self._clock()
        with self._database.write() as connection:
            series = get(connection, series_id)
            if series.state is not SeriesState.DELIVERING:
                raise LedgerError(f"series {series_id} is {series.state}, not delivering")
            connection.execute(
                "UPDATE delivery SET state = ? WHERE series_id = ? AND state = ?",
                (DeliveryState.REFUSED, series_id, DeliveryState.PENDING),
            )
            move(connection, series, now, SeriesState.FAILED, reason=UNDELIVERABLE_REASON, detail=detail)

    def missing_files(self, exists: Callable[[DeliveryRecord], bool]) -> frozenset[str]:
        """Series with a pending delivery whose file isn't there."""
        with self._database.read() as connection:
            found = connection.execute(f"{rows.DELIVERIES} WHERE state = ?", (DeliveryState.PENDING,))
            pending = [rows.delivery(row) for row in found]
        return frozenset(delivery.series_id for delivery in pending if not exists(delivery))

    def backlog(self) -> tuple[Backlog, ...]:
        """What waits, a line a destination."""
        with self._database.read() as connection:
            found = connection.execute(
                "SELECT destination, count(*) AS pending, min(created_at) AS oldest_created_at, "
                "max(min(delivery.next_attempt_at), coalesce(max(destination.next_attempt_at), 0)) "
                "AS next_attempt_at, coalesce(nullif(max(destination.last_error), ''), "
                "max(delivery.last_error)) AS last_error FROM delivery "
                "JOIN result USING (series_id, sop_instance_uid) "
                "LEFT JOIN destination ON destination.name = delivery.destination WHERE state = ? "
                "GROUP BY destination ORDER BY destination",
                (DeliveryState.PENDING,),
            )
            return tuple(Backlog(**dict(row)) for row in found)

    def forget_commitment(self, except_for: Collection[str]) -> None:
        """Destinations that offer no storage commitment (any more) needn't give one."""
        now = self._clock()
        with self._database.write() as connection:
            waiting = connection.execute(
                "SELECT DISTINCT series_id, destination FROM delivery WHERE wants_commitment AND state <> ?",
                (DeliveryState.COMMITTED,),
            ).fetchall()
            for row in waiting:
                if row["destination"] not in except_for:
                    connection.execute(
                        "UPDATE delivery SET wants_commitment = 0 WHERE series_id = ? AND destination = ?",
                        (row["series_id"], row["destination"]),
                    )
                    settle(connection, row["series_id"], now)

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


def _destination_waits_until(connection: sqlite3.Connection, name: str) -> float:
    row = connection.execute("SELECT next_attempt_at FROM destination WHERE name = ?", (name,)).fetchone()
    return 0.0 if row is None else float(row[0])

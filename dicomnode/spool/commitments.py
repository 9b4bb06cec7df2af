"""Storage commitment (PS3.4 Annex J): what the node asks of destinations."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence

from dicomnode.spool import rows
from dicomnode.spool.database import Database
from dicomnode.spool.moves import get, move, note
from dicomnode.spool.queueing import has_pending, settle
from dicomnode.spool.records import DeliveryRecord
from dicomnode.spool.states import DeliveryState, SeriesState

FIRST_REPEAT_SECONDS = 60
LAST_REPEAT_SECONDS = 6 * 3600
"""Between deliveries of an object that its destination takes and then doesn't have: 1 min, 2 min ... 6 h."""


class AskedOfDestinations:
    """Our own requests: a delivered object is ``committed`` once its destination has promised to keep it."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def to_ask(self, destination: str) -> tuple[DeliveryRecord, ...]:
        """Delivered objects for which no promise has been asked yet, or no answer came in time."""
        with self._database.read() as connection:
            found = connection.execute(
                f"{rows.DELIVERIES} WHERE state = ? AND destination = ? AND wants_commitment "
                "AND transaction_uid NOT IN (SELECT transaction_uid FROM commitment WHERE ask_again_at > ?) "
                "ORDER BY delivered_at, series_id, result.position",
                (DeliveryState.DELIVERED, destination, self._clock()),
            )
            return tuple(rows.delivery(row) for row in found)

    def next_question_at(self, destination: str) -> float | None:
        """When the next request to ``destination`` is due; ``None`` if it has promised everything."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT min(coalesce(ask_again_at, 0)) FROM delivery "
                "LEFT JOIN commitment USING (transaction_uid, destination) "
                "WHERE state = ? AND destination = ? AND wants_commitment",
                (DeliveryState.DELIVERED, destination),
            ).fetchone()
        return None if row[0] is None else float(row[0])

    def unpromised(self, destination: str) -> int:
        """How many delivered objects it has not promised to keep, whether asked for already or not."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT count(*) FROM delivery WHERE state = ? AND destination = ? AND wants_commitment",
                (DeliveryState.DELIVERED, destination),
            ).fetchone()
        return int(row[0])

    def asked(
        self,
        transaction_uid: str,
        destination: str,
        deliveries: Sequence[DeliveryRecord],
        ask_again_at: float,
    ) -> None:
        """Note a request before it is sent, so that its answer is known whenever it comes."""
        with self._database.write(announce=False) as connection:
            connection.execute(
                "INSERT INTO commitment (transaction_uid, destination, requested_at, ask_again_at) "
                "VALUES (?, ?, ?, ?)",
                (transaction_uid, destination, self._clock(), ask_again_at),
            )
            connection.executemany(
                "UPDATE delivery SET transaction_uid = ? "
                "WHERE series_id = ? AND sop_instance_uid = ? AND destination = ?",
                [(transaction_uid, d.series_id, d.sop_instance_uid, destination) for d in deliveries],
            )

    def ask_again_now(self, destination: str) -> None:
        """Requests without an answer are due at once: the association that it was to come on has ended."""
        now = self._clock()
        with self._database.write(announce=False) as connection:
            connection.execute(
                "UPDATE commitment SET ask_again_at = ? WHERE destination = ? AND ask_again_at > ?",
                (now, destination, now),
            )

    def not_taken(self, transaction_uid: str, error: str) -> None:
        """The request came to nothing: say so in the story of each series, the first time."""
        now = self._clock()
        text = f"no storage commitment: {error}"
        with self._database.write(announce=False) as connection:
            for row in connection.execute(
                "SELECT DISTINCT series_id FROM delivery WHERE transaction_uid = ? AND NOT EXISTS "
                "(SELECT 1 FROM event WHERE event.series_id = delivery.series_id AND text = ?)",
                (transaction_uid, text),
            ).fetchall():
                note(connection, get(connection, row["series_id"]), now, text)

    def answered(
        self, transaction_uid: str, committed: Collection[str], failed: Collection[str]
    ) -> str | None:
        """The destination's N-EVENT-REPORT; the destination, or ``None`` if nobody was asked this.

        What it doesn't hold is delivered again, at once, and if that doesn't help less and less often.

        Parameters
        ----------
        committed, failed:
            SOP Instance UIDs.
        """
        now = self._clock()
        with self._database.write() as connection:
            row = connection.execute(
                "SELECT destination FROM commitment WHERE transaction_uid = ?", (transaction_uid,)
            ).fetchone()
            if row is None:
                return None
            destination = str(row["destination"])
            touched = {
                *_mark(connection, destination, committed, DeliveryState.COMMITTED, now),
                *_mark(connection, destination, failed, DeliveryState.PENDING, now),
            }
            for series_id in sorted(touched):
                series = get(connection, series_id)
                if series.state is SeriesState.DELIVERED and has_pending(connection, series_id):
                    detail = f"{destination} doesn't hold what it had accepted"
                    move(connection, series, now, SeriesState.DELIVERING, detail=detail)
                settle(connection, series_id, now)
            return destination


def _mark(
    connection: sqlite3.Connection,
    destination: str,
    sop_instance_uids: Collection[str],
    state: DeliveryState,
    now: float,
) -> set[str]:
    """Bring delivered objects into ``state``; the series that they belong to."""
    touched: set[str] = set()
    for uid in sop_instance_uids:
        found = connection.execute(
            "UPDATE delivery SET state = ?, committed_at = ?, transaction_uid = '', next_attempt_at = ? + "
            "CASE WHEN attempts <= 1 THEN 0 ELSE min(? << min(attempts - 2, 16), ?) END "
            "WHERE destination = ? AND sop_instance_uid = ? AND state = ? RETURNING series_id",
            (
                state,
                now if state is DeliveryState.COMMITTED else None,
                now,
                FIRST_REPEAT_SECONDS,
                LAST_REPEAT_SECONDS,
                destination,
                uid,
                DeliveryState.DELIVERED,
            ),
        )
        touched.update(str(row["series_id"]) for row in found)
    return touched

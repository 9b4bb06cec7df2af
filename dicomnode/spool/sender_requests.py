"""Storage commitment (PS3.4 Annex J): what senders ask of the node, and what that tells of their series."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence

from dicomnode.spool.database import Database
from dicomnode.spool.errors import LedgerError
from dicomnode.spool.moves import get, note
from dicomnode.spool.records import CommitmentListing, CommitmentRequest, is_uid


class AskedByOthers:
    """Requests of senders, kept until they are reported."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def accept(self, requestor: str, transaction_uid: str, instances: Sequence[tuple[str, str]]) -> None:
        """Take a request; the same one again is reported again.

        Raises
        ------
        LedgerError
            If a UID isn't one or nothing is asked for.
        """
        uids = (transaction_uid, *(uid for pair in instances for uid in pair))
        if not instances or not all(map(is_uid, uids)):
            raise LedgerError("a storage commitment request needs a transaction UID and references by UID")
        now = self._clock()
        key = (requestor, transaction_uid)
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO commitment_request (requestor, transaction_uid, requested_at, next_attempt_at) "
                "VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET reported_at = NULL, "
                "next_attempt_at = excluded.next_attempt_at",
                (*key, now, now),
            )
            connection.execute(
                "DELETE FROM commitment_request_item WHERE requestor = ? AND transaction_uid = ?", key
            )
            connection.executemany(
                "INSERT INTO commitment_request_item VALUES (?, ?, ?, ?, ?)",
                [(*key, position, *pair) for position, pair in enumerate(instances)],
            )

    def waiting(self) -> tuple[CommitmentRequest, ...]:
        """Requests that are not reported yet, oldest first."""
        with self._database.read() as connection:
            found = connection.execute(
                "SELECT * FROM commitment_request WHERE reported_at IS NULL ORDER BY requested_at"
            ).fetchall()
            return tuple(CommitmentRequest(**dict(row), instances=_items(connection, row)) for row in found)

    def due(self, limit: int = 100) -> tuple[CommitmentRequest, ...]:
        """Requests that are to be reported now, oldest first, at most ``limit`` of them."""
        with self._database.read() as connection:
            found = connection.execute(
                "SELECT * FROM commitment_request WHERE reported_at IS NULL AND next_attempt_at <= ? "
                "ORDER BY requested_at LIMIT ?",
                (self._clock(), limit),
            ).fetchall()
            return tuple(CommitmentRequest(**dict(row), instances=_items(connection, row)) for row in found)

    def next_report_in(self) -> float | None:
        """Seconds until the next report is due; ``None`` if none waits."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT min(next_attempt_at) FROM commitment_request WHERE reported_at IS NULL"
            ).fetchone()
        return None if row[0] is None else max(0.0, float(row[0]) - self._clock())

    def series_in(self, requestor: str, transaction_uid: str) -> tuple[str, ...]:
        """Series of which the node holds an instance that the request lists."""
        with self._database.read() as connection:
            return tuple(_series_of(connection, requestor, transaction_uid))

    def listings(self, series_id: str) -> tuple[CommitmentListing, ...]:
        """What requests say of a series, reported or not, newest first."""
        with self._database.read() as connection:
            held = connection.execute(_HELD_OF_SERIES, (series_id,)).fetchall()
            missing = connection.execute(_MISSING_OF_SERIES, (series_id,)).fetchall() if held else []
        of_request: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
        for row in held:
            of_request.setdefault((row[0], row[1]), (set(), set()))[0].add(str(row[2]))
        for row in missing:
            of_request[row[0], row[1]][1].add(str(row[2]))
        return tuple(
            CommitmentListing(requestor, transaction_uid, frozenset(kept), frozenset(gone))
            for (requestor, transaction_uid), (kept, gone) in of_request.items()
        )

    def held(self, instances: Sequence[tuple[str, str]]) -> tuple[bool, ...]:
        """For each (SOP class UID, SOP instance UID) whether the node holds it durably."""
        with self._database.read() as connection:
            return tuple(
                connection.execute(
                    "SELECT 1 FROM instance WHERE sop_instance_uid = ? AND sop_class_uid = ? LIMIT 1",
                    (sop_instance_uid, sop_class_uid),
                ).fetchone()
                is not None
                for sop_class_uid, sop_instance_uid in instances
            )

    def known(self, sop_instance_uids: Collection[str]) -> frozenset[str]:
        """Which of these the node holds, of whatever SOP class."""
        with self._database.read() as connection:
            found = "SELECT 1 FROM instance WHERE sop_instance_uid = ? LIMIT 1"
            return frozenset(uid for uid in sop_instance_uids if connection.execute(found, (uid,)).fetchone())

    def reported(self, request: CommitmentRequest, failed: int = 0) -> None:
        """The sender has its answer; ``failed`` of its instances are not kept."""
        now = self._clock()
        text = f"storage commitment reported to {request.requestor}"
        if failed:
            text += f": {failed} of the {len(request.instances)} instances that it listed are not here"
        with self._database.write(announce=False) as connection:
            connection.execute(
                "UPDATE commitment_request SET reported_at = ?, attempts = attempts + 1, last_error = '' "
                "WHERE requestor = ? AND transaction_uid = ?",
                (now, request.requestor, request.transaction_uid),
            )
            _note(connection, request, now, text)

    def not_reported(self, request: CommitmentRequest, error: str, next_attempt_at: float) -> None:
        """The answer couldn't be brought; try again at ``next_attempt_at``."""
        with self._database.write(announce=False) as connection:
            connection.execute(
                "UPDATE commitment_request SET attempts = attempts + 1, last_error = ?, next_attempt_at = ? "
                "WHERE requestor = ? AND transaction_uid = ?",
                (error, next_attempt_at, request.requestor, request.transaction_uid),
            )
            if error != request.last_error:
                _note(connection, request, self._clock(), f"storage commitment not reported yet: {error}")


_HELD_OF_SERIES = """
SELECT item.requestor, item.transaction_uid, item.sop_instance_uid FROM instance
JOIN commitment_request_item AS item USING (sop_instance_uid, sop_class_uid)
JOIN commitment_request AS request USING (requestor, transaction_uid)
WHERE instance.series_id = ? ORDER BY request.requested_at DESC
"""
_MISSING_OF_SERIES = """
WITH of_series AS (SELECT sop_instance_uid, sop_class_uid FROM instance WHERE series_id = ?),
asked AS (
    SELECT DISTINCT requestor, transaction_uid
    FROM of_series JOIN commitment_request_item USING (sop_instance_uid, sop_class_uid)
)
SELECT requestor, transaction_uid, item.sop_instance_uid
FROM asked JOIN commitment_request_item AS item USING (requestor, transaction_uid)
WHERE item.sop_class_uid IN (SELECT sop_class_uid FROM of_series) AND NOT EXISTS (
    SELECT 1 FROM instance
    WHERE instance.sop_instance_uid = item.sop_instance_uid AND instance.sop_class_uid = item.sop_class_uid
)
"""


def requests_for(connection: sqlite3.Connection, series_id: str) -> list[tuple[str, str]]:
    """Requests that list an instance of the series: requestor and transaction UID."""
    found = connection.execute(
        "SELECT DISTINCT requestor, transaction_uid FROM instance "
        "JOIN commitment_request_item USING (sop_instance_uid) WHERE series_id = ?",
        (series_id,),
    )
    return [(str(row[0]), str(row[1])) for row in found]


def forget_reported(connection: sqlite3.Connection, requests: Collection[tuple[str, str]]) -> None:
    """Drop those of the requests that are reported and list nothing that is still held."""
    for key in requests:
        needed = connection.execute(
            "SELECT 1 FROM commitment_request "
            "JOIN commitment_request_item USING (requestor, transaction_uid) "
            "WHERE requestor = ? AND transaction_uid = ? AND (reported_at IS NULL OR EXISTS "
            "(SELECT 1 FROM instance WHERE sop_instance_uid = commitment_request_item.sop_instance_uid)) "
            "LIMIT 1",
            key,
        ).fetchone()
        if needed is None:
            for table in ("commitment_request_item", "commitment_request"):
                connection.execute(f"DELETE FROM {table} WHERE requestor = ? AND transaction_uid = ?", key)


def _items(connection: sqlite3.Connection, request: sqlite3.Row) -> tuple[tuple[str, str], ...]:
    found = connection.execute(
        "SELECT sop_class_uid, sop_instance_uid FROM commitment_request_item "
        "WHERE requestor = ? AND transaction_uid = ? ORDER BY position",
        (request["requestor"], request["transaction_uid"]),
    )
    return tuple((str(row[0]), str(row[1])) for row in found)


def _series_of(connection: sqlite3.Connection, requestor: str, transaction_uid: str) -> list[str]:
    found = connection.execute(
        "SELECT DISTINCT series_id FROM instance JOIN commitment_request_item USING (sop_instance_uid) "
        "WHERE requestor = ? AND transaction_uid = ?",
        (requestor, transaction_uid),
    )
    return [str(row[0]) for row in found]


def _note(connection: sqlite3.Connection, request: CommitmentRequest, now: float, text: str) -> None:
    for series_id in _series_of(connection, request.requestor, request.transaction_uid):
        note(connection, get(connection, series_id), now, text)

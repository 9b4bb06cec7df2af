"""The ledger: what the node has promised, one transaction a promise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dicomnode.spool import rows
from dicomnode.spool.database import Database
from dicomnode.spool.errors import LedgerError
from dicomnode.spool.intake import add_instance, count_repetition, find_instance
from dicomnode.spool.moves import current, find, get, move
from dicomnode.spool.outbox import Outbox, enqueue, has_pending, make_due, supersede
from dicomnode.spool.records import (
    Accepting,
    InstanceRecord,
    Kept,
    NewInstance,
    ResultObject,
    SeriesDetails,
    SeriesRecord,
)
from dicomnode.spool.states import SeriesState


class Ledger:
    """States of all series, their instances and results.

    All methods may be called from any thread and raise :class:`LedgerError` for a move that
    :data:`~dicomnode.spool.states.TRANSITIONS` doesn't have. ``generation`` is the one that the caller
    claimed; if late slices made a newer one, nothing changes and
    :class:`~dicomnode.spool.errors.SupersededError` says so.

    Parameters
    ----------
    path:
        SQLite file, made if missing.
    clock:
        Seconds since 1970 UTC.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.database = Database(path)
        self.outbox = Outbox(self.database, clock)
        self._clock = clock

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def record_instance(self, instance: NewInstance, path: Path, size: int) -> Kept:
        """Note an instance whose file is on disk already.

        A late slice takes the series back to ``receiving`` in a new generation: results that were not
        sent yet are superseded, sent ones stay on record. An instance that is known already changes no state.

        Parameters
        ----------
        path:
            Relative to the spool directory.
        size:
            Bytes of the file.
        """
        with self.database.write(announce=False) as connection:
            known = find_instance(connection, instance)
            if known is not None:
                return count_repetition(connection, known, instance)
            add_instance(connection, instance, path, size, self._clock())
            return Kept.NEW

    def note_repetition(self, instance: NewInstance) -> Kept | None:
        """What an instance would be that is offered again, or ``None`` if it is unknown.

        Other bytes under a known UID are counted in the instance's ``conflicts``.
        """
        with self.database.read() as connection:
            known = find_instance(connection, instance)
        if known is None:
            return None
        if known.sha256 == instance.sha256:
            return Kept.DUPLICATE
        with self.database.write(announce=False) as connection:
            return count_repetition(connection, known, instance)

    def mark_complete(self, series_id: str, decision: str) -> None:
        """``receiving`` to ``complete``; ``decision`` is the evidence in words."""
        with self.database.write() as connection:
            series = get(connection, series_id)
            move(connection, series, self._clock(), SeriesState.COMPLETE, completeness=decision)

    def claim_next(self) -> SeriesRecord | None:
        """Take the longest waiting complete series for analysis; ``None`` if there is none.

        Its attempts are counted here, before anything can go wrong.
        """
        with self.database.read() as connection:
            waiting = connection.execute(_NEXT_COMPLETE).fetchone() is not None
        if not waiting:
            return None
        with self.database.write() as connection:
            row = connection.execute(_NEXT_COMPLETE).fetchone()
            if row is None:
                return None
            series = rows.series(row)
            move(connection, series, self._clock(), SeriesState.ANALYZING, attempts=series.attempts + 1)
            return get(connection, series.id)

    def record_results(
        self,
        series_id: str,
        generation: int,
        results: Sequence[ResultObject],
        destinations: Iterable[Accepting],
    ) -> SeriesRecord:
        """``analyzing`` to ``delivering``, or to ``delivered`` if no destination takes any of the results.

        The files must be on disk (:func:`dicomnode.spool.instances.make_durable`). A result object that a
        destination has already, from an earlier attempt, isn't queued again.
        """
        with self.database.write() as connection:
            series = current(connection, series_id, generation, SeriesState.ANALYZING)
            enqueue(connection, series, results, destinations, self._clock())
            pending = has_pending(connection, series_id)
            move(
                connection,
                series,
                self._clock(),
                SeriesState.DELIVERING if pending else SeriesState.DELIVERED,
            )
            return get(connection, series_id)

    def refuse(
        self,
        series_id: str,
        generation: int,
        reason: str,
        detail: str,
        *,
        results: Sequence[ResultObject] = (),
        destinations: Iterable[Accepting] = (),
    ) -> SeriesRecord:
        """``analyzing`` to ``refused``; the SR that says why goes out through the same queue."""
        with self.database.write() as connection:
            series = current(connection, series_id, generation, SeriesState.ANALYZING)
            enqueue(connection, series, results, destinations, self._clock())
            move(connection, series, self._clock(), SeriesState.REFUSED, reason=reason, detail=detail)
            return get(connection, series_id)

    def fail(self, series_id: str, generation: int, reason: str, detail: str) -> SeriesRecord:
        """To ``failed``; results that wait for delivery are no longer sent."""
        with self.database.write() as connection:
            series = current(connection, series_id, generation)
            move(connection, series, self._clock(), SeriesState.FAILED, reason=reason, detail=detail)
            supersede(connection, series_id)
            return get(connection, series_id)

    def requeue(self, series_id: str, generation: int, detail: str) -> SeriesRecord:
        """``analyzing`` back to ``complete`` for another attempt, with the sentence that says why."""
        with self.database.write() as connection:
            series = current(connection, series_id, generation, SeriesState.ANALYZING)
            move(connection, series, self._clock(), SeriesState.COMPLETE, detail=detail)
            return get(connection, series_id)

    def requeue_interrupted(self, maximum_attempts: int) -> tuple[SeriesRecord, ...]:
        """At start: every ``analyzing`` series goes back to ``complete``.

        One that was begun ``maximum_attempts`` times goes to ``failed``, so that it can't take the node
        down for ever.
        """
        with self.database.write() as connection:
            interrupted = [rows.series(row) for row in connection.execute(_ANALYZING)]
            for series in interrupted:
                if series.attempts >= maximum_attempts:
                    detail = f"the node stopped during each of {series.attempts} attempts"
                    move(
                        connection,
                        series,
                        self._clock(),
                        SeriesState.FAILED,
                        reason="interrupted",
                        detail=detail,
                    )
                else:
                    detail = f"the node stopped during attempt {series.attempts}"
                    move(connection, series, self._clock(), SeriesState.COMPLETE, detail=detail)
            return tuple(get(connection, series.id) for series in interrupted)

    def retry(self, series_id: str) -> SeriesRecord:
        """What ``dicomnode retry`` does: analyse a failed or refused series again, or deliver now.

        Raises
        ------
        LedgerError
            If the series is in a state in which there is nothing to retry.
        """
        with self.database.write() as connection:
            series = find(connection, series_id)
            if series.state is SeriesState.DELIVERING:
                make_due(connection, series.id, self._clock())
            elif series.state in (SeriesState.FAILED, SeriesState.REFUSED):
                if series.instances == 0:
                    raise LedgerError(f"series {series.id} has no instances left; send it again")
                supersede(connection, series.id)
                move(
                    connection, series, self._clock(), SeriesState.COMPLETE, attempts=0, reason="", detail=""
                )
            else:
                raise LedgerError(
                    f"series {series.id} is {series.state}; retry is for failed, refused, delivering"
                )
            return get(connection, series.id)

    def forget_instances(self, lost: Sequence[InstanceRecord], detail: str) -> None:
        """Take instances without a file off the ledger and fail their series; they can be sent again then."""
        with self.database.write() as connection:
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
                    move(
                        connection,
                        series,
                        self._clock(),
                        SeriesState.FAILED,
                        reason="instances_lost",
                        detail=detail,
                    )
                supersede(connection, series_id)

    def list_series(self, *states: SeriesState) -> tuple[SeriesRecord, ...]:
        """All series, or those in ``states``, in the order in which they began to arrive."""
        marks = ", ".join("?" * len(states))
        where = f"WHERE state IN ({marks})" if states else ""
        with self.database.read() as connection:
            found = connection.execute(f"SELECT * FROM series {where} ORDER BY created_at, id", states)
            return tuple(rows.series(row) for row in found)

    def show(self, series_id: str) -> SeriesDetails:
        """Everything about the series whose id begins with ``series_id``.

        Raises
        ------
        LedgerError
            If there is no such series, or more than one.
        """
        with self.database.read() as connection:
            series = find(connection, series_id)
            return rows.details(connection, series)

    def instances(self, series_id: str) -> tuple[InstanceRecord, ...]:
        """The instances of one series, in the order of their arrival."""
        with self.database.read() as connection:
            return rows.instances(connection, series_id)


_NEXT_COMPLETE = "SELECT * FROM series WHERE state = 'complete' ORDER BY state_since, id LIMIT 1"
_ANALYZING = "SELECT * FROM series WHERE state = 'analyzing'"

"""The ledger: what the node has promised, one transaction a promise."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from dicomnode.spool import purging, rows
from dicomnode.spool.commitments import AskedOfDestinations
from dicomnode.spool.corrections import Corrections
from dicomnode.spool.database import Database, Log
from dicomnode.spool.errors import LedgerError
from dicomnode.spool.intake import add_instance, count_repetition, find_instance, forget_instances
from dicomnode.spool.moves import current, find, get, move, note
from dicomnode.spool.outbox import Outbox
from dicomnode.spool.patient_results import PatientResult, note_patient_result
from dicomnode.spool.queueing import (
    FALLBACK_KIND,
    enqueue,
    has_pending,
    make_due,
    offer_again,
    settle,
    supersede,
)
from dicomnode.spool.reading import LedgerReader
from dicomnode.spool.records import (
    Accepting,
    InstanceRecord,
    Kept,
    NewInstance,
    ResultObject,
    SeriesRecord,
)
from dicomnode.spool.sender_requests import AskedByOthers
from dicomnode.spool.states import SeriesState


class Ledger(LedgerReader):
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
        super().__init__(Database(path))
        self.directory = path.parent
        self.outbox = Outbox(self.database, clock)
        self.asked_of_destinations = AskedOfDestinations(self.database, clock)
        self.asked_by_others = AskedByOthers(self.database, clock)
        self.corrections = Corrections(self.database, clock)
        self._clock = clock

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def record_instance(
        self,
        instance: NewInstance,
        path: Path,
        size: int,
        folder: Path | None = None,
        log: Log | None = None,
        publish: Callable[[], None] = lambda: None,
    ) -> Kept:
        """Note an instance whose file is on disk already, or in a log.

        A late slice takes the series back to ``receiving`` in a new generation: results that were not
        sent yet are superseded, sent ones stay on record. An instance that is known already changes no state.

        Parameters
        ----------
        path:
            Relative to the spool directory.
        size:
            Bytes of the file.
        folder:
            Directory of the file, to be synced before the commit.
        log:
            Has the instance, to be synced before the commit; the commit itself isn't.
        publish:
            Gives a new instance's file its name, after the log was synced.
        """

        def record(connection: sqlite3.Connection) -> Kept:
            known = find_instance(connection, instance)
            if known is not None:
                return count_repetition(connection, known, instance)
            publish()
            add_instance(connection, instance, path, size, self._clock())
            return Kept.NEW

        return self.database.write_together(record, folder, log)

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

    def has_complete(self) -> bool:
        """Whether a series waits for its analysis."""
        with self.database.read() as connection:
            return connection.execute(_ANY_COMPLETE).fetchone() is not None

    def claim_next(self, urgent_ae_titles: Collection[str] = ()) -> SeriesRecord | None:
        """Take the longest waiting complete series for analysis; ``None`` if there is none.

        Those that came from one of ``urgent_ae_titles`` are taken before all others. Its attempts are counted
        here, before anything can go wrong.
        """
        if not self.has_complete():
            return None
        urgent = json.dumps(sorted(urgent_ae_titles))
        with self.database.write() as connection:
            row = connection.execute(_NEXT_COMPLETE, (urgent,)).fetchone()
            if row is None:
                return None
            series = rows.series(row)
            attempts = series.attempts + 1
            return move(connection, series, self._clock(), SeriesState.ANALYZING, attempts=attempts)

    def record_results(
        self,
        series_id: str,
        generation: int,
        results: Sequence[ResultObject],
        destinations: Iterable[Accepting],
        include: Collection[str] | None = None,
        patient_result: PatientResult | None = None,
    ) -> SeriesRecord:
        """``analyzing`` to ``delivering``, or to ``delivered`` if no destination takes any of the results.

        The files must be on disk (:func:`dicomnode.spool.instances.make_durable`). A result object that a
        destination has already, from an earlier attempt, isn't queued again.

        Parameters
        ----------
        include:
            Kinds that are delivered; others stand by for destinations that refuse. ``None``: all.
        patient_result:
            What later scans of the patient are compared with.
        """
        now = self._clock()
        with self.database.write() as connection:
            series = current(connection, series_id, generation, SeriesState.ANALYZING)
            enqueue(
                connection,
                series,
                results,
                destinations,
                now,
                spool_directory=self.directory,
                include=include,
            )
            if patient_result is not None:
                note_patient_result(connection, series_id, generation, patient_result)
            pending = has_pending(connection, series_id)
            move(connection, series, now, SeriesState.DELIVERING if pending else SeriesState.DELIVERED)
            return settle(connection, series_id, now)

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
        now = self._clock()
        with self.database.write() as connection:
            series = current(connection, series_id, generation, SeriesState.ANALYZING)
            include = {str(result.kind) for result in results} - {FALLBACK_KIND}
            enqueue(
                connection,
                series,
                results,
                destinations,
                now,
                spool_directory=self.directory,
                include=include,
            )
            return move(connection, series, now, SeriesState.REFUSED, reason=reason, detail=detail)

    def fail(self, series_id: str, generation: int, reason: str, detail: str) -> SeriesRecord:
        """To ``failed``; results that wait for delivery are no longer sent."""
        with self.database.write() as connection:
            series = current(connection, series_id, generation)
            supersede(connection, series_id)
            return move(connection, series, self._clock(), SeriesState.FAILED, reason=reason, detail=detail)

    def requeue(self, series_id: str, generation: int, detail: str) -> SeriesRecord:
        """``analyzing`` back to ``complete`` for another attempt, with the sentence that says why."""
        with self.database.write() as connection:
            series = current(connection, series_id, generation, SeriesState.ANALYZING)
            return move(connection, series, self._clock(), SeriesState.COMPLETE, detail=detail)

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
        """What ``dicomnode retry`` does: analyze a failed or refused series again, or deliver (again) now.

        Raises
        ------
        LedgerError
            If the series is in a state in which there is nothing to retry.
        """
        now = self._clock()
        with self.database.write() as connection:
            series = find(connection, series_id)
            if series.purged_at is not None or series.instances == 0:
                raise LedgerError(f"series {series.id} has no instances left; send it again")
            if series.state is SeriesState.DELIVERING:
                make_due(connection, series.id, now)
                return series
            if series.state is SeriesState.FAILED and offer_again(connection, series.id, now):
                return move(connection, series, now, SeriesState.DELIVERING, reason="", detail="")
            if series.state in (SeriesState.FAILED, SeriesState.REFUSED):
                supersede(connection, series.id)
                return move(connection, series, now, SeriesState.COMPLETE, attempts=0, reason="", detail="")
            raise LedgerError(
                f"series {series.id} is {series.state}; retry is for failed, refused, delivering"
            )

    def analyze_again(self, series_id: str, detail: str) -> SeriesRecord:
        """A delivering or refused series whose result files are gone: the same ones are made again."""
        with self.database.write() as connection:
            series = get(connection, series_id)
            supersede(connection, series_id)
            return move(
                connection, series, self._clock(), SeriesState.COMPLETE, attempts=0, reason="", detail=detail
            )

    def note(self, series_id: str, text: str) -> None:
        """Add a sentence to the story of a series."""
        with self.database.write(announce=False) as connection:
            note(connection, get(connection, series_id), self._clock(), text)

    def request_purge(self, series_id: str) -> SeriesRecord:
        """Ask the running node to purge a series, or say in a :class:`LedgerError` why it may not."""
        with self.database.write() as connection:
            series = find(connection, series_id)
            purging.request_purge(connection, series.id, self._clock())
            return get(connection, series.id)

    def forget_purge_request(self, series_id: str) -> None:
        """The series has changed since someone asked to purge it."""
        with self.database.write(announce=False) as connection:
            connection.execute("UPDATE series SET purge_requested_at = NULL WHERE id = ?", (series_id,))

    def mark_purged(self, series_id: str) -> None:
        """Take the instances of a series off the ledger; its files must go right after."""
        with self.database.write() as connection:
            purging.mark_purged(connection, series_id, self._clock())

    def forget_instances(self, lost: Sequence[InstanceRecord], detail: str) -> None:
        """Take instances without a file off the ledger and fail their series; they can be sent again then."""
        with self.database.write() as connection:
            forget_instances(connection, lost, detail, self._clock())


_ANY_COMPLETE = "SELECT 1 FROM series WHERE state = 'complete' LIMIT 1"

# One instance's sender stands for the series': to look at all of them would cost more the more of them wait.
_NEXT_COMPLETE = (
    "SELECT * FROM series WHERE state = 'complete' ORDER BY "
    "coalesce((SELECT calling_ae_title FROM instance WHERE series_id = series.id LIMIT 1), '') "
    "IN (SELECT value FROM json_each(?)) DESC, state_since, id LIMIT 1"
)
_ANALYZING = "SELECT * FROM series WHERE state = 'analyzing'"

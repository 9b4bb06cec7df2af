"""Which series of edited segmentations corrects which CT series, and what was measured on that before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dicomnode.spool import rows
from dicomnode.spool.database import Database
from dicomnode.spool.moves import move
from dicomnode.spool.records import ResultRecord, SeriesRecord
from dicomnode.spool.states import SeriesState

WAITS_FOR_SOURCE = "no_source_images"
"""Reason of a correction that is refused until its CT series is there."""


class Corrections:
    """All methods may be called from any thread.

    Parameters
    ----------
    clock:
        Seconds since 1970 UTC.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def note_source(self, series_id: str, source_id: str) -> None:
        """The segmentations of a series were drawn on the CT series ``source_id``."""
        with self._database.write(announce=False) as connection:
            connection.execute("UPDATE series SET corrects = ? WHERE id = ?", (source_id, series_id))

    def source(self, source_id: str) -> SeriesRecord | None:
        """The CT series with exactly this id, if the ledger has it."""
        with self._database.read() as connection:
            row = connection.execute("SELECT * FROM series WHERE id = ?", (source_id,)).fetchone()
        return None if row is None else rows.series(row)

    def own_results(self, sop_instance_uids: Sequence[str]) -> dict[str, Path]:
        """Those of the instances that are results of this node, with their files."""
        marks = ", ".join("?" * len(sop_instance_uids))
        with self._database.read() as connection:
            found = connection.execute(
                f"SELECT sop_instance_uid, path FROM result WHERE sop_instance_uid IN ({marks})",
                tuple(sop_instance_uids),
            )
            return {str(row["sop_instance_uid"]): Path(row["path"]) for row in found}

    def last_results(self, source_id: str, correction_id: str) -> tuple[ResultRecord, ...]:
        """Results of the last measurement of a CT series, its corrections included.

        Left out is what ``correction_id`` gave itself and what came after: analyzed again, a correction
        begins where it began the first time.
        """
        with self._database.read() as connection:
            found = connection.execute(
                "SELECT result.* FROM result JOIN series ON series.id = result.series_id "
                "AND series.generation = result.generation WHERE (series.id = ? OR series.corrects = ?) "
                "AND series.id <> ? AND result.created_at < coalesce("
                "(SELECT min(created_at) FROM result WHERE series_id = ? AND kind = 'seg'), 9e99) "
                "ORDER BY result.created_at DESC, result.series_id, result.position",
                (source_id, source_id, correction_id, correction_id),
            ).fetchall()
        records = [rows.result(row) for row in found]
        return tuple(record for record in records if record.series_id == records[0].series_id)

    def take_up(self, source_id: str) -> tuple[SeriesRecord, ...]:
        """Corrections that waited for a CT series are measured now that it is."""
        with self._database.write() as connection:
            waiting = [
                rows.series(row)
                for row in connection.execute(
                    "SELECT * FROM series WHERE corrects = ? AND state = ? AND reason = ? "
                    "AND purged_at IS NULL",
                    (source_id, SeriesState.REFUSED, WAITS_FOR_SOURCE),
                )
            ]
            now = self._clock()
            return tuple(
                move(
                    connection,
                    series,
                    now,
                    SeriesState.COMPLETE,
                    attempts=0,
                    reason="",
                    detail="the CT series that it corrects is there",
                )
                for series in waiting
            )

"""What can be asked of the ledger; nothing here changes it."""

from __future__ import annotations

from collections.abc import Collection

from dicomnode.spool import purging, rows
from dicomnode.spool.database import Database
from dicomnode.spool.moves import find
from dicomnode.spool.patient_results import PatientResult, findings_of, patient_results
from dicomnode.spool.queueing import awaits_commitment
from dicomnode.spool.records import InstanceRecord, ResultRecord, SeriesDetails, SeriesRecord
from dicomnode.spool.states import HELD, SeriesState


class LedgerReader:
    """Questions; all methods may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self.database = database

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

    def awaits_commitment(self, series_id: str) -> bool:
        """Whether a destination holds something of the series that it has not promised to keep yet."""
        with self.database.read() as connection:
            return awaits_commitment(connection, series_id)

    def why_not_purgeable(self, series_id: str) -> str | None:
        """The sentence that keeps a series from being purged; ``None`` if nothing does."""
        with self.database.read() as connection:
            return purging.why_not_purgeable(connection, find(connection, series_id))

    def purge_requests(self) -> tuple[SeriesRecord, ...]:
        """Series that someone asked to purge."""
        with self.database.read() as connection:
            found = connection.execute("SELECT * FROM series WHERE purge_requested_at IS NOT NULL")
            return tuple(rows.series(row) for row in found)

    def purgeable(self, states: Collection[SeriesState], before: float) -> tuple[SeriesRecord, ...]:
        """Series in ``states`` since before the moment ``before`` that may be purged."""
        with self.database.read() as connection:
            return purging.purgeable(connection, states, before)

    def predecessor(self, series_id: str, generation: int, kind: str = "sr") -> ResultRecord | None:
        """The newest report of an earlier generation that some destination holds."""
        with self.database.read() as connection:
            row = connection.execute(
                "SELECT * FROM result WHERE series_id = ? AND generation < ? AND kind = ? AND EXISTS "
                "(SELECT 1 FROM delivery WHERE delivery.series_id = result.series_id AND "
                "delivery.sop_instance_uid = result.sop_instance_uid AND delivery.state IN (?, ?)) "
                "ORDER BY generation DESC, position LIMIT 1",
                (series_id, generation, kind, *HELD),
            ).fetchone()
        return None if row is None else rows.result(row)

    def patient_results(self, keyword: str, digest: str) -> tuple[PatientResult, ...]:
        """Current results of patients whose identifier ``keyword`` has this digest."""
        with self.database.read() as connection:
            return patient_results(connection, keyword, digest)

    def findings(self, series_id: str, generation: int) -> str | None:
        """Which earlier results this generation's was made with, as it was noted; None if it has none yet."""
        with self.database.read() as connection:
            return findings_of(connection, series_id, generation)

    def count_by_state(self) -> dict[SeriesState, int]:
        """How many series are in each state; purged ones don't count."""
        with self.database.read() as connection:
            found = connection.execute(
                "SELECT state, count(*) AS series FROM series WHERE purged_at IS NULL GROUP BY state"
            )
            counted = {SeriesState(row["state"]): int(row["series"]) for row in found}
        return {state: counted.get(state, 0) for state in SeriesState}

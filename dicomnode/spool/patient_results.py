"""Results by patient, for whoever looks for earlier ones; patients are known here by digests only."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PatientResult:
    """What a result measured, and whose it is.

    Parameters
    ----------
    marks:
        A digest for each identifier of the patient, by keyword.
    record:
        The result as JSON.
    findings:
        What was found of earlier results when it was made, as JSON: to make it again as it was.
    """

    marks: Mapping[str, str]
    record: str
    findings: str


def note_patient_result(
    connection: sqlite3.Connection, series_id: str, generation: int, result: PatientResult
) -> None:
    """Keep the result of a series; that of an earlier generation makes room."""
    connection.execute("DELETE FROM patient_mark WHERE series_id = ?", (series_id,))
    connection.execute(
        "INSERT INTO patient_result (series_id, generation, record, findings) VALUES (?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET generation = excluded.generation, record = excluded.record, "
        "findings = excluded.findings",
        (series_id, generation, result.record, result.findings),
    )
    connection.executemany(
        "INSERT INTO patient_mark (series_id, keyword, digest) VALUES (?, ?, ?)",
        [(series_id, keyword, digest) for keyword, digest in sorted(result.marks.items())],
    )


def patient_results(connection: sqlite3.Connection, keyword: str, digest: str) -> tuple[PatientResult, ...]:
    """Results of patients that have this mark; none of a series that waits for a new generation's."""
    found = connection.execute(
        "SELECT patient_result.* FROM patient_mark JOIN patient_result USING (series_id) "
        "JOIN series ON series.id = series_id AND series.generation = patient_result.generation "
        "WHERE keyword = ? AND digest = ? ORDER BY series_id",
        (keyword, digest),
    ).fetchall()
    return tuple(
        PatientResult(_marks(connection, row["series_id"]), row["record"], row["findings"]) for row in found
    )


def findings_of(connection: sqlite3.Connection, series_id: str, generation: int) -> str | None:
    """What a result of this generation was made with; None if there was none."""
    row = connection.execute(
        "SELECT findings FROM patient_result WHERE series_id = ? AND generation = ?", (series_id, generation)
    ).fetchone()
    return None if row is None else str(row["findings"])


def _marks(connection: sqlite3.Connection, series_id: str) -> dict[str, str]:
    rows = connection.execute("SELECT keyword, digest FROM patient_mark WHERE series_id = ?", (series_id,))
    return {str(row["keyword"]): str(row["digest"]) for row in rows}

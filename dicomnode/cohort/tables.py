"""Measurements of two readers in two CSV tables, paired by case."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from dicomnode.cohort.agreement import AgreementError

CASE_COLUMNS = ("case", "series_instance_uid", "series", "id")
"""The first of these that both tables have pairs their rows."""


@dataclass(frozen=True)
class Column:
    """One quantity of both tables, a value a case; cases without one on either side are left out."""

    name: str
    cases: tuple[str, ...]
    reference: tuple[float, ...]
    prediction: tuple[float, ...]
    left_out: int


def paired_columns(reference: Path, prediction: Path) -> list[Column]:
    """Every numeric column that both tables have.

    Raises
    ------
    AgreementError
        If a table can't be read, no column pairs the rows, a case appears twice, or nothing is common.
    """
    ours, theirs = _read(reference), _read(prediction)
    common = [name for name in ours[0] if name in theirs[0]]
    key = next((name for name in CASE_COLUMNS if name in common), None)
    if key is None:
        raise AgreementError(f"both tables need a column {' or '.join(CASE_COLUMNS)} that pairs their rows")
    by_case, other = _by_case(ours, key, reference), _by_case(theirs, key, prediction)
    cases = [case for case in by_case if case in other]
    columns = [_column(name, cases, by_case, other) for name in common if name != key]
    found = [column for column in columns if column.cases]
    if not found:
        raise AgreementError("the tables have no number in common for the same case and column")
    return found


def _column(
    name: str, cases: list[str], ours: dict[str, dict[str, str]], theirs: dict[str, dict[str, str]]
) -> Column:
    pairs = [(case, _number(ours[case][name]), _number(theirs[case][name])) for case in cases]
    whole = [(case, r, p) for case, r, p in pairs if r is not None and p is not None]
    return Column(
        name,
        tuple(case for case, _, _ in whole),
        tuple(r for _, r, _ in whole),
        tuple(p for _, _, p in whole),
        len(pairs) - len(whole),
    )


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AgreementError(f"{path} can't be read as a CSV table") from error
    if not rows:
        raise AgreementError(f"{path} has no rows")
    return rows


def _by_case(rows: list[dict[str, str]], key: str, path: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row[key] in found:
            raise AgreementError(f"{path}: {key} {row[key]!r} appears twice")
        found[row[key]] = row
    return found


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None

"""A table with a row a patient becomes typed columns; what can't be used is left out and counted."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicomnode.cohort.errors import CohortError

MISSING = {"", "na", "n/a", "nan", "none", "null", ".", "-", "?"}
YES, NO = {"1", "yes", "y", "true"}, {"0", "no", "n", "false"}
MALE, FEMALE = {"m", "male"}, {"f", "female"}
AGE_GROUPS = ("18-44", "45-64", ">64")
YOUNGEST = 18.0
DICOM_AGE = re.compile(r"(\d{3})([DWMY])")
YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
"""Units of the Age String (PS3.5 6.2)."""

REPEATED = ("patient_id", "patient", "study")
"""The first of these columns that a table has tells whether rows belong together."""


class _UnreadableError(ValueError):
    """What the column should hold."""


@dataclass(frozen=True)
class Variable:
    """A column of the table and how its cells become numbers; ``None`` is a missing value."""

    column: str
    read: Callable[[str], float | None]


@dataclass(frozen=True, eq=False)
class Patients:
    """The patients that have every value.

    Parameters
    ----------
    values:
        By variable, shape (patients,).
    rows:
        Rows of the table.
    left_out:
        Rows that lack a value, by column; a row that lacks several counts in each.
    repeated:
        Rows beyond the first of the same patient or study, and the column that says so.
    """

    values: Mapping[str, NDArray[np.float64]]
    rows: int
    left_out: Mapping[str, int]
    repeated: tuple[str, int] | None

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV (comma, semicolon or tab) or Parquet table, every cell as text.

    Raises
    ------
    CohortError
        If it can't be read or has no rows.
    """
    try:
        rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except FileNotFoundError as error:
        raise CohortError(f"there is no table {path}") from error
    except (OSError, ValueError, csv.Error) as error:
        raise CohortError(f"{path} can't be read as a table ({type(error).__name__})") from error
    if not rows:
        raise CohortError(f"{path} has no rows")
    return rows


def select(rows: Sequence[Mapping[str, str]], variables: Mapping[str, Variable]) -> Patients:
    """The rows that have a value for each variable.

    Raises
    ------
    CohortError
        If a column is missing, a cell can't be understood, or no row is whole.
    """
    columns = {}
    left_out = Counter[str]()
    whole = np.ones(len(rows), dtype=bool)
    for name, variable in variables.items():
        if variable.column not in rows[0]:
            raise CohortError(_no_column(variable.column, rows[0]))
        read = _column(rows, variable)
        columns[name] = read
        missing = np.isnan(read)
        if missing.any():
            left_out[variable.column] += int(missing.sum())
        whole &= ~missing
    if not whole.any():
        raise CohortError(f"none of the {len(rows)} rows has a value in every column: {', '.join(left_out)}")
    values = {name: column[whole] for name, column in columns.items()}
    return Patients(values, len(rows), dict(left_out), _repeated(rows, whole))


def yes_or_no(text: str) -> float | None:
    """1 or 0."""
    word = text.lower().removesuffix(".0")
    if word in YES or word in NO:
        return float(word in YES)
    raise _UnreadableError("0 and 1, or yes and no")


def male(text: str) -> float | None:
    """1 for men, 0 for women; DICOM's ``O`` is missing."""
    word = text.lower()
    if word in MALE or word in FEMALE:
        return float(word in MALE)
    if word in ("o", "other"):
        return None
    raise _UnreadableError("M and F")


def age_group(text: str) -> float | None:
    """Index in :data:`AGE_GROUPS` of years, of a DICOM age (``061Y``) or of the group itself.

    Below 18 years it is missing: the models are for adults.
    """
    if text in AGE_GROUPS:
        return float(AGE_GROUPS.index(text))
    if found := DICOM_AGE.fullmatch(text):
        years = int(found[1]) * YEARS[found[2]]
    else:
        years = _number(text, f"years, or {', '.join(AGE_GROUPS)}")
    if not 0 <= years <= 130:
        raise _UnreadableError("years from 0 to 130")
    if years < YOUNGEST:
        return None
    return 0.0 if years < 45 else 1.0 if years < 65 else 2.0


def days_since(more_than: float) -> Callable[[str], float | None]:
    """1 for more days than that, 0 for as many or fewer."""
    return lambda text: float(_number(text, "days") > more_than)


def number(text: str) -> float | None:
    """A number."""
    return _number(text, "numbers")


def _number(text: str, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _UnreadableError(expected) from None
    if not math.isfinite(value):
        raise _UnreadableError(expected)
    return value


def _column(rows: Sequence[Mapping[str, str]], variable: Variable) -> NDArray[np.float64]:
    values = np.full(len(rows), np.nan)
    for index, row in enumerate(rows):
        text = (row[variable.column] or "").strip()
        if text.lower() in MISSING:
            continue
        try:
            value = variable.read(text)
        except _UnreadableError as expected:
            raise CohortError(
                f"column {variable.column}, row {index + 1}: {text[:20]!r} can't be understood; "
                f"the column should hold {expected}"
            ) from None
        values[index] = np.nan if value is None else value
    return values


def _no_column(name: str, row: Mapping[str, str]) -> str:
    like = [column for column in row if name.partition("_")[0].lower() in column.lower()]
    there = ", ".join((like or list(row))[:8])
    return f"the table has no column {name!r}; it has {there}{' ...' if len(row) > 8 else ''}"


def _repeated(rows: Sequence[Mapping[str, str]], whole: NDArray[np.bool_]) -> tuple[str, int] | None:
    column = next((name for name in REPEATED if name in rows[0]), None)
    if column is None:
        return None
    used = [row[column] for row, use in zip(rows, whole, strict=True) if use and row[column]]
    return (column, len(used) - len(set(used))) if len(set(used)) < len(used) else None


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        file.seek(0)
        delimiter = max(",;\t", key=first.count)
        rows = list(csv.DictReader(file, delimiter=delimiter, restval=""))
    return list(map(_with_points, rows)) if delimiter == ";" else rows


def _with_points(row: dict[str, str]) -> dict[str, str]:
    """Where a semicolon parts the cells, the comma is the decimal sign."""
    return {name: text.replace(",", ".") if _is_decimal(text) else text for name, text in row.items()}


def _is_decimal(text: Any) -> bool:
    return isinstance(text, str) and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", text) is not None


def _read_parquet(path: Path) -> list[dict[str, str]]:
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError as error:
        raise CohortError("Parquet needs pyarrow: pip install 'dicomnode[cohort]'") from error
    table: Iterable[Mapping[str, Any]] = pq.read_table(path).to_pylist()
    return [{name: "" if value is None else str(value) for name, value in row.items()} for row in table]

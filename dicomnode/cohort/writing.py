"""The tables of a cohort, written row by row: memory doesn't grow with the number of series."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from dicomnode.cohort.columns import Columns, Kind, Value, flatten, unit
from dicomnode.cohort.identifiers import COLUMNS as IDENTIFIERS
from dicomnode.cohort.identifiers import FOLDER
from dicomnode.cohort.journal import Journal, Row, State

CSV_NAME, PARQUET_NAME, NOT_MEASURED_NAME = "cohort.csv", "cohort.parquet", "not_measured.csv"

NOT_MEASURED_COLUMNS = ("series", "study", "instances", "outcome", "reason", "detail")
ROWS_AT_ONCE = 256
DAMAGED = "damaged"
UNREADABLE = "the header can't be read, so the file may be a slice missing in one of the series"


def write_tables(journal: Journal, recipe: str, out: Path, *, identifiers: bool) -> None:
    """Write the measured series as CSV and, where pyarrow is installed, as Parquet; the others as CSV.

    Rows come in the order of their keys, so the same series give the same bytes however often the work was
    interrupted. Each file appears whole or not at all.
    """
    columns = Columns()
    for row in journal.rows(recipe, State.MEASURED):
        columns.add(_measured(row, identifiers))
    kinds = columns.kinds()
    rows = (_measured(row, identifiers) for row in journal.rows(recipe, State.MEASURED))
    _write_csv(out / CSV_NAME, list(kinds) or ["series", "study", "instances"], rows)
    _write_csv(
        out / NOT_MEASURED_NAME,
        [*NOT_MEASURED_COLUMNS, *([*IDENTIFIERS, FOLDER] if identifiers else [])],
        _not_measured(journal, recipe, identifiers),
    )
    if kinds and parquet_is_there():
        rows = (_measured(row, identifiers) for row in journal.rows(recipe, State.MEASURED))
        _write_parquet(out / PARQUET_NAME, kinds, rows)
    else:
        (out / PARQUET_NAME).unlink(missing_ok=True)


def parquet_is_there() -> bool:
    """Whether pyarrow, part of the extra ``cohort``, is installed."""
    try:
        import pyarrow.parquet  # noqa: F401, PLC0415  (an extra)
    except ModuleNotFoundError:
        return False
    return True


def _measured(row: Row, identifiers: bool) -> dict[str, Value]:
    named: dict[str, Value] = {"series": row.key, "study": row.study, "instances": row.instances}
    if identifiers:
        named |= {name: row.identity.get(name, "") for name in (*IDENTIFIERS, FOLDER)}
    return named | flatten(row.outcome.record or {})


def _not_measured(journal: Journal, recipe: str, identifiers: bool) -> Iterator[dict[str, Value]]:
    for row in journal.rows(recipe, State.REFUSED, State.FAILED):
        told = (row.key, row.study, row.instances, row.outcome.state.value, row.outcome.reason)
        yield {**dict(zip(NOT_MEASURED_COLUMNS, (*told, row.outcome.detail), strict=True)), **row.identity}
    for path in journal.damaged():
        where = {FOLDER: str(path)} if identifiers else {}
        yield {"outcome": DAMAGED, "reason": DAMAGED, "detail": UNREADABLE, **where}


def _write_csv(path: Path, columns: Sequence[str], rows: Iterator[dict[str, Value]]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    partial.replace(path)


def _cell(value: Value) -> str:
    """Text that a spreadsheet would run as a formula is quoted: headers come from anywhere."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value
    return "" if value is None else repr(value)


def _write_parquet(path: Path, kinds: Mapping[str, Kind], rows: Iterator[dict[str, Value]]) -> None:
    import pyarrow as pa  # noqa: PLC0415  (an extra)
    import pyarrow.parquet as pq  # noqa: PLC0415

    types: dict[Kind, Any] = {
        "number": pa.float64(),
        "integer": pa.int64(),
        "truth": pa.bool_(),
        "text": pa.string(),
    }
    schema = pa.schema(
        [
            pa.field(n, types[kind], metadata={"unit": u} if (u := unit(n)) else None)
            for n, kind in kinds.items()
        ]
    )
    partial = path.with_name(path.name + ".partial")
    with pq.ParquetWriter(partial, schema) as writer:
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            values = {name: [_typed(row.get(name), kind) for row in batch] for name, kind in kinds.items()}
            writer.write_table(pa.table(values, schema=schema))
    partial.replace(path)


def _typed(value: Value, kind: Kind) -> Value:
    if value is None:
        return None
    if kind == "number":
        return float(value)
    return str(value) if kind == "text" else value

"""The measurements as a table: what the SR says, what its SEG gives when measured again, and the truth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydicom.dataset import Dataset
from rich.table import Table

from dicomnode.demo.read_back import ReportedValue, reported_values

UNITS = {"[hnsf'U]": "HU", "1": ""}


def measurement_table(sr: Dataset, again: Mapping[str, Any], truth: Mapping[str, Any] | None) -> Table:
    """One row a measurement of the report.

    Parameters
    ----------
    sr:
        TID 1500 report.
    again:
        Measurements of the SEG on the CT by the contract's names, computed by the reader.
    truth:
        True values by the same names, where they are known.
    """
    table = Table(title="Read back from the PACS", title_justify="left", header_style="bold")
    table.add_column("Region")
    table.add_column("Measurement")
    for column in ("SR", "SEG measured again", *(("Truth",) if truth else ()), "Unit"):
        table.add_column(column, justify="left" if column == "Unit" else "right")
    group = ""
    for value in reported_values(sr):
        if value.group != group:
            table.add_section()
        cells = [
            value.group if value.group != group else "",
            _words(value),
            _number(value.value),
            _number(_look_up(again, value.contract_path)),
        ]
        if truth:
            cells.append(_number(_look_up(truth, value.contract_path)))
        table.add_row(*cells, UNITS.get(value.unit, re.sub(r"\{0:(\d+)\}", r"of \1", value.unit)))
        group = value.group
    return table


def _words(value: ReportedValue) -> str:
    """The contract's name without its unit; the report's own words are longer."""
    path = value.contract_path
    name = str(path[-1]) if path else value.name
    if len(path) > 1 and path[0] in ("regions", "lesions"):
        name = f"{path[1]} {name}" if path[0] == "regions" else f"lesion {int(path[1]) + 1}, {name}"
    return re.sub(r"_(ml|hu|g|percent)$", "", name).replace("_", " ")


def _look_up(values: Mapping[str, Any], path: tuple[str | int, ...]) -> float | None:
    found: Any = values
    for name in path:
        if isinstance(found, list):
            found = found[int(name)] if int(name) < len(found) else None
        else:
            found = found.get(name) if isinstance(found, Mapping) else None
    return found if path and isinstance(found, int | float) else None


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"

"""The measurements as a table: what the SR says, what its SEG gives when measured again, and the truth."""

from __future__ import annotations

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
        Measurements of the SEG and the CT by the contract's names, computed by the reader.
    truth:
        True values by the same names, where they are known.
    """
    table = Table(title="Read back from the PACS", title_justify="left", header_style="bold")
    for column in ("Region", "Measurement"):
        table.add_column(column)
    for column in ("SR", "SEG measured again", *(("Truth", "Error") if truth else ())):
        table.add_column(column, justify="right")
    group = ""
    for value in reported_values(sr):
        name = CONTRACT_NAMES.get((value.group, value.name), "")
        cells = [value.group if value.group != group else "", value.name, _number(value.value, value)]
        cells.append(_number(_look_up(again, name), value))
        if truth:
            true = _look_up(truth, name)
            cells += [_number(true, value), _error(value.value, true)]
        if value.group != group:
            table.add_section()
        group = value.group
        table.add_row(*cells)
    return table

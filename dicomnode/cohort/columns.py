"""From the nested measurements of a series to the flat columns of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Kind = Literal["number", "integer", "truth", "text"]
Value = float | int | bool | str | None

UNITS = {"_ml": "mL", "_percent": "%", "_g": "g", "_hu": "[hnsf'U]", "_mm": "mm", "_days": "d"}
"""UCUM unit by the end of a measurement's name, as the contract names them."""

LEFT_OUT = ("provenance.parameters", "literature")
"""Sentences that would be the same in each row; every structured report holds them."""


def flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Columns of one series: ``{"sides": {"left": {"volume_ml": 1}}}`` becomes ``sides.left.volume_ml``.

    A list of words or numbers becomes one text with ``;`` between them; lists of objects (single lesions)
    have no place in a row and stay in ``measurements.json``.
    """
    columns: dict[str, Value] = {}
    for name, value in record.items():
        column = f"{prefix}{name}"
        if column in LEFT_OUT:
            continue
        if isinstance(value, Mapping):
            columns |= flatten(value, f"{column}.")
        elif not isinstance(value, list):
            columns[column] = value
        elif not any(isinstance(item, Mapping | list) for item in value):
            columns[column] = ";".join(str(item) for item in value)
    return columns


def unit(column: str) -> str | None:
    """The UCUM unit of a column, ``None`` where its name has none."""
    return next((code for end, code in UNITS.items() if column.endswith(end)), None)


class Columns:
    """Every column that any row has, in the order of the contract, with the kind of its values."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[Kind]] = {}
        self._order: list[str] = []

    def add(self, row: Mapping[str, Value]) -> None:
        """Learn from a row; a name not met before goes behind the one that it follows in this row."""
        place = 0
        for name, value in row.items():
            if name in self._kinds:
                place = self._order.index(name) + 1
            else:
                self._kinds[name] = set()
                self._order.insert(place, name)
                place += 1
            if value is not None:
                self._kinds[name].add(_kind(value))

    def kinds(self) -> dict[str, Kind]:
        """Columns in their order. Integers among numbers are numbers; what is mixed otherwise is text."""
        return {name: _common(name, self._kinds[name]) for name in self._order}


def _kind(value: Value) -> Kind:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "text"


def _common(name: str, kinds: Iterable[Kind]) -> Kind:
    found = set(kinds)
    if len(found) == 1:
        return found.pop()
    if not found:
        return "number" if unit(name) else "text"
    return "number" if found == {"integer", "number"} else "text"

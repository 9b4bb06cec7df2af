"""``measurements.json``: the numbers under the contract's names, and where they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dicomnode.measure.course import Course
from dicomnode.measure.measurements import Measurements
from dicomnode.report.provenance import Provenance
from dicomnode.report.text import printed


def measurements_record(measurements: Measurements) -> dict[str, Any]:
    """The measurements as every result prints them: nested, rounded once for all."""
    record: dict[str, Any] = _rounded("", measurements.to_json())
    return record


def measurements_json(
    measurements: Measurements, provenance: Provenance, course: Course | None = None
) -> dict[str, Any]:
    """Content of ``measurements.json``: volumes in mL, extents in %, weight in g, attenuation in HU.

    With ``course`` also ``prior`` and ``prior_search``.
    """
    compared = _rounded("", course.to_json()) if course else {}
    return measurements_record(measurements) | compared | {"provenance": provenance.to_json()}


def write_measurements_json(
    measurements: Measurements, provenance: Provenance, path: Path, course: Course | None = None
) -> None:
    """Write :func:`measurements_json` as indented UTF-8 text; the file appears whole or not at all."""
    record = measurements_json(measurements, provenance, course)
    content = json.dumps(record, indent=2, allow_nan=False) + "\n"
    partial = path.with_name(path.name + ".partial")
    partial.write_text(content, encoding="utf-8")
    partial.replace(path)


def _rounded(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(key, part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(name, part) for part in value]
    return printed(name, value) if isinstance(value, float) else value

"""``measurements.json``."""

from __future__ import annotations

import json
from pathlib import Path

from dicomnode.report.record import measurements_json, write_measurements_json
from tests.report.report_cases import Case


def test_the_file_holds_the_contract_s_names_and_the_provenance(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "measurements.json"
    write_measurements_json(case.measurements, case.provenance, path)
    record = json.loads(path.read_text())
    assert record == measurements_json(case.measurements, case.provenance)
    assert record["provenance"] == case.provenance.to_json()
    assert record["lung_volume_ml"] == round(case.measurements.total.volume_ml, 3)
    assert set(record["sides"]) == {"right", "left"}
    assert list(tmp_path.glob("*.partial")) == []

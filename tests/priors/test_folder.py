"""Serial scans of one patient in a folder, measured by `dicomnode analyze` in the order of time."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomnode.assemble.series import find_series
from dicomnode.cli import main
from dicomnode.config_sections import Priors
from dicomnode.measure.priors import SearchRemark
from dicomnode.phantom import LesionSpec, PhantomSpec, build_phantom, write_series
from dicomnode.priors.folder import FolderPriors, in_order_of_time
from dicomnode.segment.segmentation import Lobe
from tests.priors.serial_scans import make_scan


def test_scans_of_a_patient_are_compared(tmp_path: Path) -> None:
    earlier = FolderPriors(Priors())
    old = make_scan(tmp_path, 1, date(2024, 1, 1))
    new = make_scan(tmp_path, 2, date(2024, 1, 5))
    other = make_scan(tmp_path, 3, date(2024, 1, 9), PatientID="X")
    assert earlier.before([old.source]) is None
    earlier.add(old.report)
    earlier.add(tmp_path / "missing.dcm")
    found = earlier.before([new.source])
    assert found is not None and [one.found_in for one in found.results] == ["folder"]
    assert earlier.before([other.source]) is None
    male = earlier.before([make_scan(tmp_path, 4, date(2024, 1, 9), PatientSex="M").source])
    assert male is not None and male.remarks == (SearchRemark.PATIENT_MISMATCH,)


def test_series_come_in_the_order_of_their_dates(tmp_path: Path) -> None:
    make_scan(tmp_path, 1, date(2024, 1, 9))
    make_scan(tmp_path, 2, date(2024, 1, 3))
    make_scan(tmp_path, 3, date(2024, 1, 1), StudyDate="", ContentDate="")
    found = in_order_of_time(one for one in find_series(tmp_path) if one.modality == "CT")
    assert [one.paths[0].parent.name for one in found] == ["ct-2", "ct-1", "ct-3"]


@pytest.fixture(scope="module")
def serial_phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, float]]]:
    """One chest on three days, with a lesion that grows and shrinks again; and its truth."""
    folder = tmp_path_factory.mktemp("serial")
    truths = []
    for number, (day, lesion_ml) in enumerate((("0105", 150), ("0101", 40), ("0110", 70))):
        lesions = (LesionSpec("ggo", lesion_ml, Lobe.RIGHT_LOWER),)
        phantom = build_phantom(PhantomSpec.whole_lung((60, 96, 96), seed=3, lesions=lesions))
        write_series(phantom, folder / f"{number}", study_date=f"2024{day}", patient_id="SERIAL")
        truths.append(dict(phantom.truth))
    return folder, [truths[1], truths[0], truths[2]]


def test_analyze_tells_the_time_course(
    serial_phantoms: tuple[Path, list[dict[str, float]]], tmp_path: Path
) -> None:
    folder, truths = serial_phantoms
    out = tmp_path / "out"
    assert main(["analyze", str(folder), "--out", str(out), "--device", "cpu", "--format", "sr"]) == 0
    reports = sorted((dcmread(path) for path in out.rglob("sr.dcm")), key=lambda sr: sr.StudyDate)
    records = []
    for report in reports:
        source = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[-1]
        path = out / source.SeriesInstanceUID / "measurements.json"
        records.append(json.loads(path.read_text(encoding="utf-8")))
    assert [len(record.get("prior", [])) for record in records] == [0, 1, 2]
    last = records[2]["prior"]
    assert [(prior["study_date"], prior["days"]) for prior in last] == [("2024-01-01", 9), ("2024-01-05", 5)]
    for prior, earlier, truth in zip(last, records, truths, strict=False):
        change = prior["change"]["lesion_volume_ml"]
        assert change == pytest.approx(records[2]["lesion_volume_ml"] - earlier["lesion_volume_ml"], abs=1e-3)
        true_change = truths[2]["lesion_volume_ml"] - truth["lesion_volume_ml"]
        assert change * true_change > 0, "it grew where it grew, and shrank where it shrank"
        assert prior["change_per_day"]["lesion_volume_ml"] == pytest.approx(change / prior["days"], abs=1e-3)
        assert "flags_then" in prior["flags"], "the phantom's slices are thick"
        assert not {"other_model", "other_weights", "other_kernel"} & set(prior["flags"])
    again = tmp_path / "alone"
    assert main(["analyze", str(folder), "--out", str(again), "--format", "sr", "--no-compare"]) == 0
    assert not any("prior" in path.read_text(encoding="utf-8") for path in again.rglob("*.json"))

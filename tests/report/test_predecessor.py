"""A report that replaces another one names it, and is another object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.assemble.refusal import RefusalReason
from dicomnode.report.errors import ReportError
from dicomnode.report.refusal import build_refusal
from dicomnode.report.result_set import DocumentReference, ResultFile, ResultKind
from tests.report.report_cases import Case

OLD = DocumentReference(
    study_instance_uid="1.2.826.0.1.3680043.8.498.2",
    series_instance_uid="2.25.11",
    sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
    sop_instance_uid="2.25.12",
)
Build = Callable[[Path, DocumentReference | None], dict[ResultKind, ResultFile]]


@pytest.fixture(params=["measured", "refused"])
def build(request: pytest.FixtureRequest, case: Case) -> Build:
    def measured(out: Path, predecessor: DocumentReference | None) -> dict[ResultKind, ResultFile]:
        return {file.kind: file for file in case.build(out, predecessor)}

    def refused(out: Path, predecessor: DocumentReference | None) -> dict[ResultKind, ResultFile]:
        paths = [instance.path for instance in case.volume.instances]
        results = build_refusal(paths, RefusalReason.GAP, "A gap.", "dicomnode 0.0", out, predecessor)
        return {file.kind: file for file in results.files}

    return measured if request.param == "measured" else refused


def report(build: Build, out: Path, predecessor: DocumentReference | None) -> Dataset:
    return dcmread(build(out, predecessor)[ResultKind.SR].path)


def test_the_predecessor_is_named_by_its_place_in_the_study(
    build: Build, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    path = build(tmp_path, OLD)[ResultKind.SR].path
    (study,) = dcmread(path).PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (document,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == OLD.study_instance_uid
    assert series.SeriesInstanceUID == OLD.series_instance_uid
    assert document.ReferencedSOPClassUID == OLD.sop_class_uid
    assert document.ReferencedSOPInstanceUID == OLD.sop_instance_uid
    assert validate(path) == []


def test_the_successor_is_another_object_in_the_same_series(build: Build, tmp_path: Path) -> None:
    first = report(build, tmp_path / "a", None)
    second = report(build, tmp_path / "b", OLD)
    third = report(build, tmp_path / "c", replace(OLD, sop_instance_uid="2.25.13"))
    assert len({r.SOPInstanceUID for r in (first, second, third)}) == 3
    assert first.SeriesInstanceUID == second.SeriesInstanceUID == third.SeriesInstanceUID
    assert "PredecessorDocumentsSequence" not in first


def test_only_the_report_changes_and_always_in_the_same_way(build: Build, tmp_path: Path) -> None:
    alone, with_old, again = (
        build(tmp_path / name, old) for name, old in (("a", None), ("b", OLD), ("c", OLD))
    )
    for kind in alone:
        same = alone[kind].path.read_bytes() == with_old[kind].path.read_bytes()
        assert same == (kind != ResultKind.SR)
        assert with_old[kind].path.read_bytes() == again[kind].path.read_bytes()


def test_results_name_their_own_series(build: Build, tmp_path: Path) -> None:
    for file in build(tmp_path, OLD).values():
        written = dcmread(file.path)
        assert file.series_instance_uid == written.SeriesInstanceUID
        assert file.sop_instance_uid == written.SOPInstanceUID
        assert file.sop_class_uid == written.SOPClassUID


@pytest.mark.parametrize("name", ["study_instance_uid", "series_instance_uid", "sop_instance_uid"])
@pytest.mark.parametrize("value", ["", "1.2\\3", "../1.2", "1" * 65])
def test_a_reference_is_made_of_uids(name: str, value: str) -> None:
    with pytest.raises(ReportError, match=f"{name} of a document reference"):
        replace(OLD, **{name: value})


def test_only_a_structured_report_can_be_replaced() -> None:
    with pytest.raises(ReportError, match="no structured report"):
        replace(OLD, sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4")

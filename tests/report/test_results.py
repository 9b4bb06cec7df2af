"""The pair of results: identity, determinism, provenance in the UIDs."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomnode.report.errors import ReportError
from dicomnode.report.result_set import ResultKind
from tests.report.report_cases import Case, axial_affine, make_case, thorax, write_ct


def build(case: Case, out: Path) -> tuple[Path, ...]:
    return tuple(file.path for file in case.build(out))


def test_the_same_input_gives_the_same_bytes_on_another_day(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [path.read_bytes() for path in build(case, tmp_path / "a")]
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert [path.read_bytes() for path in build(case, tmp_path / "b")] == first


def test_where_it_was_computed_leaves_no_trace(case: Case, tmp_path: Path) -> None:
    elsewhere = replace(case, provenance=replace(case.provenance, device="cuda: H200"))
    here, there = build(case, tmp_path / "a"), build(elsewhere, tmp_path / "b")
    assert [p.read_bytes() for p in here] == [p.read_bytes() for p in there]


@pytest.mark.parametrize(
    "field", ["model_version", "weights_sha256", "config_sha256", "input_sha256", "software"]
)
def test_another_origin_is_another_object(case: Case, tmp_path: Path, field: str) -> None:
    other = replace(case, provenance=replace(case.provenance, **{field: "01" * 32}))
    for ours, theirs in zip(build(case, tmp_path / "a"), build(other, tmp_path / "b"), strict=True):
        a, b = dcmread(ours, stop_before_pixels=True), dcmread(theirs, stop_before_pixels=True)
        assert a.SOPInstanceUID != b.SOPInstanceUID
        assert a.SeriesInstanceUID != b.SeriesInstanceUID


def test_results_belong_to_the_study_and_name_themselves(case: Case, tmp_path: Path) -> None:
    files = case.build(tmp_path)
    assert [file.kind for file in files] == [ResultKind.SEG, ResultKind.SR, ResultKind.SC]
    source = dcmread(case.volume.instances[0].path)
    for file, series_number in zip(files, (391, 392, 393), strict=True):
        dataset = dcmread(file.path)
        assert dataset.file_meta.MediaStorageSOPInstanceUID == file.sop_instance_uid == dataset.SOPInstanceUID
        assert dataset.file_meta.MediaStorageSOPClassUID == file.sop_class_uid == dataset.SOPClassUID
        assert dataset.StudyInstanceUID == source.StudyInstanceUID
        assert dataset.SeriesNumber == series_number
        assert (dataset.ContentDate, dataset.ContentTime) == (source.ContentDate, source.ContentTime)


def test_the_sr_lists_the_seg_and_the_source_as_evidence(case: Case, tmp_path: Path) -> None:
    seg, sr, _ = build(case, tmp_path)
    study = dcmread(sr).CurrentRequestedProcedureEvidenceSequence[0]
    assert study.StudyInstanceUID == case.volume.study_instance_uid
    masks, images = study.ReferencedSeriesSequence
    assert masks.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == dcmread(seg).SOPInstanceUID
    assert images.SeriesInstanceUID == case.volume.series_instance_uid
    assert len(images.ReferencedSOPSequence) == len(case.volume.instances)


def test_a_source_of_another_study_is_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="another study"):
        build(replace(case, volume=replace(case.volume, study_instance_uid="1.2.3")), tmp_path)


def test_a_source_without_dates_gets_the_unknown_date_not_today(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    none = dict.fromkeys(("ContentDate", "ContentTime", "StudyDate", "StudyTime"))
    case = make_case(write_ct(tmp_path / "ct", hu, axial_affine(), **none), labels, sides)
    dataset = dcmread(build(case, tmp_path / "out")[0])
    assert (dataset.ContentDate, dataset.ContentTime, dataset.StudyDate) == ("19000101", "000000", "")


def test_a_lossy_source_makes_lossy_images(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    lossy = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "10.5",
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    case = make_case(write_ct(tmp_path / "ct", hu, axial_affine(), **lossy), labels, sides)
    seg, _, sc = (dcmread(path) for path in build(case, tmp_path / "out"))
    for image in (seg, sc):
        assert (image.LossyImageCompression, image.LossyImageCompressionRatio) == ("01", 10.5)


def test_the_scanner_is_named_as_contributing_equipment(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    made_by = {"Manufacturer": "Siemens Healthin\u00e9ers", "ManufacturerModelName": "SOMATOM"}
    volume = write_ct(tmp_path / "ct", hu, axial_affine(), SpecificCharacterSet="ISO_IR 100", **made_by)
    for path in build(make_case(volume, labels, sides), tmp_path / "out"):
        (item,) = dcmread(path).ContributingEquipmentSequence
        assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
        assert item.ManufacturerModelName == "SOMATOM"
        assert item.Manufacturer.isascii()
        assert dcmread(path).Manufacturer == "dicomnode"

"""What every further result has in common: identity, origin in the UIDs, a person's correction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from dicomnode.measure.priors import SearchRemark
from dicomnode.report.provenance import Correction, EditedSegment
from dicomnode.report.result_set import FurtherResults, ResultFile, ResultKind
from tests.report.report_cases import Case, axial_affine, make_case, thorax, write_ct
from tests.report.test_priors import course_of

KINDS = ("overlay", "pdf", "ko", "gsps")
CORRECTION = Correction(
    instances=(("1.2.3", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.4"),),
    segments=(EditedSegment("ggo", 1.0, 0.5),),
    changed=("ggo", "lesion"),
    masks_sha256="ef" * 32,
)


def made(case: Case, out: Path) -> list[ResultFile]:
    files = case.build(out, further=FurtherResults.of(KINDS))
    assert {file.kind for file in files} == {"seg", "sr", "sc", *KINDS}
    return [file for file in files if file.kind in KINDS]


def test_patient_and_study_are_those_of_the_source_in_any_alphabet(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    name = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Yamada^Tarou=山田^太郎",
        "StudyDescription": "胸部",
        "Manufacturer": "Acme",
    }
    case = make_case(write_ct(tmp_path / "ct", hu, axial_affine(), **name), labels, sides)
    source = dcmread(case.volume.instances[0].path)
    for file in made(case, tmp_path):
        dataset = dcmread(file.path)
        for keyword in (
            "PatientName",
            "PatientID",
            "StudyInstanceUID",
            "AccessionNumber",
            "StudyDescription",
        ):
            assert dataset[keyword].value == source[keyword].value, (file.kind, keyword)
        assert dataset.ContributingEquipmentSequence[0].Manufacturer == "Acme"
        assert dataset.SeriesDate == source.ContentDate


@pytest.mark.parametrize("field", ["weights_sha256", "config_sha256", "input_sha256", "correction"])
def test_another_origin_is_another_object_of_another_series(case: Case, tmp_path: Path, field: str) -> None:
    value = CORRECTION if field == "correction" else "01" * 32
    other = replace(case, provenance=replace(case.provenance, **{field: value}))
    for ours, theirs in zip(made(case, tmp_path / "a"), made(other, tmp_path / "b"), strict=True):
        assert ours.sop_instance_uid != theirs.sop_instance_uid
        assert ours.series_instance_uid != theirs.series_instance_uid


def test_a_correction_is_in_the_name_of_the_series(case: Case, tmp_path: Path) -> None:
    corrected = replace(case, provenance=replace(case.provenance, correction=CORRECTION))
    for one, is_corrected in ((case, False), (corrected, True)):
        for file in made(one, tmp_path / str(is_corrected)):
            description = dcmread(file.path, stop_before_pixels=True).SeriesDescription
            assert description.endswith(", corrected") == is_corrected


def test_only_what_shows_the_page_depends_on_earlier_results(case: Case, tmp_path: Path) -> None:
    course = course_of(case, remarks=(SearchRemark.PATIENT_MISMATCH,))
    compared = case.build(tmp_path / "b", course=course, further=FurtherResults.of(KINDS))
    uids = {file.sop_instance_uid for file in compared}
    for file in made(case, tmp_path / "a"):
        assert (file.sop_instance_uid not in uids) == (file.kind is ResultKind.PDF)

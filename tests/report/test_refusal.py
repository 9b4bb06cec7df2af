"""The refusal SR: in the study, readable as text, whatever the source is like."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.assemble.refusal import RefusalReason
from dicomnode.report.errors import ReportError
from dicomnode.report.refusal import build_refusal
from tests.report.report_cases import axial_affine, thorax, write_ct

SOFTWARE = "dicomnode 0.0"
DETAIL = "3 slices are missing between z = -120.0 and -112.5 mm."


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    hu, _, _ = thorax()
    return [instance.path for instance in write_ct(tmp_path / "ct", hu, axial_affine()).instances]


def refuse(
    paths: list[Path], out: Path, reason: RefusalReason = RefusalReason.GAP, detail: str = DETAIL
) -> Path:
    return build_refusal(paths, reason, detail, SOFTWARE, out).files[0].path


def text(report: Dataset, name: str) -> str:
    (found,) = [i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeMeaning == name]
    return str(found.get("TextValue") or found.get("UID"))


@pytest.mark.parametrize("reason", RefusalReason)
def test_every_reason_is_said_and_legal(
    reason: RefusalReason, paths: list[Path], tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    path = refuse(paths, tmp_path, reason)
    report = dcmread(path)
    assert text(report, "Reason") == reason.value
    assert text(report, "Explanation") == DETAIL
    assert len(text(report, "What to do")) > 10
    assert reason.value in report.SeriesDescription
    assert validate(path) == []


def test_it_is_filed_in_the_study_and_refers_to_the_series(paths: list[Path], tmp_path: Path) -> None:
    report, source = dcmread(refuse(paths, tmp_path)), dcmread(paths[0])
    assert report.StudyInstanceUID == source.StudyInstanceUID
    assert text(report, "Series Instance UID") == source.SeriesInstanceUID
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.SeriesInstanceUID == source.SeriesInstanceUID
    assert len(evidence.ReferencedSOPSequence) == len(paths)


def test_viewers_print_it_as_text(paths: list[Path], tmp_path: Path, tool: Callable[[str], str]) -> None:
    path = refuse(paths, tmp_path)
    assert dcmread(path).ConceptNameCodeSequence[0].CodeValue != "126000"
    printed = subprocess.run(
        [tool("dsrdump"), "+Pl", path], check=True, capture_output=True, text=True
    ).stdout
    assert "CT series not measured" in printed and DETAIL in printed
    subprocess.run([tool("dsr2html"), path, tmp_path / "r.html"], check=True, capture_output=True)
    assert DETAIL in (tmp_path / "r.html").read_text()


def test_the_order_of_arrival_leaves_no_trace(paths: list[Path], tmp_path: Path) -> None:
    assert refuse(paths, tmp_path / "a").read_bytes() == refuse(paths[::-1], tmp_path / "b").read_bytes()


def test_another_reason_or_another_slice_is_another_object(paths: list[Path], tmp_path: Path) -> None:
    uids = {
        dcmread(refuse(paths, tmp_path / "a")).SOPInstanceUID,
        dcmread(refuse(paths[1:], tmp_path / "b")).SOPInstanceUID,
        dcmread(refuse(paths, tmp_path / "c", RefusalReason.GANTRY_TILT)).SOPInstanceUID,
    }
    assert len(uids) == 3


def test_detail_in_other_letters_stays_valid_in_any_character_set(paths: list[Path], tmp_path: Path) -> None:
    report = dcmread(refuse(paths, tmp_path, RefusalReason.GANTRY_TILT, "The gantry is tilted by 12.5°."))
    assert text(report, "Explanation") == "The gantry is tilted by 12.5 degrees."


@pytest.mark.parametrize("folder", ["refuse", "edge/every_transfer_syntax", "edge/charsets"])
def test_real_odd_sources(
    folder: str, data_dir: Path, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    series: dict[str, list[Path]] = {}
    for path in sorted(p for p in (data_dir / folder).rglob("*") if p.is_file()):
        header = dcmread(path, stop_before_pixels=True, force=True)
        if header.get("StudyInstanceUID"):
            series.setdefault(f"{header.StudyInstanceUID} {header.get('SeriesInstanceUID')}", []).append(path)
    assert len(series) > 1
    for number, paths in enumerate(series.values()):
        path = refuse(paths, tmp_path / str(number), RefusalReason.NOT_CT, "Not a chest CT.")
        assert dcmread(path).StudyInstanceUID == dcmread(paths[0], force=True).StudyInstanceUID
        ours = [line for line in validate(path) if not inherited(line)]
        assert ours == [], paths[0]


def inherited(error: str) -> bool:
    """Whether the validator complains of a value that we copied from the source."""
    return any(
        f"</{name}" in error
        for name in ("Patient", "OtherPatient", "Study", "Referring", "Accession", "Physician")
    )


def test_files_that_are_no_dicom_are_passed_over(paths: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no DICOM at all" * 20)
    empty = tmp_path / "empty.dcm"
    empty.write_bytes(b"")
    report = dcmread(refuse([broken, empty, tmp_path / "absent.dcm", *paths], tmp_path / "out"))
    assert (
        len(
            report.CurrentRequestedProcedureEvidenceSequence[0]
            .ReferencedSeriesSequence[0]
            .ReferencedSOPSequence
        )
        == 20
    )


def test_without_frame_of_reference_or_series_number(
    tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    hu, _, _ = thorax()
    lacking = dict.fromkeys(
        ("FrameOfReferenceUID", "SeriesNumber", "ImagePositionPatient", "Rows", "PixelData")
    )
    volume = write_ct(tmp_path / "ct", hu[:3], axial_affine(), **lacking)
    path = refuse([i.path for i in volume.instances], tmp_path)
    assert validate(path) == []
    assert dcmread(path).SeriesNumber == 90


def test_without_a_study_nothing_can_be_made(tmp_path: Path) -> None:
    hu, _, _ = thorax()
    volume = write_ct(tmp_path / "ct", hu[:3], axial_affine(), StudyInstanceUID=None)
    with pytest.raises(ReportError, match="Study Instance UID") as caught:
        refuse([i.path for i in volume.instances], tmp_path / "out")
    assert "Doe" not in str(caught.value)
    assert not (tmp_path / "out" / "refusal.dcm").exists()

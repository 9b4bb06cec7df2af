"""The secondary capture: the page itself, in the study, on any viewer's screen."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from dicomnode.assemble.refusal import RefusalReason
from dicomnode.report.header import RESEARCH_USE
from dicomnode.report.overview import write_overview
from dicomnode.report.overview_layout import HEIGHT, WIDTH
from dicomnode.report.refusal import WHAT_TO_DO, build_refusal
from dicomnode.report.refusal_page import draw_refusal_page
from dicomnode.report.result_set import ResultFile, ResultKind
from tests.report.report_cases import Case, axial_affine, thorax, write_ct

DETAIL = "3 slices are missing between z = -120.0 and -112.5 mm."


def capture(case: Case, out: Path) -> ResultFile:
    page = write_overview(case.volume, case.segmentation, case.measurements, out / "overview.png")
    return case.build(out, page=page)[2]


def refusal(paths: list[Path], out: Path, reason: RefusalReason = RefusalReason.GAP) -> ResultFile:
    report, picture = build_refusal(paths, reason, DETAIL, "dicomnode 0.0", out).files
    assert (report.kind, picture.kind) == (ResultKind.SR, ResultKind.SC)
    return picture


def sources(case: Case) -> list[Path]:
    return [instance.path for instance in case.volume.instances]


@pytest.mark.parametrize("name", ["case", "cip", "ricord"])
def test_it_is_the_overview_pixel_by_pixel_and_legal(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    file = capture(request.getfixturevalue(name), tmp_path)
    with Image.open(tmp_path / "overview.png") as picture:
        page = np.asarray(picture)
    assert page.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(dcmread(file.path).pixel_array, page)
    assert validate(file.path) == []


def test_dcmtk_draws_the_same_pixels(case: Case, tmp_path: Path, tool: Callable[[str], str]) -> None:
    file = capture(case, tmp_path)
    subprocess.run([tool("dcm2pnm"), "+op", file.path, tmp_path / "page.ppm"], check=True)
    with Image.open(tmp_path / "page.ppm") as drawn, Image.open(tmp_path / "overview.png") as picture:
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(picture))


def test_it_says_what_it_is_and_what_it_was_made_of(case: Case, tmp_path: Path) -> None:
    file = capture(case, tmp_path)
    dataset, source = dcmread(file.path), dcmread(sources(case)[0])
    assert file.sop_class_uid == dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (dataset.Modality, dataset.ConversionType, dataset.SeriesNumber) == ("OT", "WSD", 393)
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"]
    assert (dataset.BurnedInAnnotation, dataset.BodyPartExamined) == ("NO", "CHEST")
    assert (dataset.StudyInstanceUID, dataset.PatientID) == (source.StudyInstanceUID, source.PatientID)
    assert dataset.ContentDate == source.ContentDate
    assert dataset.ImageComments == RESEARCH_USE
    assert [image.ReferencedSOPInstanceUID for image in dataset.SourceImageSequence] == [
        instance.sop_instance_uid for instance in case.volume.instances
    ]


def test_the_same_input_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for out in (first, second):
        out.mkdir()
    assert capture(case, first).path.read_bytes() == capture(case, second).path.read_bytes()
    refused = [refusal(paths, out) for paths, out in ((sources(case), first), (sources(case)[::-1], second))]
    assert refused[0].path.read_bytes() == refused[1].path.read_bytes()


def test_no_name_of_the_patient_is_burned_in(tmp_path: Path, case: Case) -> None:
    """Burned In Annotation says NO: the pixels of two patients with the same images are the same."""
    hu, _, _ = thorax()
    other = {
        "PatientName": "Roe^Richard",
        "PatientID": "PAT-2",
        "AccessionNumber": "ACC2",
        "PatientBirthDate": "19500101",
        "StudyDate": "20200101",
        "ContentDate": "20200102",
    }
    someone = replace(case, volume=write_ct(tmp_path / "other", hu, axial_affine(), **other))
    for make in (capture, lambda case, out: refusal(sources(case), out)):
        pages = []
        for number, one in enumerate((case, someone)):
            out = tmp_path / f"{number}"
            out.mkdir(exist_ok=True)
            dataset = dcmread(make(one, out).path)
            assert dataset.PatientID == f"PAT-{number + 1}"
            pages.append(dataset.pixel_array)
        np.testing.assert_array_equal(*pages)


@pytest.mark.parametrize("reason", RefusalReason)
def test_a_refusal_is_a_page_too(
    reason: RefusalReason, case: Case, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    file = refusal(sources(case), tmp_path, reason)
    dataset = dcmread(file.path)
    assert dataset.SeriesDescription == f"dicomnode: not measured ({reason.value})"
    assert dataset.SeriesNumber == 394
    expected = draw_refusal_page(
        reason.value, DETAIL, WHAT_TO_DO[reason], [case.volume.series_instance_uid], len(sources(case))
    )
    np.testing.assert_array_equal(dataset.pixel_array, np.asarray(expected))
    assert validate(file.path) == []


def test_a_source_with_next_to_nothing_in_its_header(
    tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    hu, _, _ = thorax()
    path = write_ct(tmp_path / "ct", hu[:3], axial_affine()).instances[0].path
    dataset = dcmread(path)
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber", "Rows", "PixelData"):
        del dataset[keyword]
    dataset.save_as(path)
    file = refusal([path], tmp_path)
    assert "SourceImageSequence" not in dcmread(file.path)
    assert validate(file.path) == []


@pytest.mark.parametrize("explanation", ["", "A word. " * 200, "x" * 500, "\u81e8\u5e8a " * 20])
def test_any_explanation_stays_on_the_page(explanation: str) -> None:
    page = np.asarray(draw_refusal_page("mixed_geometry", explanation, "Do this. " * 40, ["1." * 32] * 3, 1))
    background = page[0, 0]
    rim = np.concatenate([page[:40].reshape(-1, 3), page[-20:].reshape(-1, 3)])
    sides = np.concatenate([page[:, :50].reshape(-1, 3), page[:, -50:].reshape(-1, 3)])
    assert (rim == background).all() and (sides == background).all()
    empty_row = page[-90:-68]
    assert (empty_row == background).all(), "the text runs into the footer"

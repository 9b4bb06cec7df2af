"""The PDF: legal as a DICOM object, the page in it, its words found, the same bytes on any day."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from pydicom import dcmread
from pypdfium2 import raw

from dicomnode.report.header import RESEARCH_USE
from dicomnode.report.overview import write_overview
from dicomnode.report.pdf import pdf_of
from dicomnode.report.result_set import FurtherResults, ResultFile
from tests.report.report_cases import PAGE, Case


def made(case: Case, out: Path) -> ResultFile:
    out.mkdir(exist_ok=True)
    page = write_overview(case.volume, case.segmentation, case.measurements, out / "overview.png")
    return case.build(out, page=page, further=FurtherResults.of(["pdf"]))[-1]


def document(file: ResultFile) -> pypdfium2.PdfDocument:
    dataset = dcmread(file.path)
    return pypdfium2.PdfDocument(dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength])


def words(document: pypdfium2.PdfDocument, page: int) -> str:
    return " ".join(document[page].get_textpage().get_text_range().split())


@pytest.mark.parametrize("name", ["case", "ricord"])
def test_it_is_legal_and_says_what_it_is(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    case = request.getfixturevalue(name)
    file = made(case, tmp_path)
    dataset = dcmread(file.path)
    assert validate(file.path) == []
    assert file.sop_class_uid == dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.104.1"
    assert (dataset.Modality, dataset.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
    source = dcmread(case.volume.instances[0].path)
    assert (dataset.StudyInstanceUID, dataset.PatientID) == (source.StudyInstanceUID, source.PatientID)
    assert len(dataset.SourceInstanceSequence) == len(case.volume.instances)


def test_the_first_page_is_the_picture_and_its_words_can_be_found(case: Case, tmp_path: Path) -> None:
    found = document(made(case, tmp_path))
    extent = f"{case.measurements.total.lesion_extent_percent:.1f} %"
    for word in (extent, "Both lungs", "Ground glass opacity", RESEARCH_USE):
        assert word in words(found, 0)
    drawn = np.asarray(found[0].render(scale=1).to_pil().convert("RGB")).astype(int)
    assert drawn.shape[1] > drawn.shape[0]
    assert (np.abs(drawn - (255, 186, 60)).max(axis=2) < 40).any(), "the colour of ground glass"


def test_the_words_of_the_report_follow_with_what_made_the_numbers(case: Case, tmp_path: Path) -> None:
    found = document(made(case, tmp_path))
    said = " ".join(words(found, page) for page in range(1, len(found)))
    for word in ("Method", "Provenance", case.provenance.weights_sha256[:20], "Quality flag", RESEARCH_USE):
        assert word in said
    assert "Doe" not in said and "PAT-1" not in said


def test_as_many_pages_as_the_words_need() -> None:
    long = [(f"Heading {number}", "Some words & <marks>. " * 60) for number in range(40)]
    found = pypdfium2.PdfDocument(pdf_of(PAGE, long))
    assert len(found) > 3
    assert "Heading 39" in words(found, len(found) - 1)
    assert "Some words & <marks>." in words(found, 1)


def test_every_letter_comes_with_its_font(case: Case, tmp_path: Path) -> None:
    for page in document(made(case, tmp_path)):
        for text in page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT]):
            assert raw.FPDFFont_GetIsEmbedded(raw.FPDFTextObj_GetFont(text.raw)) == 1


def test_the_same_input_gives_the_same_bytes_on_another_day(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(case, tmp_path / "a").path.read_bytes()
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert made(case, tmp_path / "b").path.read_bytes() == first
    other = replace(case, provenance=replace(case.provenance, weights_sha256="01" * 32))
    assert made(other, tmp_path / "c").sop_instance_uid != made(case, tmp_path / "d").sop_instance_uid

"""Reports whose labels are in the language of the house."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.assemble.refusal import RefusalReason
from dicomnode.demo.read_back import reported_values
from dicomnode.report import codes
from dicomnode.report.identity import IDENTITY_KEYWORDS
from dicomnode.report.language import LONGEST_MEANING, language
from dicomnode.report.refusal import build_refusal
from dicomnode.report.result_set import FurtherResults, LanguageName
from dicomnode.report.results import build_results
from tests.report.report_cases import PAGE, Case, axial_affine, make_case, thorax, write_ct

LANGUAGES: tuple[LanguageName, ...] = ("fr", "de", "zh", "ja", "ko")
SYMBOLS = {"mL", "g", "%", "day", "/d", "mL/d", "g/d", "%/d", "no units", "Hounsfield unit", "Percent"}
"""Units, which are symbols."""


def written(case: Case, out: Path, name: LanguageName) -> Path:
    further = FurtherResults.of((), language=name)
    build_results(
        case.volume, case.segmentation, case.measurements, case.provenance, PAGE, out, further=further
    )
    return out / "sr.dcm"


def meanings(item: Dataset) -> dict[str, str]:
    """Meaning of each concept name by its code."""
    found = {
        concept.CodeValue: str(concept.CodeMeaning) for concept in item.get("ConceptNameCodeSequence", [])
    }
    for child in item.get("ContentSequence", []):
        found |= meanings(child)
    return found


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_label_has_a_word_that_fits(name: LanguageName) -> None:
    words = language(name)
    assert words is not None
    said = {code.meaning for code in codes.every_code()} - SYMBOLS
    same_everywhere = {"English (United States)"}
    assert sorted(one for one in said - same_everywhere if not words.knows(one)) == []
    assert [word for word in map(words.of, said) if len(word) > LONGEST_MEANING] == []


@pytest.mark.parametrize("name", LANGUAGES)
def test_codes_and_numbers_stay(case: Case, tmp_path: Path, name: LanguageName) -> None:
    english = dcmread(written(case, tmp_path / "en", "en"))
    other = dcmread(written(case, tmp_path / name, name))
    assert [(v.contract_path, v.value, v.unit) for v in reported_values(other)] == [
        (v.contract_path, v.value, v.unit) for v in reported_values(english)
    ]
    assert meanings(other).keys() == meanings(english).keys()
    words = language(name)
    assert words is not None
    assert meanings(other)["LESION_WEIGHT"] == words.terms["Lesion weight"] != "Lesion weight"
    (spoken,) = [i for i in other.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "121049"]
    assert spoken.ConceptCodeSequence[0].CodeValue == words.tag


@pytest.mark.parametrize("name", LANGUAGES)
def test_validators_and_dcmtk_read_it(
    case: Case,
    tmp_path: Path,
    name: LanguageName,
    validate: Callable[[Path], list[str]],
    tool: Callable[[str], str],
) -> None:
    path = written(case, tmp_path, name)
    assert validate(path) == []
    done = subprocess.run([tool("dsrdump"), "+U8", path], capture_output=True, check=True)
    words = language(name)
    assert words is not None
    assert words.terms["Lesion weight"] in done.stdout.decode("utf-8")


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        (["ISO 2022 IR 6", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 192", "Kim^Minsu=김^민수"),
    ],
)
def test_the_patient_is_the_same_in_other_characters(
    tmp_path: Path, character_set: str | list[str], name: str
) -> None:
    hu, labels, sides = thorax()
    volume = write_ct(
        tmp_path / "ct", hu, axial_affine(), SpecificCharacterSet=character_set, PatientName=name
    )
    case = make_case(volume, labels, sides)
    report, source = dcmread(written(case, tmp_path / "out", "ja")), dcmread(volume.instances[0].path)
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == name
    for keyword in set(IDENTITY_KEYWORDS) - {"SpecificCharacterSet"}:
        assert str(report.get(keyword, "")) == str(source.get(keyword, "")), keyword


def test_english_leaves_the_patient_byte_for_byte(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    volume = write_ct(
        tmp_path / "ct", hu, axial_affine(), SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg"
    )
    report = dcmread(written(make_case(volume, labels, sides), tmp_path / "out", "en"))
    assert report.SpecificCharacterSet == "ISO_IR 100"
    assert "Müller^Jörg".encode("latin-1") in (tmp_path / "out" / "sr.dcm").read_bytes()


def test_a_refusal_speaks_the_language_too(
    case: Case, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    paths = [instance.path for instance in case.volume.instances]
    build_refusal(paths, RefusalReason.GAP, "A gap.", "dicomnode 0", tmp_path / "fr", language="fr")
    build_refusal(paths, RefusalReason.GAP, "A gap.", "dicomnode 0", tmp_path / "en")
    french, english = (dcmread(tmp_path / name / "refusal.dcm") for name in ("fr", "en"))
    assert french.ConceptNameCodeSequence[0].CodeMeaning == "Série CT non mesurée"
    assert french.SOPInstanceUID != english.SOPInstanceUID
    assert validate(tmp_path / "fr" / "refusal.dcm") == []

"""Patient and study survive byte for byte."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicomnode.assemble.refusal import RefusalReason
from dicomnode.report.errors import ReportError
from dicomnode.report.identity import Identity, read_header, verify_identity
from dicomnode.report.refusal import build_refusal
from tests.report.report_cases import axial_affine, make_case, thorax, write_ct

CHARSETS = (
    "chrArab",
    "chrFren",
    "chrGB2312",
    "chrGerm",
    "chrGreek",
    "chrH31",
    "chrH32",
    "chrHbrw",
    "chrI2",
    "chrJapMulti",
    "chrJapMultiExplicitIR6",
    "chrKoreanMulti",
    "chrRuss",
    "chrSQEncoding",
    "chrSQEncoding1",
    "chrX1",
    "chrX2",
)
COMPARED = (
    "PatientName",
    "PatientID",
    "OtherPatientNames",
    "PatientBirthDate",
    "StudyDescription",
    "ReferringPhysicianName",
    "AccessionNumber",
    "StudyInstanceUID",
)
KANJI = "Yamada^Tarou=山田^太郎=やまだ^たろう"


def raw(path: Path, keyword: str) -> bytes | None:
    dataset = dcmread(path, stop_before_pixels=True)
    element = dataset.get_item(keyword)
    return None if element is None or element.value is None else element.value.rstrip(b" \0")


def names_in_sequences(dataset: Dataset) -> list[bytes]:
    """Raw Patient's Names below the top level."""
    return [
        item.get_item("PatientName").value
        for element in dataset
        if element.VR == "SQ"
        for item in element.value
        if "PatientName" in item
    ]


@pytest.mark.parametrize("name", CHARSETS)
def test_every_character_set_survives(name: str, data_dir: Path, tmp_path: Path) -> None:
    original = data_dir / "edge" / "charsets" / f"{name}.dcm"
    source = with_study(original, tmp_path / "source.dcm")
    written = (
        build_refusal([source], RefusalReason.NOT_CT, "Not a CT.", "dicomnode 0.0", tmp_path / "out")
        .files[0]
        .path
    )
    for keyword in COMPARED:
        expected = raw(original, keyword)
        if expected:
            assert raw(written, keyword) == expected, keyword
    assert dcmread(written).get("SpecificCharacterSet") == dcmread(original).get("SpecificCharacterSet")
    assert str(dcmread(written).get("PatientName", "")) == str(dcmread(original).get("PatientName", ""))


def with_study(original: Path, path: Path) -> Path:
    """The file itself where it has a Study Instance UID; else a copy with one, and with its sequence moved to
    an identity sequence, so that the names in it have to survive too."""
    dataset = dcmread(original)
    if "StudyInstanceUID" in dataset:
        return original
    dataset.StudyInstanceUID = "1.2.3.4"
    dataset.OtherPatientIDsSequence = dataset.RequestedProcedureCodeSequence
    dataset.save_as(path)
    assert names_in_sequences(dcmread(path))
    return path


@pytest.mark.parametrize("name", ["chrSQEncoding", "chrSQEncoding1"])
def test_names_in_sequences_keep_their_own_character_set(name: str, data_dir: Path, tmp_path: Path) -> None:
    source = with_study(data_dir / "edge" / "charsets" / f"{name}.dcm", tmp_path / "source.dcm")
    results = build_refusal([source], RefusalReason.NOT_CT, "Not a CT.", "dicomnode 0.0", tmp_path / "out")
    written, original = dcmread(results.files[0].path), dcmread(source)
    copied = written.OtherPatientIDsSequence[0]
    assert copied.get_item("PatientName").value == names_in_sequences(original)[0]
    assert copied.get("SpecificCharacterSet") == original.OtherPatientIDsSequence[0].get(
        "SpecificCharacterSet"
    )
    assert str(copied.PatientName) == str(original.OtherPatientIDsSequence[0].PatientName)


@pytest.mark.parametrize("charset", ["ISO_IR 192", ["", "ISO 2022 IR 87"], "GB18030"])
def test_kanji_survive_in_seg_and_sr(
    charset: str | list[str], tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    hu, labels, sides = thorax()
    volume = write_ct(
        tmp_path / "ct",
        hu,
        axial_affine(),
        SpecificCharacterSet=charset,
        PatientName=KANJI,
        StudyDescription="胸部",
    )
    case = make_case(volume, labels, sides)
    for file in case.build(tmp_path):
        assert str(dcmread(file.path).PatientName) == KANJI
        assert raw(file.path, "PatientName") == raw(volume.instances[0].path, "PatientName")
        assert raw(file.path, "StudyDescription") == raw(volume.instances[0].path, "StudyDescription")
        assert [e for e in validate(file.path) if "PatientName" not in e] == []


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda uid: uid.name,
)
def test_the_source_s_encoding_does_not_matter(syntax: str, tmp_path: Path) -> None:
    source = Dataset()
    source.SpecificCharacterSet = "ISO_IR 192"
    source.SOPClassUID, source.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.5"
    source.StudyInstanceUID, source.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.1"
    source.PatientName, source.PatientID = KANJI, "ID 1"
    identifier = Dataset()
    identifier.PatientID, identifier.TypeOfPatientID = "別", "TEXT"
    source.OtherPatientIDsSequence = [identifier]
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = syntax
    dcmwrite(tmp_path / "source.dcm", source, enforce_file_format=True)
    results = build_refusal([tmp_path / "source.dcm"], RefusalReason.GAP, "A gap.", "dicomnode 0.0", tmp_path)
    written = dcmread(results.files[0].path)
    assert str(written.PatientName) == KANJI
    assert written.OtherPatientIDsSequence[0].PatientID == "別"


def test_null_padding_of_texts_becomes_the_space_it_should_be(
    data_dir: Path, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    paths = sorted((data_dir / "cip_ct64_chest").glob("*.dcm"))[:1]
    assert dcmread(paths[0], stop_before_pixels=True).get_item("PatientName").value.endswith(b"\0")
    results = build_refusal(paths, RefusalReason.TOO_FEW_SLICES, "One slice.", "dicomnode 0.0", tmp_path)
    assert dcmread(results.files[0].path).get_item("PatientName").value == b"Anonymous "
    assert validate(results.files[0].path) == []


def test_type_2_attributes_that_the_source_lacks_are_empty(
    tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    hu, _, _ = thorax()
    lacking = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID")
    volume = write_ct(tmp_path / "ct", hu[:3], axial_affine(), **dict.fromkeys(lacking))
    paths = [instance.path for instance in volume.instances]
    results = build_refusal(paths, RefusalReason.TOO_FEW_SLICES, "3 slices.", "dicomnode 0.0", tmp_path)
    written = dcmread(results.files[0].path)
    assert all(keyword in written and not written[keyword].value for keyword in lacking)
    assert validate(results.files[0].path) == []


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    hu, _, _ = thorax()
    volume = write_ct(tmp_path / "ct", hu[:3], axial_affine())
    path = volume.instances[0].path
    identity = Identity.from_source(read_header(path))
    verify_identity(path, identity)
    path.write_bytes(path.read_bytes().replace(b"Doe^Jane", b"Doe^John"))
    with pytest.raises(ReportError, match=r"\(0010,0010\) differs"):
        verify_identity(path, identity)


def test_dcmtk_prints_the_name_that_it_prints_of_the_source(
    data_dir: Path, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    source = data_dir / "edge" / "charsets" / "chrX1.dcm"
    results = build_refusal([source], RefusalReason.NOT_CT, "Not a CT.", "dicomnode 0.0", tmp_path)
    printed = [
        subprocess.run([tool("dcmdump"), "+P", "PatientName", path], capture_output=True, check=True).stdout
        for path in (source, results.files[0].path)
    ]
    assert printed[0] == printed[1] and "王".encode() in printed[1]

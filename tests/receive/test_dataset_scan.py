"""The look through a data set: whole or truncated, and which instance."""

from __future__ import annotations

import random
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.dsutils import encode

from dicomnode.receive.dataset_scan import (
    MAXIMUM_DEPTH,
    ArrivingScan,
    DatasetIdentity,
    PatientElements,
    UnreadableDatasetError,
    scan_dataset,
)
from tests.dicom_network import dataset_bytes, make_ct

PLAIN = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def encoded(dataset: Dataset, syntax: str) -> bytes:
    data = encode(dataset, syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    assert data is not None
    return data


def with_sequences() -> Dataset:
    dataset = make_ct()
    inner = Dataset()
    inner.StudyInstanceUID = "1.9.9"  # must not be taken for the one of the instance
    inner.is_undefined_length_sequence_item = True
    middle = Dataset()
    middle.ReferencedSeriesSequence = Sequence([inner, Dataset()])
    middle["ReferencedSeriesSequence"].is_undefined_length = True
    dataset.ReferencedStudySequence = Sequence([middle])
    dataset["ReferencedStudySequence"].is_undefined_length = True
    return dataset


@pytest.mark.parametrize("syntax", PLAIN)
def test_uids_of_the_top_level_are_found(syntax: str) -> None:
    identity = scan_dataset(encoded(with_sequences(), syntax), syntax)
    dataset = make_ct()
    assert identity.study_instance_uid == dataset.StudyInstanceUID
    assert identity.series_instance_uid == dataset.SeriesInstanceUID
    assert identity.sop_instance_uid == dataset.SOPInstanceUID
    assert identity.sop_class_uid == dataset.SOPClassUID


@pytest.mark.parametrize("syntax", PLAIN)
def test_whose_it_is_stays_as_written_and_out_of_sight(syntax: str) -> None:
    dataset = make_ct(PatientID="P 7", AccessionNumber="A1", SpecificCharacterSet="ISO_IR 100")
    dataset.PatientName = "Müller^Jörg"
    dataset.ReferencedPatientSequence = Sequence([Dataset()])
    dataset.ReferencedPatientSequence[0].PatientID = "somebody else"
    identity = scan_dataset(encoded(dataset, syntax), syntax)
    patient = identity.patient
    assert (patient.patient_id, patient.accession_number) == (b"P 7 ", b"A1")
    assert patient.patient_name.decode("latin-1").strip() == "Müller^Jörg"
    assert patient.character_set == b"ISO_IR 100"
    assert "Jörg" not in repr(identity)


def test_nobody_and_an_absurdly_long_name_are_nobody() -> None:
    dataset = make_ct()
    dataset.PatientName = "N" * 2000
    identity = scan_dataset(encoded(dataset, ImplicitVRLittleEndian), ImplicitVRLittleEndian)
    assert identity.patient == PatientElements()


@pytest.mark.parametrize("syntax", PLAIN)
def test_every_truncation_is_noticed(syntax: str) -> None:
    data = encoded(with_sequences(), syntax)
    whole = scan_dataset(data, syntax)
    for length in range(len(data)):
        try:
            identity = scan_dataset(data[:length], syntax)
        except UnreadableDatasetError as error:
            assert len(str(error)) <= 64
            assert str(error).isascii()
        else:  # cut exactly between two elements, which can't be told from a shorter data set
            assert identity == whole
            assert length in element_ends(data, syntax)


def element_ends(data: bytes, syntax: str) -> set[int]:
    """Ends of the last top-level elements, after the UIDs: Rows, Columns, Bits Allocated."""
    header = 8 if syntax == ImplicitVRLittleEndian else 12
    pixel_data = len(data) - 512 - header
    return {pixel_data - size for size in (0, 10, 20, 30)}


def test_every_real_file_is_read(data_dir: Path) -> None:
    files = [
        path
        for folder in ("edge", "refuse")
        for path in sorted((data_dir / folder).rglob("*"))
        if path.is_file() and path.read_bytes()[128:132] == b"DICM"
    ]
    files.extend(sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))[:3])
    assert len(files) > 40
    read = 0
    for path in files:
        dataset = dcmread(path, stop_before_pixels=True)
        if not all(name in dataset for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")):
            continue
        content = dataset_bytes(path)
        syntax = dataset.file_meta.TransferSyntaxUID
        identity = scan_dataset(content, syntax)
        assert identity.sop_instance_uid == dataset.SOPInstanceUID, path.name
        assert identity.series_instance_uid == dataset.SeriesInstanceUID, path.name
        with pytest.raises(UnreadableDatasetError):
            scan_dataset(content[: len(content) // 2], syntax)
        read += 1
    assert read > 40


def test_deflated(data_dir: Path) -> None:
    dataset = make_ct()
    dataset["PixelData"].value = random.Random(1).randbytes(3_000_000)  # several pieces
    data = encoded(dataset, ExplicitVRLittleEndian)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(data) + deflater.flush()
    identity = scan_dataset(deflated + b"\0", DeflatedExplicitVRLittleEndian)
    assert identity == scan_dataset(data, ExplicitVRLittleEndian)
    with pytest.raises(UnreadableDatasetError, match="truncated"):
        scan_dataset(deflated[:-20], DeflatedExplicitVRLittleEndian)
    with pytest.raises(UnreadableDatasetError, match="damaged"):
        scan_dataset(b"\xff" * 100, DeflatedExplicitVRLittleEndian)


def test_absurd_depth_ends_in_a_sentence() -> None:
    one = struct.pack("<HH2sxxL", 0x0008, 0x1110, b"SQ", 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    with pytest.raises(UnreadableDatasetError, match=f"deeper than {MAXIMUM_DEPTH}"):
        scan_dataset(one * 100_000, ExplicitVRLittleEndian)


def test_absurdly_many_elements_end_in_a_sentence_and_soon() -> None:
    """Each costs as much time as a real one; half a gigabyte of empty elements would hold up the others."""
    begin = time.monotonic()
    with pytest.raises(UnreadableDatasetError, match="more than 1000000 elements"):
        scan_dataset(struct.pack("<HHL", 8, 8, 0) * 20_000_000, ImplicitVRLittleEndian)
    with pytest.raises(UnreadableDatasetError, match="more than 1000000 elements"):
        one = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
        sequence = struct.pack("<HHL", 0x0008, 0x1110, 0xFFFFFFFF)
        scan_dataset(sequence + one * 20_000_000, ImplicitVRLittleEndian)
    assert time.monotonic() - begin < 20


def test_a_deflated_bomb_ends_in_a_sentence() -> None:
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(bytes(300 << 20)) + deflater.flush()
    with pytest.raises(UnreadableDatasetError, match="more than 256 MiB"):
        scan_dataset(bomb, DeflatedExplicitVRLittleEndian)


def test_nothing_at_all() -> None:
    with pytest.raises(UnreadableDatasetError, match="no SOP Class UID"):
        scan_dataset(b"", ExplicitVRLittleEndian)


@given(st.binary(max_size=400), st.sampled_from([*PLAIN, DeflatedExplicitVRLittleEndian]))
@settings(max_examples=300, deadline=None)
def test_random_bytes_never_do_more_than_be_unreadable(data: bytes, syntax: str) -> None:
    with pytest.raises(UnreadableDatasetError):
        scan_dataset(data, syntax)


@pytest.mark.parametrize("syntax", PLAIN)
def test_flipped_bytes_never_do_more_than_be_unreadable(syntax: str) -> None:
    whole = encoded(with_sequences(), syntax)
    chance = random.Random(3)
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 5)):
            data[chance.randrange(len(data) - 512)] = chance.randrange(256)
        try:
            scan_dataset(bytes(data), syntax)
        except UnreadableDatasetError as error:
            assert len(str(error)) <= 64


def outcome_of(look: Callable[[], DatasetIdentity]) -> DatasetIdentity | str:
    try:
        return look()
    except UnreadableDatasetError as error:
        return str(error)


@given(
    syntax=st.sampled_from(PLAIN),
    cuts=st.lists(st.integers(0, 40_000), max_size=5),
    damage=st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 255)), max_size=3),
    end=st.integers(0, 40_000),
)
def test_looking_while_it_arrives_sees_what_looking_at_the_whole_does(
    syntax: str, cuts: list[int], damage: list[tuple[int, int]], end: int
) -> None:
    dataset = make_ct()
    inner = Dataset()
    inner.add_new(0x00081155, "UI", "1.2.3")
    inner.add_new(0x00081160, "IS", "4")
    dataset.ReferencedImageSequence = Sequence([inner] * 600)
    dataset["ReferencedImageSequence"].is_undefined_length = True
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 7.5], [1, 0, 0, 0, 1, 0]
    whole = bytearray(encoded(dataset, syntax))
    for place, value in damage:
        whole[place % len(whole)] = value
    data = memoryview(bytes(whole[: end or None]))
    scan = ArrivingScan(syntax)
    for cut in sorted(cuts):
        scan.advance(data[:cut])
    assert outcome_of(lambda: scan.finish(data)) == outcome_of(lambda: scan_dataset(data, syntax))

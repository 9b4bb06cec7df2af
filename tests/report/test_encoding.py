"""Our encoder against pydicom's."""

from __future__ import annotations

import pytest
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import write_dataset

from dicomnode.report.encoding import encode_data_element, encode_dataset, explicit_buffer
from tests.report.every_object import EveryObject


def written_by_pydicom(dataset: Dataset, encoding: str = "iso8859") -> bytes:
    buffer = explicit_buffer()
    write_dataset(buffer, dataset, encoding)
    return bytes(buffer.getvalue())


def test_every_object_is_encoded_as_pydicom_does(every: EveryObject) -> None:
    for path in every.files().values():
        dataset = dcmread(path, stop_before_pixels=True)
        for _ in dataset.iterall():  # as values, no longer as the bytes that were read
            pass
        encoding = "utf8" if dataset.pop("SpecificCharacterSet").value == "ISO_IR 192" else "iso8859"
        assert encode_dataset(dataset, encoding) == written_by_pydicom(dataset, encoding), path


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("LO", ""),
        ("LO", None),
        ("LO", ["odd", "ones"]),
        ("LO", "Ödem"),
        ("DS", ["1.50", "-2", ""]),
        ("DS", 0.1),
        ("IS", "007"),
        ("IS", 7),
        ("PN", ""),
        ("PN", "Doe^Jane"),
        ("PN", ["Doe^Jane", "Roe^Richard"]),
        ("UI", "1.2.3"),
        ("UI", ["1.2.3", "1.2"]),
        ("US", 7),
        ("US", [1, 2]),
        ("FD", 0.1),
        ("FL", [0.5, 2]),
        ("SL", -5),
        ("AT", 0x00100010),
        ("AT", [0x00100010, 0x00100020]),
        ("UN", b"odd"),
        ("OB", b"\0\1\2"),
        ("UT", "x" * 70001),
        ("DA", "20240229"),
        ("TM", "101112.5"),
        ("CS", "YES"),
        ("SQ", []),
    ],
)
def test_values_are_encoded_as_pydicom_does(vr: str, value: object) -> None:
    dataset = Dataset()
    dataset.add(DataElement(0x00111001, vr, value))
    assert encode_data_element(dataset[0x00111001]) == written_by_pydicom(dataset)


@pytest.mark.parametrize("encoding", ["iso8859", "utf8"])
def test_characters_are_those_of_the_object(encoding: str) -> None:
    item, dataset = Dataset(), Dataset()
    item.CodeMeaning, item.CodeValue = "肺" if encoding == "utf8" else "Köln", "1"
    dataset.ConceptNameCodeSequence = [item]
    assert encode_dataset(dataset, encoding) == written_by_pydicom(dataset, encoding)


def test_an_item_with_its_own_character_set_keeps_it() -> None:
    item, dataset = Dataset(), Dataset()
    item.SpecificCharacterSet, item.PatientComments = "ISO_IR 192", "肺"
    dataset.ReferencedPatientSequence = [item]
    encoded = encode_dataset(dataset)
    assert "肺".encode() in encoded
    assert encoded == written_by_pydicom(dataset)


def test_what_pydicom_refuses_is_refused() -> None:
    dataset = Dataset()
    dataset.add(DataElement(0x00280106, "US or SS", 5))
    with pytest.raises(ValueError, match="ambiguous VR"):
        encode_dataset(dataset)

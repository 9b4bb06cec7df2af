"""Headers of real and crooked files."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.headers import SliceHeader, read_header
from tests.assemble.ct_series import write_series


def headers_of(tmp_path: Path, **attributes: object) -> SliceHeader:
    def edit(_index: int, dataset: Dataset) -> None:
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)

    return read_header(write_series(tmp_path, count=1, edit=edit)[0])


def test_every_real_header_says_what_pydicom_reads(data_dir: Path) -> None:
    paths = sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))[::50]
    paths += [
        path for path in (data_dir / "edge" / "every_transfer_syntax").iterdir() if "CTImage" in path.name
    ]
    paths += sorted((data_dir / "refuse").rglob("*.dcm"))
    assert len(paths) > 50
    for path in paths:
        header, dataset = read_header(path), pydicom.dcmread(path)
        assert header.sop_instance_uid == dataset.SOPInstanceUID
        assert header.series_instance_uid == dataset.SeriesInstanceUID
        assert header.transfer_syntax_uid == dataset.file_meta.TransferSyntaxUID
        assert (header.rows, header.columns) == (dataset.Rows, dataset.Columns)
        assert (header.bits_stored, header.high_bit) == (dataset.BitsStored, dataset.HighBit)
        assert header.pixel_representation == dataset.PixelRepresentation
        assert header.position == tuple(dataset.ImagePositionPatient)
        assert header.orientation == tuple(dataset.ImageOrientationPatient)
        assert header.pixel_spacing == tuple(dataset.PixelSpacing)
        assert header.rescale_slope == dataset.get("RescaleSlope")
        assert header.rescale_intercept == dataset.get("RescaleIntercept")
        assert header.manufacturer == (dataset.get("Manufacturer") or None)
        assert header.malformed == frozenset()


def test_pixels_that_start_with_a_wrong_syntax_name_are_read_as_they_are(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path, count=1, transfer_syntax_uid="1.2.840.10008.1.2")
    expected = read_header(path)
    renamed = pydicom.dcmread(path)
    renamed.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    with path.open("wb") as file:
        pydicom.dcmwrite(file, renamed, implicit_vr=True, little_endian=True, force_encoding=True)
    header = read_header(path)
    assert header.transfer_syntax_uid == pydicom.uid.ExplicitVRLittleEndian
    assert header.position == expected.position
    assert header.pixel_element is not None
    assert header.pixel_element.length == 308


def test_words_in_other_character_sets_are_read(tmp_path: Path) -> None:
    header = headers_of(tmp_path, SpecificCharacterSet="ISO_IR 192", Manufacturer="日立")
    assert header.manufacturer == "日立"


@pytest.mark.parametrize(
    ("agent", "contrast"),
    [("ULTRAVIST 370", True), ("None", False), ("no contrast", False), ("", None), (None, None)],
)
def test_contrast_is_known_only_where_the_header_says_so(
    tmp_path: Path, agent: str | None, contrast: bool | None
) -> None:
    attributes = {} if agent is None else {"ContrastBolusAgent": agent}
    assert headers_of(tmp_path, **attributes).contrast is contrast


def test_a_padding_value_of_zero_is_a_value(tmp_path: Path) -> None:
    assert headers_of(tmp_path, PixelPaddingValue=0).pixel_padding_value == 0


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(128) + b"DICM", bytes(128) + b"DICM" + bytes(50)])
def test_what_is_no_dicom_file_is_an_error_without_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Doe_Jane.dcm"
    path.write_bytes(content)
    with pytest.raises(AssembleError, match="no DICOM file or broken") as caught:
        read_header(path)
    assert "Doe" not in str(caught.value)


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssembleError, match="can't be read: No such file"):
        read_header(tmp_path / "gone.dcm")

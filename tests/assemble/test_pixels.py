"""Stored values to Hounsfield units; files that end too early."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.headers import SliceHeader, read_header
from dicomnode.assemble.pixels import _add_clipped, read_stored_values, to_hounsfield
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from tests.assemble.ct_series import write_series

EDGE = Path("edge") / "every_transfer_syntax"
COMPRESSED = {
    "RLE": "CTImage.dcm_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm",
    "JPEG lossless": "CTImage.dcm_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm",
    "JPEG-LS": "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
    "JPEG 2000": "CTImage.dcm_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm",
    "deflated": "CTImage.dcm_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
    "big endian": "CTImage.dcm_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm",
    "implicit": "CTImage.dcm_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm",
}


def refusal(paths: list[Path]) -> SeriesRefusedError:
    with pytest.raises(SeriesRefusedError) as caught:
        assemble_series(paths)
    return caught.value


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", ExplicitVRBigEndian])
@pytest.mark.parametrize("lost", [1, 2, 200, 308, 330])
def test_a_truncated_file_is_refused_not_measured(tmp_path: Path, uid: str, lost: int) -> None:
    paths = write_series(tmp_path, transfer_syntax_uid=uid)
    content = paths[6].read_bytes()
    paths[6].write_bytes(content[:-lost])
    refused = refusal(paths)
    assert refused.reason is RefusalReason.NO_PIXEL_DATA
    assert "z = -50.00 mm" in refused.detail


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("kept", [0.97, 0.5, 0.2])
def test_a_truncated_frame_is_refused_whatever_its_compression(
    data_dir: Path, tmp_path: Path, name: str, kept: float
) -> None:
    content = (data_dir / EDGE / COMPRESSED[name]).read_bytes()
    path = tmp_path / "cut.dcm"
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(SeriesRefusedError) as caught:
        read_stored_values(read_header(path))
    assert caught.value.reason is RefusalReason.NO_PIXEL_DATA


@pytest.mark.parametrize("name", ["RLE", "JPEG lossless", "JPEG-LS", "JPEG 2000"])
def test_a_code_stream_cut_inside_a_well_formed_file_is_refused(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    dataset = pydicom.dcmread(data_dir / EDGE / COMPRESSED[name])
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2]])
    dataset.save_as(tmp_path / "cut.dcm")
    with pytest.raises(SeriesRefusedError) as caught:
        read_stored_values(read_header(tmp_path / "cut.dcm"))
    assert caught.value.reason is RefusalReason.NO_PIXEL_DATA


def test_numbers_that_are_no_hounsfield_units_are_refused(tmp_path: Path) -> None:
    def grey_levels(_index: int, dataset: Dataset) -> None:
        values = np.frombuffer(dataset.PixelData, dtype=np.uint16) % 256
        dataset.PixelData = values.astype(np.uint16).tobytes()
        dataset.RescaleIntercept = 0

    refused = refusal(write_series(tmp_path, edit=grey_levels))
    assert refused.reason is RefusalReason.BAD_RESCALE
    assert "99.9 % of the values lie between" in refused.detail
    assert "no air" in refused.detail


def test_a_forgotten_intercept_is_seen_in_the_values(tmp_path: Path) -> None:
    def forget(_index: int, dataset: Dataset) -> None:
        dataset.RescaleIntercept = 0

    assert refusal(write_series(tmp_path, edit=forget)).reason is RefusalReason.BAD_RESCALE


def test_values_without_soft_tissue_are_refused(tmp_path: Path) -> None:
    def scale(_index: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = 8, -8000

    refused = refusal(write_series(tmp_path, edit=scale))
    assert refused.reason is RefusalReason.BAD_RESCALE
    assert "no soft tissue" in refused.detail


def one_header(tmp_path: Path, **attributes: object) -> SliceHeader:
    def edit(_index: int, dataset: Dataset) -> None:
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)

    return read_header(write_series(tmp_path, count=1, edit=edit)[0])


def hounsfield(stored: np.ndarray, header: SliceHeader) -> list[int]:
    out = np.empty(stored.shape, dtype=np.int16)
    to_hounsfield(stored, header, out)
    return out.tolist()


def test_values_below_air_and_beyond_the_scale_are_clipped(tmp_path: Path) -> None:
    header = one_header(tmp_path)
    assert hounsfield(np.array([-2000, -1, 0, 1024, 32767], dtype=np.int16), header) == [
        *(-1024, -1024, -1024, 0, 31743),
    ]
    assert hounsfield(np.array([0, 33791, 65535], dtype=np.uint16), header) == [-1024, 32767, 32767]
    metal = one_header(tmp_path, RescaleSlope="10", RescaleIntercept="-10240")
    assert hounsfield(np.array([0, 924, 1024, 60000], dtype=np.uint16), metal) == [-1024, -1000, 0, 32767]


def test_broken_slopes_round_to_the_nearest_unit(tmp_path: Path) -> None:
    header = one_header(tmp_path, RescaleSlope="0.3", RescaleIntercept="-100.5")
    assert hounsfield(np.array([0, 1, 2, 335], dtype=np.int16), header) == [-100, -100, -100, 0]


def test_padding_above_the_scale_becomes_air(tmp_path: Path) -> None:
    header = one_header(tmp_path, PixelPaddingValue=63536)
    assert hounsfield(np.array([63536, 63535, 4095], dtype=np.uint16), header) == [-1024, 32767, 3071]
    ranged = one_header(tmp_path, PixelPaddingValue=63536, PixelPaddingRangeLimit=63000)
    assert hounsfield(np.array([63536, 63000, 62999], dtype=np.uint16), ranged) == [-1024, -1024, 32767]


def test_padding_that_claims_a_value_of_tissue_is_not_believed(tmp_path: Path) -> None:
    header = one_header(tmp_path, PixelPaddingValue=1024)
    assert hounsfield(np.array([1024, 1064], dtype=np.uint16), header) == [0, 40]


def test_unused_bits_above_bits_stored_are_cleared(tmp_path: Path) -> None:
    def overlay(_index: int, dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit = 12, 11
        values = np.frombuffer(dataset.PixelData, dtype=np.uint16) | 0xF000
        dataset.PixelData = values.tobytes()

    (path,) = write_series(tmp_path, count=1, edit=overlay)
    assert read_stored_values(read_header(path)).max() == 1124


def test_signed_values_of_twelve_bits_keep_their_sign(tmp_path: Path) -> None:
    def signed(_index: int, dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
        dataset.RescaleIntercept = 0
        values = np.frombuffer(dataset.PixelData, dtype=np.uint16).astype(np.int16) - 1024
        dataset.PixelData = (values.view(np.uint16) & 0x0FFF).tobytes()

    volume = assemble_series(write_series(tmp_path, edit=signed))
    assert (volume.hu[0, 0, 0], volume.hu[0, 5, 5], volume.hu[3, 2, 5]) == (-1000, 40, 103)


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.1", ExplicitVRBigEndian])
def test_eight_bits_are_read_like_pydicom_does(tmp_path: Path, uid: str) -> None:
    def narrow(_index: int, dataset: Dataset) -> None:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = bytes(range(154))
        dataset["PixelData"].VR = "OW"

    (path,) = write_series(tmp_path, count=1, edit=narrow, transfer_syntax_uid=uid)
    assert np.array_equal(read_stored_values(read_header(path)), pydicom.dcmread(path).pixel_array)


def test_a_file_cut_in_its_header_is_an_error_since_its_instance_is_unknown(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    paths[3].write_bytes(paths[3].read_bytes()[:200])
    with pytest.raises(AssembleError, match="broken") as caught:
        assemble_series(paths)
    assert not isinstance(caught.value, SeriesRefusedError)


@given(
    values=arrays(st.sampled_from([np.int8, np.uint8, np.int16, np.uint16]), 20),
    offset=st.integers(-32768, 32768),
)
def test_any_intercept_gives_the_clipped_sum_without_overflow(values: np.ndarray, offset: int) -> None:
    out = np.empty(values.shape, dtype=np.int16)
    _add_clipped(values, offset, out)
    assert np.array_equal(out, np.clip(values.astype(np.int64) + offset, -1024, 32767))

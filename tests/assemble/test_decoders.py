"""Every transfer syntax: the same stored values as pydicom decodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.decoders import LOSSY, decodable_transfer_syntaxes
from dicomnode.assemble.headers import read_header
from dicomnode.assemble.pixels import read_stored_values
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError

FOLDER = Path("edge") / "every_transfer_syntax"

# What a series of each file comes to: None where it is a volume.
FILES = {
    "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": "SOP class Enhanced CT Image Storage",
    "CT1_J2KR": None,
    "CT2_J2KR": None,
    "CTImage.dcm": None,
    "CTImage.dcm_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm": None,
    "CTImage.dcm_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm": None,
    "CTImage.dcm_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm": None,
    "CTImage.dcm_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm": None,
    "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm": None,
    "CTImage.dcm_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm": None,
    "CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm": None,
    "CTImage.dcm_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm": None,
    "CTImage.dcm_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm": None,
    "CTImage.dcm_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm": None,
    "CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": None,
    "CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm": None,
    "CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm": None,
    "CTImage.dcm_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm": None,
    "CTImage.dcm_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm": None,
    "US-YBR_FULL_422-EVRLE.dcm": "1 of 1 instance of modality US",
    "no-pixel-data.dcm": "1 of 1 instance of modality SR",
    "no-pixel-spacing.dcm": "1 of 1 instance of modality US",
}
VOLUMES = [name for name, words in FILES.items() if words is None]
# pydicom reads the first only with a plugin under the GPL and the others not at all; their coefficients are
# the same, and they came from CTImage.dcm with some loss.
TWELVE_BIT_JPEG = ("JPEGProcess2_4", "JPEGProcess6_8", "JPEGProcess10_12")


def stacked(path: Path, directory: Path) -> list[Path]:
    """Eight copies of one slice, 10 mm apart, its pixel data untouched."""
    paths = []
    for index in range(8):
        dataset = pydicom.dcmread(path)
        x, y, z = map(float, dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y, z + 10 * index]
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.9.8.{index}"
        paths.append(directory / f"{index}.dcm")
        dataset.save_as(paths[-1])
    return paths


def test_every_file_has_a_case(data_dir: Path) -> None:
    assert {path.name for path in (data_dir / FOLDER).iterdir()} == set(FILES)


@pytest.mark.parametrize("name", VOLUMES)
def test_a_series_in_any_transfer_syntax_is_a_volume_of_pydicom_s_pixels(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    original = data_dir / FOLDER / name
    volume = assemble_series(stacked(original, tmp_path))
    reference = pydicom.dcmread(original)
    assert volume.acquisition.lossy is (reference.file_meta.TransferSyntaxUID in LOSSY)
    if any(process in name for process in TWELVE_BIT_JPEG):
        raw = pydicom.dcmread(data_dir / FOLDER / "CTImage.dcm").pixel_array.astype(int) - 1024
        assert np.abs(volume.hu[0] - np.maximum(raw, -1024)).mean() < 4
        assert np.array_equal(volume.hu[0], volume.hu[7])
        return
    hu = reference.pixel_array * float(reference.RescaleSlope) + float(reference.RescaleIntercept)
    expected = np.clip(np.rint(hu), -1024, 32767)
    for index in (0, 7):
        assert np.array_equal(volume.hu[index], expected)


def test_the_three_processes_of_twelve_bit_jpeg_decode_to_the_same_pixels(data_dir: Path) -> None:
    paths = [next((data_dir / FOLDER).glob(f"*{process}T*")) for process in TWELVE_BIT_JPEG]
    first, second, third = (read_stored_values(read_header(path)) for path in paths)
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)
    assert (first.min(), first.max()) == (497, 2708)


@pytest.mark.parametrize("name", [name for name in FILES if name not in VOLUMES])
def test_what_is_no_ct_slice_is_refused(data_dir: Path, name: str) -> None:
    with pytest.raises(SeriesRefusedError) as caught:
        assemble_series([data_dir / FOLDER / name])
    assert caught.value.reason is RefusalReason.NOT_CT
    assert FILES[name] in caught.value.detail


def test_the_list_for_negotiation_holds_every_transfer_syntax_of_the_volumes(data_dir: Path) -> None:
    listed = decodable_transfer_syntaxes()
    assert len(listed) == len(set(listed))
    for name in VOLUMES:
        assert pydicom.dcmread(data_dir / FOLDER / name).file_meta.TransferSyntaxUID in listed
    assert all(UID(uid).is_transfer_syntax for uid in listed)
    assert "1.2.840.10008.1.2.4.100" not in listed  # MPEG-2: no CT


def test_jpeg_2000_whose_sign_differs_from_the_header_s_is_mended_as_pydicom_does(
    data_dir: Path, tmp_path: Path
) -> None:
    dataset = pydicom.dcmread(data_dir / FOLDER / "CT1_J2KR")
    dataset.PixelRepresentation = 1 - dataset.PixelRepresentation
    dataset.save_as(tmp_path / "turned.dcm")
    stored = read_stored_values(read_header(tmp_path / "turned.dcm"))
    assert np.array_equal(stored, pydicom.dcmread(tmp_path / "turned.dcm").pixel_array)


@pytest.mark.parametrize(
    "name", ["CT1_J2KR", "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm"]
)
def test_a_frame_in_several_fragments_is_one_frame(data_dir: Path, tmp_path: Path, name: str) -> None:
    dataset = pydicom.dcmread(data_dir / FOLDER / name)
    expected = dataset.pixel_array
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    dataset.PixelData = pydicom.encaps.encapsulate([frame], fragments_per_frame=5)
    dataset.save_as(tmp_path / "fragments.dcm")
    assert np.array_equal(read_stored_values(read_header(tmp_path / "fragments.dcm")), expected)

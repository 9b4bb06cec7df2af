"""The room as a whole: geometry, order, identity, real series and refused ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.orientation import AxisOrder
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.assemble.series import find_series
from dicomnode.assemble.volume import Volume
from tests.assemble.ct_series import COLUMN_SPACING, INTERCEPT, ROW_SPACING, stored_values, write_series

HALF = 0.7071067811865476
ORIENTATIONS = {
    "head first supine": (1, 0, 0, 0, 1, 0),
    "head first prone": (-1, 0, 0, 0, -1, 0),
    "feet first: columns mirrored": (-1, 0, 0, 0, 1, 0),
    "rows mirrored": (1, 0, 0, 0, -1, 0),
    "transposed": (0, 1, 0, 1, 0, 0),
    "transposed and mirrored": (0, -1, 0, 1, 0, 0),
    "decubitus": (0, 1, 0, -1, 0, 0),
    "turned by 45 degrees in the plane": (HALF, HALF, 0, -HALF, HALF, 0),
    "oblique by 10 degrees": (1, 0, 0, 0, 0.984807753, 0.173648178),
}


def assert_same(a: Volume, b: Volume) -> None:
    assert np.array_equal(a.hu, b.hu)
    assert np.array_equal(a.affine, b.affine)
    assert a.instances == b.instances
    assert a.acquisition == b.acquisition


def patient_position(path: Path, row: int, column: int) -> np.ndarray:
    """Equation C.7.6.2.1-1 of PS3.3, from the file alone."""
    header = pydicom.dcmread(path, stop_before_pixels=True)
    cosines = np.array(header.ImageOrientationPatient, dtype=float)
    between_rows, between_columns = map(float, header.PixelSpacing)
    corner = np.array(header.ImagePositionPatient, dtype=float)
    return corner + cosines[:3] * between_columns * column + cosines[3:] * between_rows * row


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
def test_every_voxel_lies_where_its_own_header_says(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    volume = assemble_series(write_series(tmp_path, orientation=orientation))
    for z, row, column in [(0, 0, 0), (0, 13, 10), (7, 2, 5), (19, 13, 0), (19, 13, 10)]:
        by_affine = volume.affine @ (column, row, z, 1)
        by_header = patient_position(volume.instances[z].path, row, column)
        assert np.allclose(by_affine[:3], by_header, atol=1e-4)
    assert np.linalg.det(volume.affine[:3, :3]) > 0
    assert volume.spacing_mm == pytest.approx((5.0, ROW_SPACING, COLUMN_SPACING))


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
def test_each_slice_keeps_its_own_pixels(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    volume = assemble_series(write_series(tmp_path, orientation=orientation))
    for z, instance in enumerate(volume.instances):
        index = int(instance.path.stem)
        assert np.array_equal(volume.hu[z], stored_values(index).astype(int) + INTERCEPT)


def test_z_increases_along_the_normal_when_slices_were_numbered_downwards(tmp_path: Path) -> None:
    upwards = assemble_series(write_series(tmp_path / "up", step=(0, 0, 5)))
    downwards = assemble_series(write_series(tmp_path / "down", step=(0, 0, -5)))
    assert upwards.affine[2, 2] == downwards.affine[2, 2] == pytest.approx(5.0)
    assert [i.path.stem for i in downwards.instances] == [i.path.stem for i in upwards.instances][::-1]


def test_prone_or_supine_the_head_ends_up_on_top(tmp_path: Path) -> None:
    for name, orientation in ORIENTATIONS.items():
        volume = assemble_series(write_series(tmp_path / name, orientation=orientation))
        highest = max(volume.instances, key=lambda i: patient_position(i.path, 0, 0)[2])
        turned = AxisOrder.from_affine(volume.affine).to_patient(volume.hu)
        assert turned[-1].max() == int(stored_values(int(highest.path.stem)).max()) + INTERCEPT


def test_instance_numbers_and_file_names_don_t_decide_the_order(tmp_path: Path) -> None:
    scrambled = np.random.default_rng(1).permutation(20)

    def scramble(index: int, dataset: Dataset) -> None:
        dataset.InstanceNumber = int(scrambled[index])

    expected = assemble_series(write_series(tmp_path / "plain"))
    paths = write_series(tmp_path / "scrambled", edit=scramble)
    renamed = [path.rename(path.with_name(f"{scrambled[i]:04}x")) for i, path in enumerate(paths)]
    volume = assemble_series(renamed)
    assert np.array_equal(volume.hu, expected.hu)
    assert [i.sop_instance_uid for i in volume.instances] == [i.sop_instance_uid for i in expected.instances]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(20)))
def test_the_order_of_the_files_never_changes_the_volume(tmp_path: Path, order: list[int]) -> None:
    paths = sorted(tmp_path.glob("*.dcm")) or write_series(tmp_path)
    assert_same(assemble_series([paths[i] for i in order]), assemble_series(paths))


def test_jitter_of_a_hundredth_of_a_millimetre_is_no_gap(tmp_path: Path) -> None:
    jitter = np.random.default_rng(2).uniform(-0.01, 0.01, size=(300, 3))

    def shake(index: int, dataset: Dataset) -> None:
        position = np.array(dataset.ImagePositionPatient, dtype=float) + jitter[index]
        dataset.ImagePositionPatient = [f"{value:.4f}" for value in position]

    assert assemble_series(write_series(tmp_path, count=300, spacing=0.6, edit=shake)).hu.shape[0] == 300


@pytest.mark.parametrize(("spacing", "digits"), [(0.625, 1), (1.5996, 3), (3.27, 0), (2.5, 0)])
def test_rounded_positions_are_no_gap(tmp_path: Path, spacing: float, digits: int) -> None:
    def round_position(index: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [-170.5, -150.25, round(index * spacing, digits)]

    if digits == 0:  # 3.27 mm written as 3 or 4: no longer honest
        with pytest.raises(SeriesRefusedError, match="unevenly spaced"):
            assemble_series(write_series(tmp_path, count=120, edit=round_position))
    else:
        volume = assemble_series(write_series(tmp_path, count=120, edit=round_position))
        assert volume.spacing_mm[0] == pytest.approx(spacing, abs=1e-3)


def test_an_instance_given_twice_counts_once(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    copies = [Path(shutil.copy(path, path.with_suffix(".dcm2"))) for path in paths[3:6]]
    assert_same(assemble_series([*paths, *copies, paths[0]]), assemble_series(paths))


def test_the_same_uid_with_other_pixels_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    other = pydicom.dcmread(paths[4])
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(tmp_path / "other.dcm")
    with pytest.raises(SeriesRefusedError, match="different pixels") as caught:
        assemble_series([*paths, tmp_path / "other.dcm"])
    assert caught.value.reason is RefusalReason.DUPLICATE_POSITION


def test_progress_counts_to_the_number_of_slices(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    assemble_series(write_series(tmp_path), lambda done, total: calls.append((done, total)))
    assert calls == [(done, 20) for done in range(1, 21)]


def test_acquisition_tells_what_all_slices_agree_on(tmp_path: Path) -> None:
    def describe(index: int, dataset: Dataset) -> None:
        dataset.ContrastBolusAgent = "ULTRAVIST"
        dataset.Manufacturer = "SIEMENS"
        dataset.BodyPartExamined = "CHEST" if index else "ABDOMEN"
        dataset.ConvolutionKernel = ["I30f", "3"]

    acquisition = assemble_series(write_series(tmp_path, edit=describe)).acquisition
    assert acquisition.slice_thickness_mm == 5.0
    assert acquisition.contrast is True
    assert acquisition.manufacturer == "SIEMENS"
    assert acquisition.body_part is None
    assert acquisition.kernel == "I30f\\3"
    assert acquisition.lossy is False


def test_a_series_without_frame_of_reference_gets_the_same_one_each_time(tmp_path: Path) -> None:
    def drop(_index: int, dataset: Dataset) -> None:
        del dataset.FrameOfReferenceUID

    paths = write_series(tmp_path, edit=drop)
    first, second = assemble_series(paths), assemble_series(paths[::-1])
    assert first.frame_of_reference_uid == second.frame_of_reference_uid
    assert pydicom.uid.UID(first.frame_of_reference_uid).is_valid


def test_files_of_two_series_are_an_error_not_a_refusal(tmp_path: Path) -> None:
    def rename(_index: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = "1.2.3"

    paths = write_series(tmp_path / "a") + write_series(tmp_path / "b", edit=rename)
    with pytest.raises(AssembleError, match="2 series") as caught:
        assemble_series(paths)
    assert not isinstance(caught.value, SeriesRefusedError)


def test_a_file_that_is_no_dicom_is_an_error(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    paths[3].write_bytes(b"not DICOM" * 100)
    with pytest.raises(AssembleError, match="no DICOM file"):
        assemble_series(paths)
    with pytest.raises(AssembleError, match="without files"):
        assemble_series([])


# Why each: slicecount and sliceorientation are MR. sliceincrement/002 is tilted as well, but a slice that is
# missing may still arrive, so the gap is what a person should hear of first. notavolume repeats one place in
# four acquisitions. head_ct is a scattered part of a head: refused for what is missing; a whole head would be
# refused for its lungs.
REFUSED = {
    "sliceincrement/001": (RefusalReason.GAP, "1 slice missing: nothing between z = 28.1 and 38.1 mm"),
    "sliceincrement/002": (RefusalReason.GAP, "1 slice missing: nothing between z = -51.1 and -49.6 mm"),
    "sliceorientation/001": (RefusalReason.NOT_CT, "4 of 4 instances of modality MR"),
    "slicecount/001": (RefusalReason.NOT_CT, "2 of 2 instances of modality MR"),
    "notavolume/001": (RefusalReason.DUPLICATE_POSITION, "differ in acquisition number"),
    "gantrytilting/001": (RefusalReason.GANTRY_TILT, "14.0 degrees"),
    "sagittal_mixed_orientation": (RefusalReason.MIXED_GEOMETRY, "1 of 20 instances turned"),
    "head_ct": (RefusalReason.GAP, "unevenly spaced"),
    "modality_seg_class_ct": (RefusalReason.NOT_CT, "modality SEG"),
}


@pytest.mark.parametrize("folder", REFUSED)
def test_real_series_that_can_t_be_measured_are_refused(data_dir: Path, folder: str) -> None:
    reason, words = REFUSED[folder]
    (series,) = find_series(data_dir / "refuse" / folder)
    with pytest.raises(SeriesRefusedError) as caught:
        assemble_series(series.paths)
    assert caught.value.reason is reason
    assert words in caught.value.detail


def test_every_refused_folder_has_a_case(data_dir: Path) -> None:
    leaves = {path.parent.relative_to(data_dir / "refuse") for path in (data_dir / "refuse").rglob("*.dcm")}
    assert {str(leaf) for leaf in leaves} <= set(REFUSED)


def test_ricord_is_a_volume_with_the_padding_turned_to_air(data_dir: Path) -> None:
    paths = sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))
    volume = assemble_series(paths)
    assert volume.hu.shape == (248, 512, 512)
    expected = [[0.703125, 0, 0, -172], [0, 0.703125, 0, -156.5], [0, 0, 1.25, -20.5], [0, 0, 0, 1]]
    assert np.allclose(volume.affine, expected)
    assert volume.hu.min() == -1024
    assert volume.acquisition.slice_thickness_mm == 1.25
    assert volume.acquisition.kernel == "STANDARD"
    for z in (0, 100, 247):
        dataset = pydicom.dcmread(volume.instances[z].path)
        hu = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        assert hu.min() == -3024
        assert np.array_equal(volume.hu[z], np.clip(hu, -1024, 32767))


def test_small_chest_is_a_volume_with_the_pixels_of_pydicom(data_dir: Path) -> None:
    (series,) = find_series(data_dir / "cip_ct64_chest")
    volume = assemble_series(series.paths)
    assert volume.hu.shape == (79, 64, 64)
    assert volume.spacing_mm == pytest.approx((3.98734, 4.171872, 4.171872), abs=1e-4)
    for instance, hu in zip(volume.instances, volume.hu, strict=True):
        dataset = pydicom.dcmread(instance.path)
        assert np.array_equal(hu, np.maximum(dataset.pixel_array, -1024))


Recode = Callable[[Dataset], Any]
RECODINGS = {
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "big endian": "1.2.840.10008.1.2.2",
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
}


@pytest.fixture(scope="module")
def sparse_ricord(data_dir: Path) -> list[Path]:
    """Every twelfth slice, 15 mm apart: the whole chest in a twelfth of the time."""
    return sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))[::12]


@pytest.mark.parametrize("name", RECODINGS)
def test_ricord_is_the_same_volume_in_any_lossless_transfer_syntax(
    sparse_ricord: list[Path], tmp_path: Path, name: str
) -> None:
    paths = []
    for path in sparse_ricord:
        dataset = pydicom.dcmread(path)
        recode(dataset, RECODINGS[name])
        paths.append(tmp_path / path.name)
        dataset.save_as(paths[-1], enforce_file_format=True)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID == RECODINGS[name]
    recoded, original = assemble_series(paths), assemble_series(sparse_ricord)
    assert np.array_equal(recoded.hu, original.hu)
    assert np.array_equal(recoded.affine, original.affine)
    assert recoded.acquisition == original.acquisition


def recode(dataset: Dataset, transfer_syntax_uid: str) -> None:
    """To another transfer syntax without a change of any value."""
    dataset.decompress(generate_instance_uid=False)
    syntax = pydicom.uid.UID(transfer_syntax_uid)
    if syntax.is_compressed and not syntax.is_deflated:
        try:
            dataset.compress(syntax, generate_instance_uid=False)
        except RuntimeError as error:
            pytest.skip(f"no encoder for {syntax.name} installed: {error}")
        return
    if not syntax.is_little_endian:
        values = np.frombuffer(dataset.PixelData, dtype="<u2")
        dataset.PixelData = values.astype(">u2").tobytes()
        dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset._read_implicit = dataset._read_little = None  # written as the file meta information says

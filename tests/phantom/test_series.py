"""Phantoms on disk: valid, true to the anatomy, the same each time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, JPEGLosslessSV1

from dicomnode.phantom import Phantom, PhantomError, PhantomSpec, build_phantom, write_series
from dicomnode.phantom.__main__ import main
from dicomnode.phantom.encode import TRANSFER_SYNTAXES
from dicomnode.segment.segmentation import Label

ORIENTATIONS: list[dict[str, Any]] = [
    {},
    {"patient_position": "FFS"},
    {"patient_position": "HFP"},
    {"patient_position": "FFP", "slice_order": "descending"},
    {"flip_rows": True},
    {"flip_columns": True, "slice_order": "shuffled"},
    {"patient_position": "HFP", "flip_rows": True},
]


def hu_of(dataset: pydicom.Dataset) -> NDArray[np.float64]:
    return dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def patient_positions(dataset: pydicom.Dataset, rows: Any, columns: Any) -> NDArray[np.float64]:
    """Patient mm of pixels, by the equation of PS3.3 C.7.6.2.1.1."""
    along_row, along_column = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
    spacing = np.array(dataset.PixelSpacing, float)
    corner = np.array(dataset.ImagePositionPatient, float)
    return (
        corner
        + np.multiply.outer(np.asarray(columns) * spacing[1], along_row)
        + np.multiply.outer(np.asarray(rows) * spacing[0], along_column)
    )


def centroid(datasets: Iterable[pydicom.Dataset], low: float, high: float) -> NDArray[np.float64]:
    """Centroid in patient mm of all voxels with attenuation between ``low`` and ``high``."""
    found = []
    for dataset in datasets:
        hu = hu_of(dataset)
        rows, columns = np.nonzero((hu > low) & (hu < high))
        found.append(patient_positions(dataset, rows, columns))
    middle: NDArray[np.float64] = np.concatenate(found).mean(axis=0)
    return middle


@pytest.mark.parametrize("options", ORIENTATIONS, ids=lambda o: "-".join(map(str, o.values())) or "plain")
def test_left_stays_left_in_every_orientation(
    phantom: Phantom, tmp_path: Path, options: dict[str, Any]
) -> None:
    paths = write_series(phantom, tmp_path, **options)
    solid = np.argwhere(phantom.labels == Label.CONSOLIDATION)
    expected = (phantom.affine @ np.r_[solid.mean(axis=0)[::-1], 1])[:3]
    truth = {float(z): i for i, z in enumerate(np.round(phantom.spec.axis_mm(0), 4))}
    places = []
    for path in paths:
        dataset = pydicom.dcmread(path)
        index = truth[round(float(dataset.ImagePositionPatient[2]), 4)]
        hu = hu_of(dataset)
        for z, y, x in solid[solid[:, 0] == index][::7]:
            # Where the header says that this place lies, the image must hold the phantom's value.
            place = (phantom.affine @ (x, y, z, 1))[:3]
            offset = place - np.array(dataset.ImagePositionPatient, float)
            along_row, along_column = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
            column = round(float(offset @ along_row) / float(dataset.PixelSpacing[1]))
            row = round(float(offset @ along_column) / float(dataset.PixelSpacing[0]))
            assert hu[row, column] == phantom.hu[z, y, x]
            places.append(patient_positions(dataset, [row], [column])[0])
    assert np.mean(places, axis=0) == pytest.approx(expected, abs=2.0)
    assert expected[0] > 30, "the consolidation is in the left lung"


def test_bone_has_the_same_centre_in_every_orientation(phantom: Phantom, tmp_path: Path) -> None:
    centres = [
        centroid(map(pydicom.dcmread, write_series(phantom, tmp_path / str(i), **options)), 250, 4000)
        for i, options in enumerate(ORIENTATIONS)
    ]
    for centre in centres[1:]:
        assert centre == pytest.approx(centres[0], abs=1e-3)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=lambda uid: UID(uid).name)
@pytest.mark.parametrize("pixel_format", ["signed16", "unsigned12", "signed16_hu", "unsigned16_half"])
def test_every_transfer_syntax_keeps_every_voxel(
    thin_phantom: Phantom, tmp_path: Path, syntax: str, pixel_format: str
) -> None:
    paths = write_series(thin_phantom, tmp_path, transfer_syntax_uid=syntax, pixel_format=pixel_format)
    for index, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(hu_of(dataset), thin_phantom.hu[index])


def test_padding_is_stored_as_pixel_padding_value(tmp_path: Path) -> None:
    spec = PhantomSpec(matrix=(3, 48, 48), spacing_mm=(5.0, 7.5, 7.5), reconstruction_circle=True)
    padded = build_phantom(spec)
    dataset = pydicom.dcmread(write_series(padded, tmp_path / "a")[0])
    assert dataset.PixelPaddingValue == -2000
    assert hu_of(dataset)[0, 0] == -3024
    big = pydicom.dcmread(write_series(padded, tmp_path / "b", transfer_syntax_uid=ExplicitVRBigEndian)[0])
    assert big.PixelPaddingValue == -2000
    with pytest.raises(PhantomError, match="do not fit"):
        write_series(padded, tmp_path / "c", pixel_format="unsigned12")


def test_same_spec_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = PhantomSpec(seed=9, matrix=(4, 48, 48), spacing_mm=(5.0, 7.5, 7.5))
    first = write_series(build_phantom(spec), tmp_path / "a", transfer_syntax_uid=JPEGLosslessSV1)
    second = write_series(build_phantom(spec), tmp_path / "b", transfer_syntax_uid=JPEGLosslessSV1)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_identity_is_the_callers_or_derived(thin_phantom: Phantom, tmp_path: Path) -> None:
    mine = write_series(
        thin_phantom,
        tmp_path / "mine",
        patient_name="Äneas^Ωmega",
        patient_id="42",
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.4",
    )
    datasets = [pydicom.dcmread(path) for path in mine]
    assert {str(d.PatientName) for d in datasets} == {"Äneas^Ωmega"}
    assert {(d.StudyInstanceUID, d.SeriesInstanceUID) for d in datasets} == {("1.2.3", "1.2.3.4")}
    assert len({d.SOPInstanceUID for d in datasets}) == len(datasets)
    plain, turned = (
        pydicom.dcmread(write_series(thin_phantom, tmp_path / name, flip_rows=flip)[0])
        for name, flip in (("plain", False), ("turned", True))
    )
    assert plain.StudyInstanceUID == turned.StudyInstanceUID
    assert plain.FrameOfReferenceUID == turned.FrameOfReferenceUID
    assert plain.SeriesInstanceUID != turned.SeriesInstanceUID
    assert UID(plain.SOPInstanceUID).is_valid


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_instance_numbers_run_as_asked(thin_phantom: Phantom, tmp_path: Path, order: str) -> None:
    heights = [
        float(pydicom.dcmread(path).ImagePositionPatient[2])
        for path in write_series(thin_phantom, tmp_path, slice_order=order)
    ]
    kinds = {True: "ascending", False: "shuffled"}
    found = "descending" if heights == sorted(heights)[::-1] else kinds[heights == sorted(heights)]
    assert found == order


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patient_position": "FFP"},
        {"pixel_format": "unsigned12"},
        # dciodvfy itself can't read deflated data sets.
        *({"transfer_syntax_uid": s} for s in TRANSFER_SYNTAXES if s != DeflatedExplicitVRLittleEndian),
    ],
)
def test_dciodvfy_finds_no_error(thin_phantom: Phantom, tmp_path: Path, options: dict[str, Any]) -> None:
    beside = Path(sys.executable).with_name("dciodvfy")
    dciodvfy = str(beside) if beside.is_file() else shutil.which("dciodvfy")
    if dciodvfy is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    path = write_series(thin_phantom, tmp_path, **options)[0]
    checked = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True, check=False)
    output = checked.stdout + checked.stderr
    assert "CTImage" in output
    assert "Error" not in output


def test_wrong_options_are_refused(thin_phantom: Phantom, tmp_path: Path) -> None:
    for wrong in (
        {"transfer_syntax_uid": "1.2.840.10008.1.2.4.50"},
        {"patient_position": "upside down"},
        {"study_instance_uid": "not a UID"},
    ):
        with pytest.raises(PhantomError):
            write_series(thin_phantom, tmp_path, **wrong)


def test_command_writes_a_series_and_its_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ct"
    assert main([str(out), "--ct-matrix", "24", "48", "48", "--study-date", "20240229"]) == 0
    assert dcmread(out / "CT00001.dcm").StudyDate == "20240229"
    assert main([str(out), "--ct-matrix", "24", "48", "48", "--lesion", "ggo:40:right_lower"]) == 0
    assert len(list(out.glob("*.dcm"))) == 24
    assert '"lung_volume_ml"' in (tmp_path / "ct_truth.json").read_text()
    for wrong in ("20240230", "2024-02-29"):
        with pytest.raises(SystemExit):
            main([str(out), "--study-date", wrong])
    assert main([str(out), "--lesion", "ggo:40:nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err

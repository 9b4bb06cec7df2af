"""The overlay as DICOM: the painted slices, where they lie, legal in both forms, the same bytes."""

from __future__ import annotations

import subprocess
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless

from dicomnode.deliver.dicom_file import read_dicom_file, uncompressed
from dicomnode.report.identity import Identity, read_header
from dicomnode.report.overlay import OverlayPainter
from dicomnode.report.picture_series import write_overlay
from dicomnode.report.result_set import FurtherResults, ResultFile, ResultKind
from dicomnode.segment.segmentation import Label
from tests.report.report_cases import Case, make_case, thorax, write_ct

LESIONS = (Label.GROUND_GLASS, Label.CONSOLIDATION)


def overlay(case: Case, out: Path, *, multiframe: bool) -> list[ResultFile]:
    files = case.build(out, further=FurtherResults.of(["overlay"], multiframe))
    return [file for file in files if file.kind is ResultKind.OVERLAY]


def painted(case: Case) -> dict[int, np.ndarray]:
    painter = OverlayPainter(*case.volume.hu.shape[1:], LESIONS)
    masks = case.segmentation.labels
    return {z: painter.paint(case.volume.hu[z], masks[z]) for z in range(len(masks)) if masks[z].any()}


def test_one_object_a_slice_with_its_place(
    case: Case, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    files, expected = overlay(case, tmp_path, multiframe=False), painted(case)
    assert len(files) == len(expected) < len(case.volume.instances)
    assert len({file.series_instance_uid for file in files}) == 1
    for number, (file, z) in enumerate(zip(files, sorted(expected, reverse=True), strict=True), start=1):
        dataset = dcmread(file.path)
        source = dcmread(case.volume.instances[z].path)
        np.testing.assert_array_equal(dataset.pixel_array, expected[z])
        assert dataset.InstanceNumber == number
        assert dataset.SOPInstanceUID == file.sop_instance_uid
        for keyword in ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient"):
            assert dataset[keyword].value == source[keyword].value
        assert dataset.PixelSpacing == source.PixelSpacing and dataset.Rows == source.Rows
        (reference,) = dataset.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert validate(files[0].path) == []


def test_one_object_of_many_frames(case: Case, tmp_path: Path, validate: Callable[[Path], list[str]]) -> None:
    (file,), expected = overlay(case, tmp_path, multiframe=True), painted(case)
    dataset = dcmread(file.path)
    slices = sorted(expected, reverse=True)
    np.testing.assert_array_equal(dataset.pixel_array, [expected[z] for z in slices])
    assert file.sop_class_uid == dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.4"
    for frame, z in zip(dataset.PerFrameFunctionalGroupsSequence, slices, strict=True):
        position = dcmread(case.volume.instances[z].path).ImagePositionPatient
        assert frame.PlanePositionSequence[0].ImagePositionPatient == position
    assert list(dataset.SliceLocationVector) == sorted(dataset.SliceLocationVector, reverse=True)
    assert validate(file.path) == []


@pytest.mark.parametrize("multiframe", [False, True])
def test_ricord_is_legal_and_small(
    ricord: Case, tmp_path: Path, validate: Callable[[Path], list[str]], multiframe: bool
) -> None:
    files = overlay(ricord, tmp_path, multiframe=multiframe)
    assert all(validate(file.path) == [] for file in files[:2])
    frames = len(painted(ricord))
    assert sum(file.path.stat().st_size for file in files) < frames * 512 * 512 * 3 / 2


def test_a_destination_without_jpeg_ls_gets_the_same_pixels(case: Case, tmp_path: Path) -> None:
    file = read_dicom_file(overlay(case, tmp_path, multiframe=True)[0].path)
    assert file.transfer_syntax_uid == JPEGLSLossless and file.is_convertible
    before = dcmread(file.path).pixel_array
    native = uncompressed(file)
    assert native.PixelData[: before.nbytes] == before.tobytes()


def test_dcmtk_draws_the_same_pixels(case: Case, tmp_path: Path, tool: Callable[[str], str]) -> None:
    file = overlay(case, tmp_path, multiframe=False)[4]
    native = tmp_path / "native.dcm"
    subprocess.run([tool("dcmdjpls"), file.path, native], check=True)
    subprocess.run([tool("dcm2pnm"), "+op", native, tmp_path / "slice.ppm"], check=True)
    with Image.open(tmp_path / "slice.ppm") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn), dcmread(file.path).pixel_array)


@pytest.mark.parametrize("multiframe", [False, True])
def test_the_same_input_gives_the_same_bytes_and_both_forms_are_other_objects(
    case: Case, tmp_path: Path, multiframe: bool
) -> None:
    first, second, other = (
        overlay(case, tmp_path / name, multiframe=form)
        for name, form in (("a", multiframe), ("b", multiframe), ("c", not multiframe))
    )
    assert [one.path.read_bytes() for one in first] == [one.path.read_bytes() for one in second]
    assert not {one.sop_instance_uid for one in first} & {one.sop_instance_uid for one in other}
    assert first[0].series_instance_uid != other[0].series_instance_uid


def test_one_slice_at_a_time_is_in_memory(ricord: Case, tmp_path: Path) -> None:
    identity = Identity.from_source(read_header(ricord.volume.instances[0].path))
    tracemalloc.start()
    write_overlay(
        tmp_path,
        ricord.volume,
        ricord.segmentation,
        multiframe=True,
        origin=["1.2.3"],
        identity=identity,
        software=["dicomnode 0.0"],
        lossy=Dataset(),
        description="dicomnode lung overlay",
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    frame = 512 * 512 * 3
    assert len(painted(ricord)) > 10
    assert peak < 8 * frame


def test_slices_go_from_head_to_feet_in_a_volume_upside_down(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    affine = np.diag([8.0, 7.5, -5.0, 1.0])
    case = make_case(write_ct(tmp_path / "ct", hu, affine), labels, sides)
    files = overlay(replace(case), tmp_path, multiframe=False)
    heights = [float(dcmread(file.path).ImagePositionPatient[2]) for file in files]
    assert heights == sorted(heights, reverse=True)
    assert sum(file.kind is ResultKind.OVERLAY for file in case.build(tmp_path / "none")) == 0

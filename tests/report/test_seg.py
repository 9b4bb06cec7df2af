"""The written SEG as others read it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.report.errors import ReportError
from dicomnode.report.segments import segments_of
from dicomnode.segment.segmentation import Segmentation
from tests.report.report_cases import (
    MODEL,
    SHAPE,
    Case,
    axial_affine,
    make_case,
    thorax,
    write_ct,
)

ORIENTATIONS = {
    "head first supine": (1, 1, 1),
    "slices from head to feet": (1, 1, -1),
    "prone": (-1, -1, 1),
    "prone, slices from head to feet": (-1, -1, -1),
    "columns flipped": (-1, 1, 1),
    "rows flipped": (1, -1, 1),
}
CASES = ["case", "cip", "ricord"]


def build(case: Case, out: Path) -> tuple[Path, Path]:
    seg, sr, _ = case.build(out)
    return seg.path, sr.path


def expected_voxels(case: Case) -> list[int]:
    return [int(segment.mask(case.segmentation).sum()) for segment in segments_of(case.segmentation)]


def unpack(seg: Dataset) -> NDArray[np.uint8]:
    """Frames by the letter of PS3.5 8.1.1, without any library's help."""
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    shape = (int(seg.NumberOfFrames), seg.Rows, seg.Columns)
    return bits[: np.prod(shape)].reshape(shape)


def centroids(seg: Dataset) -> dict[int, NDArray[np.float64]]:
    """Centre of each segment in LPS mm from what the SEG alone says of its frames."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    along_row, along_column = np.array(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, float
    ).reshape(2, 3)
    row_mm, column_mm = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
    points: dict[int, list[NDArray[np.float64]]] = {}
    for frame, groups in zip(unpack(seg), seg.PerFrameFunctionalGroupsSequence, strict=True):
        rows, columns = np.nonzero(frame)
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        place = corner + np.outer(columns * column_mm, along_row) + np.outer(rows * row_mm, along_column)
        number = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        points.setdefault(number, []).append(place)
    return {number: np.concatenate(places).mean(axis=0) for number, places in points.items()}


def oriented_affine(signs: tuple[int, int, int], degrees: float = 0.0) -> NDArray[np.float64]:
    affine = axial_affine()
    affine[:3, :3] = affine[:3, :3] * signs
    turn = np.deg2rad(degrees)
    rotation = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine[:3, :3] = rotation @ affine[:3, :3]
    return affine


@pytest.mark.parametrize("degrees", [0.0, 17.0, 90.0])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_masks_lie_where_the_label_map_is(tmp_path: Path, orientation: str, degrees: float) -> None:
    affine = oriented_affine(ORIENTATIONS[orientation], degrees)
    hu, labels, sides = thorax()
    case = make_case(write_ct(tmp_path / "ct", hu, affine), labels, sides)
    seg = dcmread(build(case, tmp_path / "out")[0])
    found = centroids(seg)
    for number, segment in enumerate(segments_of(case.segmentation), start=1):
        z, y, x = (axis.mean() for axis in np.nonzero(segment.mask(case.segmentation)))
        np.testing.assert_allclose(found[number], (affine @ (x, y, z, 1))[:3], atol=1e-4)


def test_each_frame_refers_to_the_source_slice_at_its_place(case: Case, tmp_path: Path) -> None:
    seg = dcmread(build(case, tmp_path)[0])
    sources = {i.sop_instance_uid: dcmread(i.path).ImagePositionPatient for i in case.volume.instances}
    for groups in seg.PerFrameFunctionalGroupsSequence:
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, sources[image.ReferencedSOPInstanceUID], atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_dciodvfy_finds_no_error(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    seg, _ = build(request.getfixturevalue(name), tmp_path)
    assert validate(seg) == []


@pytest.mark.parametrize("name", CASES)
def test_dcmqi_reads_the_same_voxels(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    case = request.getfixturevalue(name)
    seg, _ = build(case, tmp_path)
    command = [tool("segimage2itkimage"), "--inputDICOM", seg, "--outputDirectory", tmp_path]
    subprocess.run([*command, "--outputType", "nrrd"], check=True, capture_output=True)
    read = [
        int((SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / f"{number}.nrrd")) > 0).sum())
        for number in range(1, len(expected_voxels(case)) + 1)
    ]
    assert read == expected_voxels(case)
    meta = json.loads((tmp_path / "meta.json").read_text())
    labels = [item["SegmentLabel"] for group in meta["segmentAttributes"] for item in group]
    assert labels == [segment.label for segment in segments_of(case.segmentation)]


@pytest.mark.parametrize("name", CASES)
def test_highdicom_reads_the_same_masks(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    case = request.getfixturevalue(name)
    seg = highdicom.seg.segread(build(case, tmp_path)[0])
    uids = [instance.sop_instance_uid for instance in case.volume.instances]
    masks = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    for number, segment in enumerate(segments_of(case.segmentation)):
        np.testing.assert_array_equal(masks[..., number], segment.mask(case.segmentation))


def test_lobes_and_effusion_get_segments_when_the_model_tells_them(
    tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    hu, labels, sides = thorax()
    labels[4:8, -8:-5, 6:9] = 4
    upper = np.arange(SHAPE[0])[:, None, None] >= SHAPE[0] // 2
    lobes = np.where(sides == 1, np.where(upper, 1, 3), np.where(sides == 2, np.where(upper, 4, 5), 0))
    case = make_case(write_ct(tmp_path / "ct", hu, axial_affine()), labels, sides, lobes.astype(np.uint8))
    path, _ = build(case, tmp_path)
    seg = dcmread(path)
    assert [item.SegmentLabel for item in seg.SegmentSequence] == [
        "Lungs",
        "Right lung",
        "Left lung",
        "Right upper lobe",
        "Right middle lobe",
        "Right lower lobe",
        "Left upper lobe",
        "Left lower lobe",
        "Lesion (GGO and consolidation)",
        "Ground glass opacity",
        "Consolidation",
        "Effusion",
    ]
    laterality = seg.SegmentSequence[3].SegmentedPropertyTypeCodeSequence[0]
    assert laterality.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"
    assert validate(path) == []


def test_no_lesion_leaves_a_legal_readable_seg(
    tmp_path: Path, validate: Callable[[Path], list[str]], tool: Callable[[str], str]
) -> None:
    hu, labels, sides = thorax()
    case = make_case(write_ct(tmp_path / "ct", hu, axial_affine()), (labels > 0).astype(np.uint8), sides)
    path, _ = build(case, tmp_path)
    assert validate(path) == []
    seg = highdicom.seg.segread(path)
    assert seg.number_of_segments == 6
    assert seg.get_volume().array.sum(axis=(0, 1, 2)).tolist()[3:] == [0, 0, 0]
    command = [tool("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", tmp_path]
    subprocess.run([*command, "--outputType", "nrrd"], check=True, capture_output=True)
    assert (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "1.nrrd")) > 0).sum() == (
        labels > 0
    ).sum()


@pytest.mark.parametrize("shape", [(11, 9, 13), (9, 7, 5), (20, 36, 44)])
def test_frames_whose_size_is_no_multiple_of_eight_are_packed_without_a_gap(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, shape).astype(np.uint8)
    sides = np.where(labels > 0, 1, 0).astype(np.uint8)
    hu = np.full(shape, -500, np.int16)
    case = make_case(write_ct(tmp_path / "ct", hu, axial_affine()), labels, sides)
    seg = dcmread(build(case, tmp_path)[0])
    frames = unpack(seg)
    numbers = [
        g.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for g in seg.PerFrameFunctionalGroupsSequence
    ]
    ggo = frames[[number == 5 for number in numbers]]
    np.testing.assert_array_equal(ggo, labels[(labels == 2).any(axis=(1, 2))] == 2)
    assert len(seg.PixelData) == (frames.size + 15) // 16 * 2


def test_the_model_that_made_the_masks_is_named(case: Case, tmp_path: Path) -> None:
    algorithm = (
        dcmread(build(case, tmp_path)[0]).SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    )
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (MODEL.name, MODEL.version)
    assert MODEL.weights_sha256 in algorithm.AlgorithmParameters


def test_a_series_without_lung_is_no_seg(tmp_path: Path, case: Case) -> None:
    empty = np.zeros(SHAPE, np.uint8)
    nothing = Segmentation(empty, empty, empty, MODEL)
    with pytest.raises(ReportError, match="nothing to report"):
        replace(case, segmentation=nothing).build(tmp_path)


def test_masks_on_another_grid_are_refused(tmp_path: Path, case: Case) -> None:
    other = np.ones((4, 5, 6), np.uint8)
    with pytest.raises(ReportError, match="masks of shape"):
        replace(case, segmentation=Segmentation(other, other, other, MODEL)).build(tmp_path)

"""The label map says what the binary segmentation says, to every reader."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.report.errors import ReportError
from dicomnode.report.header import object_uids
from dicomnode.report.identity import Identity, read_header
from dicomnode.report.label_map import LABEL_MAP_STORAGE, label_map, write_label_map
from dicomnode.report.segments import FINDINGS, LOBES, LUNGS
from dicomnode.segment.segmentation import Segmentation
from tests.report.report_cases import SHAPE, Case, axial_affine, make_case, thorax, write_ct


def write(case: Case, path: Path, segmentation: Segmentation | None = None) -> Path:
    lossless = Dataset()
    lossless.LossyImageCompression = "00"
    write_label_map(
        path,
        case.volume,
        segmentation or case.segmentation,
        uids=object_uids(LABEL_MAP_STORAGE, "label map", ["origin"]),
        origin=["origin"],
        identity=Identity.from_source(read_header(case.volume.instances[0].path)),
        compression=lossless,
        software=["dicomnode 0"],
    )
    return path


@pytest.fixture
def lobed(tmp_path: Path) -> Case:
    """With lobes, and an effusion."""
    hu, labels, sides = thorax()
    labels[4:8, -8:-5, 6:9] = 4
    upper = np.arange(SHAPE[0])[:, None, None] >= SHAPE[0] // 2
    lobes = np.where(sides == 1, np.where(upper, 1, 3), np.where(sides == 2, np.where(upper, 4, 5), 0))
    return make_case(write_ct(tmp_path / "ct", hu, axial_affine()), labels, sides, lobes.astype(np.uint8))


def stored(case: Case, path: Path) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """The map as highdicom reads it, on the CT's grid, and the labels of its values."""
    seg = highdicom.seg.segread(path)
    uids = [instance.sop_instance_uid for instance in case.volume.instances]
    pixels = seg.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    return pixels, {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}


@pytest.mark.parametrize("name", ["case", "lobed", "cip", "ricord"])
def test_it_says_what_the_binary_segmentation_says(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    case: Case = request.getfixturevalue(name)
    pixels, labels = stored(case, write(case, tmp_path / "map.dcm"))
    regions = LOBES if case.segmentation.has_lobes else LUNGS[1:]
    for segment in regions:
        ours = [n for n, label in labels.items() if segment.label.lower() in label.lower()]
        np.testing.assert_array_equal(np.isin(pixels, ours), segment.mask(case.segmentation), segment.label)
    for segment in FINDINGS[1:]:
        ours = [n for n, label in labels.items() if label.startswith(segment.label)]
        np.testing.assert_array_equal(np.isin(pixels, ours), segment.mask(case.segmentation), segment.label)
    np.testing.assert_array_equal(pixels > 0, case.segmentation.lung)


def test_findings_name_the_lobe_that_they_lie_in(lobed: Case, tmp_path: Path) -> None:
    seg = dcmread(write(lobed, tmp_path / "map.dcm"))
    assert [item.SegmentLabel for item in seg.SegmentSequence] == [
        "Right upper lobe without opacity",
        "Right lower lobe without opacity",
        "Ground glass opacity, right lower lobe",
        "Effusion, right lower lobe",
        "Left upper lobe without opacity",
        "Consolidation, left upper lobe",
        "Left lower lobe without opacity",
    ]
    ggo = seg.SegmentSequence[2]
    assert ggo.SegmentedPropertyTypeCodeSequence[0].CodeValue == "112120"
    (site,) = ggo.AnatomicRegionSequence
    assert site.CodeValue == "90572001"
    assert site.AnatomicRegionModifierSequence[0].CodeValue == "24028007"


def test_lung_without_a_lobe_is_not_lost(lobed: Case) -> None:
    lobes = lobed.segmentation.lobes.copy()
    lobes[6] = 0
    values, segments = label_map(
        Segmentation(lobed.segmentation.labels, lobed.segmentation.sides, lobes, lobed.segmentation.model)
    )
    np.testing.assert_array_equal(values > 0, lobed.segmentation.lung)
    assert {"Right lung without opacity", "Left lung without opacity"} <= {s.label for s in segments}


@pytest.mark.parametrize("name", ["case", "lobed", "ricord"])
def test_dciodvfy_finds_no_error(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    assert validate(write(request.getfixturevalue(name), tmp_path / "map.dcm")) == []


def test_dcmqi_reads_the_same_voxels(lobed: Case, tmp_path: Path, tool: Callable[[str], str]) -> None:
    path = write(lobed, tmp_path / "map.dcm")
    command = [tool("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", tmp_path]
    subprocess.run([*command, "--outputType", "nrrd"], check=True, capture_output=True)
    _, segments = label_map(lobed.segmentation)
    read = sorted(
        int((SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(file)) == value).sum())
        for file in tmp_path.glob("*.nrrd")
        for value in np.unique(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(file)))
        if value
    )
    assert read == sorted(int(segment.mask(lobed.segmentation).sum()) for segment in segments)


def test_it_is_much_smaller_than_the_binary_one(ricord: Case, tmp_path: Path) -> None:
    ricord.build(tmp_path)
    path = write(ricord, tmp_path / "map.dcm")
    assert path.stat().st_size < (tmp_path / "seg.dcm").stat().st_size / 2


def test_without_a_voxel_there_is_nothing_to_write(case: Case, tmp_path: Path) -> None:
    nothing = np.zeros_like(case.segmentation.labels)
    empty = Segmentation(nothing, nothing, nothing, case.segmentation.model)
    with pytest.raises(ReportError, match="nothing to report"):
        write(case, tmp_path / "map.dcm", empty)

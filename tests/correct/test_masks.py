"""Masks as viewers save them land on the voxels that they were drawn on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.correct.masks import read_masks
from tests.correct.viewer import LABELS, save
from tests.report.report_cases import Case, axial_affine, make_case, thorax, write_ct

KEYS = {1: ("ggo",), 2: ("consolidation",)}


@pytest.fixture
def drawn(case: Case) -> dict[str, np.ndarray]:
    """Two masks without overlap, lopsided along every axis."""
    return {"ggo": case.segmentation.labels == 2, "consolidation": case.segmentation.labels == 3}


@pytest.fixture
def saved(case: Case, drawn: dict[str, np.ndarray], tmp_path: Path) -> Path:
    return save(ct_of(case), {LABELS[key]: mask for key, mask in drawn.items()}, tmp_path / "saved.dcm")


def ct_of(case: Case) -> list[Path]:
    return [instance.path for instance in case.volume.instances]


def assert_same(found: dict[str, np.ndarray], drawn: dict[str, np.ndarray]) -> None:
    assert found.keys() == drawn.keys()
    for key, mask in drawn.items():
        assert mask.any()
        assert np.array_equal(found[key], mask), key


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_every_kind_of_segmentation_is_read(
    case: Case, drawn: dict[str, np.ndarray], tmp_path: Path, kind: str
) -> None:
    path = save(
        ct_of(case), {LABELS[key]: mask for key, mask in drawn.items()}, tmp_path / "s.dcm", kind=kind
    )
    found = read_masks(path, KEYS, case.volume)
    assert_same(found.masks, drawn)
    assert not (found.overlap and kind == "LABELMAP")


def test_our_own_segmentation_is_read_back(case: Case, tmp_path: Path) -> None:
    case.build(tmp_path)
    names = ("lungs", "right", "left", "lesion", "ggo", "consolidation")
    keys = {number: (name,) for number, name in enumerate(names, start=1)}
    found = read_masks(tmp_path / "seg.dcm", keys, case.volume)
    assert found.overlap
    assert np.array_equal(found.masks["lungs"], case.segmentation.lung)
    assert np.array_equal(found.masks["left"], case.segmentation.sides == 2)
    assert np.array_equal(found.masks["lesion"], case.segmentation.lesion)


def change_frames(path: Path, change: object) -> None:
    """Rewrite pixels and plane of each frame with ``change(frame, pixels) -> pixels``."""
    dataset = dcmread(path)
    pixels = dataset.pixel_array
    frames = [
        change(dataset, groups, frame)
        for groups, frame in zip(  # type: ignore[operator]
            dataset.PerFrameFunctionalGroupsSequence, pixels, strict=True
        )
    ]
    new = np.stack(frames)
    dataset.Rows, dataset.Columns = new.shape[1:]
    dataset.PixelData = np.packbits(new.reshape(-1), bitorder="little").tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    dataset.save_as(path)


def plane(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Shared orientation and spacing."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    return orientation, np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)


def test_cropped_frames_land_where_they_were(case: Case, drawn: dict[str, np.ndarray], saved: Path) -> None:
    def crop(dataset: Dataset, groups: Dataset, frame: np.ndarray) -> np.ndarray:
        orientation, spacing = plane(dataset)
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        moved = position + 4 * spacing[1] * orientation[:3] + 8 * spacing[0] * orientation[3:]
        groups.PlanePositionSequence[0].ImagePositionPatient = list(moved)
        assert frame.any()
        return frame[8:, 4:]

    change_frames(saved, crop)
    assert_same(read_masks(saved, KEYS, case.volume).masks, drawn)


def test_frames_turned_in_their_plane_land_where_they_were(
    case: Case, drawn: dict[str, np.ndarray], saved: Path
) -> None:
    """Rows are columns and run backwards, as in a viewer that stores what it shows."""
    turned: list[list[float]] = []

    def turn(dataset: Dataset, groups: Dataset, frame: np.ndarray) -> np.ndarray:
        orientation, spacing = plane(dataset)
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        last = position + (frame.shape[1] - 1) * spacing[1] * orientation[:3]
        groups.PlanePositionSequence[0].ImagePositionPatient = list(last)
        turned.append([*orientation[3:], *-orientation[:3]])
        return frame[:, ::-1].T

    change_frames(saved, turn)
    dataset = dcmread(saved)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = turned[0]
    shared.PixelMeasuresSequence[0].PixelSpacing = list(shared.PixelMeasuresSequence[0].PixelSpacing)[::-1]
    dataset.save_as(saved)
    assert_same(read_masks(saved, KEYS, case.volume).masks, drawn)


def test_a_series_stored_from_head_to_feet_is_no_other_body(tmp_path: Path) -> None:
    affine = axial_affine()
    affine[:3, 3] += affine[:3, 2] * 19
    affine[:3, 2] *= -1
    case = make_case(write_ct(tmp_path / "ct", *[thorax()[0], affine]), *thorax()[1:])
    mask = case.segmentation.lesion
    path = save(ct_of(case), {LABELS["ggo"]: mask[::-1]}, tmp_path / "s.dcm")
    assert np.array_equal(read_masks(path, {1: ("ggo",)}, case.volume).masks["ggo"], mask)


@pytest.mark.parametrize("offset_mm", [(2.0, 0, 0), (0, 0, 2.5), (0, 0, 500.0)])
def test_frames_beside_the_voxels_are_refused(
    case: Case, saved: Path, offset_mm: tuple[float, float, float]
) -> None:
    def move(_: Dataset, groups: Dataset, frame: np.ndarray) -> np.ndarray:
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float) + offset_mm
        groups.PlanePositionSequence[0].ImagePositionPatient = list(position)
        return frame

    change_frames(saved, move)
    with pytest.raises(SeriesRefusedError) as refusal:
        read_masks(saved, KEYS, case.volume)
    assert refusal.value.reason is RefusalReason.OTHER_GRID


def test_another_frame_of_reference_is_refused(case: Case, drawn: dict[str, np.ndarray], saved: Path) -> None:
    dataset = dcmread(saved)
    dataset.FrameOfReferenceUID = "1.2.3"
    dataset.save_as(saved)
    with pytest.raises(SeriesRefusedError, match="frame of reference"):
        read_masks(saved, KEYS, case.volume)


def test_a_segment_without_a_frame_is_empty(case: Case, tmp_path: Path) -> None:
    masks = {
        LABELS["ggo"]: case.segmentation.labels == 2,
        LABELS["consolidation"]: case.segmentation.labels == 9,
    }
    found = read_masks(save(ct_of(case), masks, tmp_path / "s.dcm"), KEYS, case.volume)
    assert not found.masks["consolidation"].any()
    assert found.masks["ggo"].any()


def test_pixels_that_cannot_be_decoded_are_refused(case: Case, saved: Path) -> None:
    dataset = dcmread(saved)
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2]
    dataset.save_as(saved)
    with pytest.raises(SeriesRefusedError) as refusal:
        read_masks(saved, KEYS, case.volume)
    assert refusal.value.reason is RefusalReason.NO_PIXEL_DATA


def test_frames_that_are_not_described_are_refused(case: Case, saved: Path) -> None:
    dataset = dcmread(saved)
    del dataset.PerFrameFunctionalGroupsSequence[-1]
    dataset.save_as(saved)
    with pytest.raises(SeriesRefusedError, match="it describes"):
        read_masks(saved, KEYS, case.volume)

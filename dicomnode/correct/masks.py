"""The masks of a Segmentation on the grid of the CT that it was drawn on (PS3.3 A.51, C.8.20)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels

from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.assemble.volume import Volume
from dicomnode.report.label_map import LABEL_MAP_STORAGE

Mask = NDArray[np.bool_]

OFF_GRID_VOXELS = 0.1
"""So far a frame's pixels may lie beside voxels of the CT; programs round positions."""


@dataclass(frozen=True, eq=False)
class DrawnMasks:
    """Masks by key, bool (z, y, x) on the volume's grid; whether one voxel may lie in several of them."""

    masks: dict[str, Mask]
    overlap: bool


def read_masks(path: Path, keys: Mapping[int, tuple[str, ...]], volume: Volume) -> DrawnMasks:
    """Masks of the segments ``keys`` (number to keys); a segment without a frame is empty.

    Pixels of a fractional segmentation belong to a segment from half of its maximum.

    Raises
    ------
    SeriesRefusedError
        ``other_grid`` if a frame doesn't lie on voxels of the volume, or has another frame of reference;
        ``no_pixel_data`` if its pixels can't be decoded.
    """
    dataset = dcmread(path)
    frame_of_reference = str(dataset.get("FrameOfReferenceUID") or "")
    if volume.frame_of_reference_uid and frame_of_reference != volume.frame_of_reference_uid:
        raise _off_grid("it has another frame of reference than the CT")
    is_label_map = dataset.SOPClassUID == LABEL_MAP_STORAGE
    masks = {key: np.zeros(volume.hu.shape, np.bool_) for found in keys.values() for key in found}
    to_voxels = np.linalg.inv(volume.affine).astype(np.float64)
    frames = list(_frames(dataset))
    if len(frames) != int(dataset.get("NumberOfFrames") or 0):
        raise _off_grid(f"it describes {len(frames)} frames of {dataset.get('NumberOfFrames') or 'none'}")
    for frame, pixels in zip(frames, _pixels(dataset, path), strict=True):
        numbers = [int(n) for n in np.unique(pixels) if n] if is_label_map else [frame.segment_number]
        place = _Place.of(frame, pixels.shape, to_voxels, volume.hu.shape)
        for number in numbers:
            if number in keys:
                drawn = pixels == number if is_label_map else pixels >= frame.threshold
                for key in keys[number]:
                    place.draw(drawn, masks[key])
    if any(len(found) > 1 for found in keys.values()):
        return DrawnMasks(masks, overlap=True)
    overlap = not is_label_map and str(dataset.get("SegmentsOverlap") or "UNDEFINED") != "NO"
    return DrawnMasks(masks, overlap)


@dataclass(frozen=True)
class _Frame:
    """Where a frame lies: position of its first pixel, steps to the next column and row, mm (LPS)."""

    segment_number: int
    threshold: float
    position: NDArray[np.float64]
    to_next_column: NDArray[np.float64]
    to_next_row: NDArray[np.float64]


def _frames(dataset: Dataset) -> Iterator[_Frame]:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    fractional = str(dataset.get("SegmentationType") or "") == "FRACTIONAL"
    threshold = float(dataset.get("MaximumFractionalValue", 255)) / 2 if fractional else 1.0
    for groups in dataset.get("PerFrameFunctionalGroupsSequence") or []:

        def item(name: str, groups: Dataset = groups) -> Dataset:
            for place in (groups, shared):
                if found := place.get(name):
                    return found[0]
            return Dataset()

        orientation = item("PlaneOrientationSequence").get("ImageOrientationPatient")
        spacing = item("PixelMeasuresSequence").get("PixelSpacing")
        position = item("PlanePositionSequence").get("ImagePositionPatient")
        if orientation is None or spacing is None or position is None:
            raise _off_grid("a frame has no position, orientation or pixel spacing")
        directions = np.array(orientation, np.float64)
        yield _Frame(
            segment_number=int(item("SegmentIdentificationSequence").get("ReferencedSegmentNumber", 0)),
            threshold=threshold,
            position=np.array(position, np.float64),
            to_next_column=directions[:3] * float(spacing[1]),
            to_next_row=directions[3:] * float(spacing[0]),
        )


def _pixels(dataset: Dataset, path: Path) -> Iterator[NDArray[np.uint8] | NDArray[np.uint16]]:
    try:
        yield from iter_pixels(dataset)
    except (RuntimeError, ValueError, AttributeError, NotImplementedError) as error:
        raise SeriesRefusedError(
            RefusalReason.NO_PIXEL_DATA,
            f"the pixels of the segmentation can't be decoded ({type(error).__name__})",
        ) from error


@dataclass(frozen=True)
class _Place:
    """How a frame lies on the volume: its slice, and the voxel of each pixel along y and x."""

    z: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    transposed: bool

    @classmethod
    def of(
        cls,
        frame: _Frame,
        shape: tuple[int, ...],
        to_voxels: NDArray[np.float64],
        volume_shape: tuple[int, ...],
    ) -> _Place:
        first = (to_voxels @ np.append(frame.position, 1.0))[:3]
        column_step = to_voxels[:3, :3] @ frame.to_next_column
        row_step = to_voxels[:3, :3] @ frame.to_next_row
        last = first + column_step * (shape[1] - 1) + row_step * (shape[0] - 1)
        corner, steps = np.rint(first), (np.rint(column_step), np.rint(row_step))
        there = corner + steps[0] * (shape[1] - 1) + steps[1] * (shape[0] - 1)
        in_plane = all(np.abs(step[:2]).sum() == 1 and step[2] == 0 for step in steps)
        if not in_plane or max(np.abs(first - corner).max(), np.abs(last - there).max()) > OFF_GRID_VOXELS:
            raise _off_grid("a frame doesn't lie on the voxels of a CT slice")
        if not 0 <= corner[2] < volume_shape[0]:
            raise _off_grid("a frame lies beyond the CT")
        transposed = bool(steps[0][0] == 0)
        along_x, along_y = (steps[1], steps[0]) if transposed else steps
        count_x, count_y = shape if transposed else shape[::-1]
        columns = corner[0] + along_x[0] * np.arange(count_x)
        rows = corner[1] + along_y[1] * np.arange(count_y)
        return cls(int(corner[2]), rows.astype(np.int64), columns.astype(np.int64), transposed)

    def draw(self, drawn: NDArray[np.bool_], mask: Mask) -> None:
        """Add a frame's pixels to a mask."""
        pixels = drawn.T if self.transposed else drawn
        inside_y = (self.rows >= 0) & (self.rows < mask.shape[1])
        inside_x = (self.columns >= 0) & (self.columns < mask.shape[2])
        if pixels[~inside_y].any() or pixels[:, ~inside_x].any():
            raise _off_grid("something is drawn beyond the CT")
        rows, columns = self.rows[inside_y], self.columns[inside_x]
        mask[self.z][np.ix_(rows, columns)] |= pixels[np.ix_(inside_y, inside_x)]


def _off_grid(why: str) -> SeriesRefusedError:
    return SeriesRefusedError(
        RefusalReason.OTHER_GRID, f"the segmentation can't be laid on the CT voxel by voxel: {why}"
    )

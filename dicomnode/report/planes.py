"""Planes through the volume as a radiologist wants to see them: which ones, and drawn with the masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicomnode.assemble.orientation import AxisOrder
from dicomnode.assemble.volume import Volume
from dicomnode.segment.segmentation import Label, Segmentation

WINDOW_CENTER_HU = -600
WINDOW_WIDTH_HU = 1500
MARGIN_MM = 14.0
AXIAL_COUNT = 4
"""Key slices of a page, and of what points to them."""

LUNG_RGB = (120, 200, 215)
LABEL_RGB = {
    Label.GROUND_GLASS: (255, 186, 60),
    Label.CONSOLIDATION: (255, 78, 92),
    Label.EFFUSION: (84, 150, 255),
}
FILL_OPACITY = {Label.GROUND_GLASS: 0.3, Label.CONSOLIDATION: 0.46, Label.EFFUSION: 0.4}
OUTLINE_OPACITY = 0.95
LUNG_OUTLINE_OPACITY = 0.65
OVERSAMPLING = 2
LEAST_LUNG_SHARE = 0.08
"""Slices with less than this share of the largest lung area are the lungs' ends: no key slices."""


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane: ``hu`` and ``labels`` (rows, columns) as drawn, top row first; mm of a row and of a column.

    ``marks`` are the patient's directions at the left, right and top edge; ``position_mm`` is the plane's
    place along its normal in LPS.
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, float]
    marks: tuple[str, str, str]
    position_mm: float

    @property
    def lesion_percent(self) -> float:
        """Share of the plane's lung area that is GGO or consolidation."""
        lung = int((self.labels > 0).sum())
        lesion = int(((self.labels == Label.GROUND_GLASS) | (self.labels == Label.CONSOLIDATION)).sum())
        return 100.0 * lesion / lung if lung else 0.0


class PatientView:
    """The volume and its masks turned to the patient's axes: superior, posterior, left."""

    def __init__(self, volume: Volume, segmentation: Segmentation) -> None:
        self._order = AxisOrder.from_affine(volume.affine)
        self._affine = volume.affine
        self._shape = volume.hu.shape
        self.slices = int(volume.hu.shape[self._order.axes[0]])
        self._hu = self._order.to_patient(volume.hu)
        self._labels = self._order.to_patient(segmentation.labels)
        self.spacing_mm = self._order.patient_spacing(volume.spacing_mm)
        self.box = patient_box(self._order, segmentation)
        self._ggo_area = _areas(self._labels, self.box, lambda labels: labels == Label.GROUND_GLASS)
        dense = _areas(self._labels, self.box, lambda labels: labels == Label.CONSOLIDATION)
        self._lung_area = _areas(self._labels, self.box, lambda labels: labels > 0)
        self._lesion_area = [a + b for a, b in zip(self._ggo_area, dense, strict=True)]

    def profile(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Pixels of GGO, of lesion and of lung on each axial slice, from feet to head."""
        return self._ggo_area[0], self._lesion_area[0], self._lung_area[0]

    def key_slices(self, count: int) -> list[int]:
        """Indices of axial slices from head to feet: the most lesion, yet spread over the lungs."""
        area = self._lung_area[0].astype(np.float64)
        score = self._lesion_area[0] + 1e-6 * area
        score[area < LEAST_LUNG_SHARE * area.max()] = 0.0
        candidates = np.flatnonzero(score)
        if not candidates.size:
            return []
        apart = max(1, int(np.ptp(candidates)) // (count + 3))
        chosen: list[int] = []
        while len(chosen) < count and score.any():
            best = int(np.argmax(score))
            chosen.append(best)
            score[max(0, best - apart + 1) : best + apart] = 0.0
        return sorted(chosen, reverse=True)

    def slice_number(self, index: int) -> int:
        """Index of an axial slice in the volume's own order."""
        return self.slices - 1 - index if 0 in self._order.flips else index

    def best(self, axis: int) -> int:
        """Index along a patient axis (1 coronal, 2 sagittal) with the most lesion, else the most lung."""
        score = self._lesion_area[axis] + 1e-6 * self._lung_area[axis]
        return int(np.argmax(score))

    def axial(self, index: int) -> Plane:
        """Seen from the feet: the patient's right at the left edge, front at the top."""
        spacing = (self.spacing_mm[1], self.spacing_mm[2])
        marks = ("R", "L", "A")
        return Plane(self._hu[index], self._labels[index], spacing, marks, self._position(0, index))

    def coronal(self, index: int) -> Plane:
        """Seen from the front: the patient's right at the left edge, head at the top."""
        spacing = (self.spacing_mm[0], self.spacing_mm[2])
        hu, labels = self._hu[::-1, index], self._labels[::-1, index]
        return Plane(hu, labels, spacing, ("R", "L", "H"), self._position(1, index))

    def sagittal(self, index: int) -> Plane:
        """Seen from the left: the patient's front at the left edge, head at the top."""
        spacing = (self.spacing_mm[0], self.spacing_mm[1])
        hu, labels = self._hu[::-1, :, index], self._labels[::-1, :, index]
        return Plane(hu, labels, spacing, ("A", "P", "H"), self._position(2, index))

    def _position(self, axis: int, index: int) -> float:
        """LPS coordinate in mm along the patient axis of a plane, at the volume's centre."""
        voxel = [(n - 1) / 2 for n in self._shape]
        array_axis = self._order.axes[axis]
        flipped = axis in self._order.flips
        voxel[array_axis] = self._shape[array_axis] - 1 - index if flipped else index
        lps = self._affine @ (voxel[2], voxel[1], voxel[0], 1.0)
        return float(lps[2 - axis])


@dataclass(frozen=True)
class Crop:
    """A window on a plane: centre in rows and columns, and the pixels drawn for a mm."""

    row: float
    column: float
    pixels_per_mm: float


def crop_to(
    rows: tuple[int, int], columns: tuple[int, int], spacing_mm: tuple[float, float], size: tuple[int, int]
) -> Crop:
    """Crop that shows the half-open index ranges with a margin in ``size`` (width, height) pixels."""
    height = (rows[1] - rows[0]) * spacing_mm[0] + 2 * MARGIN_MM
    width = (columns[1] - columns[0]) * spacing_mm[1] + 2 * MARGIN_MM
    return Crop(sum(rows) / 2, sum(columns) / 2, min(size[0] / width, size[1] / height))


def draw_plane(plane: Plane, crop: Crop, size: tuple[int, int]) -> Image.Image:
    """The plane in the lung window with translucent, thinly outlined masks; ``size`` is (width, height)."""
    low = WINDOW_CENTER_HU - WINDOW_WIDTH_HU / 2
    gray = np.clip((plane.hu.astype(np.float32) - low) * (255.0 / WINDOW_WIDTH_HU), 0, 255).astype(np.uint8)
    base = _resampled(gray, plane, crop, size, Image.Resampling.BICUBIC)
    picture = Image.merge("RGB", (base, base, base))
    _, outline = _coverage(plane.labels > 0, plane, crop, size)
    _tint(picture, outline, LUNG_RGB, LUNG_OUTLINE_OPACITY)
    for label, rgb in LABEL_RGB.items():
        mask = plane.labels == label
        if mask.any():
            filling, outline = _coverage(mask, plane, crop, size)
            _tint(picture, filling, rgb, FILL_OPACITY[label])
            _tint(picture, outline, rgb, OUTLINE_OPACITY)
    return picture


def _resampled(
    pixels: NDArray[np.uint8],
    plane: Plane,
    crop: Crop,
    size: tuple[int, int],
    method: Image.Resampling,
    oversampling: int = 1,
) -> Image.Image:
    """``pixels`` around the crop's centre; black beyond their edges."""
    columns_a_pixel = 1.0 / (plane.spacing_mm[1] * crop.pixels_per_mm * oversampling)
    rows_a_pixel = 1.0 / (plane.spacing_mm[0] * crop.pixels_per_mm * oversampling)
    width, height = size[0] * oversampling, size[1] * oversampling
    left = crop.column - width / 2 * columns_a_pixel
    top = crop.row - height / 2 * rows_a_pixel
    return Image.fromarray(np.ascontiguousarray(pixels)).transform(
        (width, height),
        Image.Transform.AFFINE,
        (columns_a_pixel, 0.0, left, 0.0, rows_a_pixel, top),
        method,
        fillcolor=0,
    )


def _coverage(
    mask: NDArray[np.bool_], plane: Plane, crop: Crop, size: tuple[int, int]
) -> tuple[Image.Image, Image.Image]:
    """How much of each drawn pixel the mask and its outline cover: drawn larger, then averaged."""
    values = mask.astype(np.uint8) * 255
    smooth = _resampled(values, plane, crop, size, Image.Resampling.BILINEAR, OVERSAMPLING)
    inside = np.asarray(smooth) > 127
    core = inside.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            core &= np.roll(inside, step, axis)
    images = (Image.fromarray(part.astype(np.uint8) * 255) for part in (inside, inside & ~core))
    filling, outline = (image.reduce(OVERSAMPLING) for image in images)
    return filling, outline.point([min(255, 2 * value) for value in range(256)])


def _tint(picture: Image.Image, mask: Image.Image, rgb: tuple[int, int, int], opacity: float) -> None:
    picture.paste(rgb, (0, 0), mask.point([round(value * opacity) for value in range(256)]))


def _areas(
    labels: NDArray[np.uint8],
    box: tuple[tuple[int, int], ...],
    select: Callable[[NDArray[np.uint8]], NDArray[np.bool_]],
) -> list[NDArray[np.int64]]:
    """Selected voxels on each plane along the three axes; slice by slice, for the cache's sake."""
    areas = [np.zeros(n, dtype=np.int64) for n in labels.shape]
    z, y, x = (slice(*edges) for edges in box)
    for index in range(z.start, z.stop):
        selected = select(labels[index, y, x])
        if selected.any():
            rows = np.count_nonzero(selected, axis=1)
            areas[0][index] = rows.sum()
            areas[1][y] += rows
            areas[2][x] += np.add.reduce(selected.view(np.uint8), axis=0, dtype=np.uint16)
    return areas


def patient_box(order: AxisOrder, segmentation: Segmentation) -> tuple[tuple[int, int], ...]:
    """First index with lung along each axis of the patient, and one past the last; all without lung."""
    edges = []
    for axis, array_axis in enumerate(order.axes):
        size, part = segmentation.labels.shape[array_axis], segmentation.box[array_axis]
        first, last = (part.start, part.stop) if part.stop else (0, size)
        edges.append(
            (int(size - last), int(size - first)) if axis in order.flips else (int(first), int(last))
        )
    return tuple(edges)

"""The lungs on a coarse grid in the patient's axes, small enough to be drawn in space within a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dicomnode.assemble.orientation import AxisOrder
from dicomnode.assemble.volume import Volume
from dicomnode.report.planes import patient_box
from dicomnode.segment.segmentation import Label, Segmentation

Bytes = NDArray[np.uint8]
V = TypeVar("V", np.uint8, np.float32)

STEP_MM = 1.3
"""About the edge of a cell; the grid has whole pixels and slices, so cells are a little off it."""

DENSITY_LOW_HU, DENSITY_HIGH_HU = -850, 150
"""Attenuation of the first and last density; what lies beyond has these."""

VESSEL_HU = -500
_MARGIN = 2


@dataclass(frozen=True, eq=False)
class LungGrid:
    """Cells of equal size with axes superior, posterior, left (feet first, front first, right first).

    Parameters
    ----------
    lung, lesion:
        How much of each cell is lung with its lesions, 0 to 254, and how much GGO or consolidation, 0 to 255.
    vessel:
        How much of each cell is soft tissue of the lung that is no lesion, 0 to 254: vessels, mostly.
    density:
        Mean attenuation of a cell's lesion from :data:`DENSITY_LOW_HU` (0) to :data:`DENSITY_HIGH_HU` (255).
    parts:
        Lobe at the cell's corner (1 to 5), or side (1, 2) where the lobes aren't told apart; 0 outside.
    sides:
        Side at the cell's corner.
    spacing_mm:
        Edges of a cell.
    """

    lung: Bytes
    lesion: Bytes
    vessel: Bytes
    density: Bytes
    parts: Bytes
    sides: Bytes
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, volume: Volume, segmentation: Segmentation) -> LungGrid | None:
        """The box around the lungs with a margin; ``None`` without lung."""
        order = AxisOrder.from_affine(volume.affine)
        hu = order.to_patient(volume.hu)
        labels, sides = order.to_patient(segmentation.labels), order.to_patient(segmentation.sides)
        parts = order.to_patient(segmentation.lobes) if segmentation.has_lobes else sides
        spacing = order.patient_spacing(volume.spacing_mm)
        steps = [max(1, round(STEP_MM / mm)) for mm in spacing]
        if not segmentation.lung[segmentation.box].any():
            return None
        z, y, x = box = [slice(*edges) for edges in patient_box(order, segmentation)]
        lengths = (part.stop - part.start for part in box)
        shape = [-(-length // step) + 2 * _MARGIN for length, step in zip(lengths, steps, strict=True)]
        lung, lesion, vessel, density = (np.zeros(shape, np.uint8) for _ in range(4))
        corner_parts, corner_sides = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        inner = slice(_MARGIN, -_MARGIN)
        for number, start in enumerate(range(z.start, z.stop, steps[0]), start=_MARGIN):
            layer = slice(start, min(start + steps[0], z.stop)), y, x
            cells = _cells(hu[layer], labels[layer], steps)
            for target, cell in zip((lung, lesion, vessel, density), cells, strict=True):
                target[number, inner, inner] = cell
            corner = start, slice(y.start, y.stop, steps[1]), slice(x.start, x.stop, steps[2])
            corner_parts[number, inner, inner] = parts[corner]
            corner_sides[number, inner, inner] = sides[corner]
        cell_mm = (spacing[0] * steps[0], spacing[1] * steps[1], spacing[2] * steps[2])
        return cls(lung, lesion, vessel, _smooth(density, lesion), corner_parts, corner_sides, cell_mm)


def _cells(hu: NDArray[np.int16], labels: Bytes, steps: list[int]) -> tuple[Bytes, ...]:
    """Coverage by lung, by lesion, by vessels, and the lesion's density of one layer of cells."""
    scale = np.float32(255.0 / (DENSITY_HIGH_HU - DENSITY_LOW_HU))
    lung, vessel, lesion, weighted = [], [], [], []
    for plane, mask in zip(hu, labels, strict=True):
        lung.append(_coverage((mask > 0) & (mask != Label.EFFUSION), steps))
        vessel.append(_coverage((mask == Label.NORMAL_LUNG) & (plane > VESSEL_HU), steps))
        is_lesion = (mask == Label.GROUND_GLASS) | (mask == Label.CONSOLIDATION)
        if is_lesion.any():
            lesion.append(_mean(is_lesion.astype(np.float32), steps))
            values = np.clip(plane, DENSITY_LOW_HU, DENSITY_HIGH_HU) - np.float32(DENSITY_LOW_HU)
            weighted.append(_mean(values * is_lesion, steps))
    layers = len(labels)
    whole, blood = (np.add.reduce(parts, dtype=np.uint16) // layers for parts in (lung, vessel))
    nothing = np.zeros(whole.shape, np.float32)
    ill, dense = (sum(parts, start=nothing) for parts in (lesion, weighted))
    density = np.divide(dense, ill, out=np.zeros_like(nothing), where=ill > 0)
    cells = whole, ill * np.float32(255 / layers), blood, np.rint(density * scale)
    return tuple(cell.astype(np.uint8) for cell in cells)


def _coverage(mask: NDArray[np.bool_], steps: list[int]) -> Bytes:
    """How much of each block is in the mask, 0 to 254, so that a half is a whole number."""
    return _mean(mask.view(np.uint8) * np.uint8(254), steps)


def _mean(plane: NDArray[V], steps: list[int]) -> NDArray[V]:
    """Mean of blocks of rows and columns; the last ones may be smaller."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).reduce((steps[2], steps[1])))


def _smooth(density: Bytes, lesion: Bytes) -> Bytes:
    """Mean over neighbours within lesions: noise of single cells isn't density."""
    found = ndimage.find_objects((lesion > 0).astype(np.uint8))
    if not found:
        return density
    box = found[0]
    weight = ndimage.uniform_filter(lesion[box].astype(np.float32), 3)
    weighted = ndimage.uniform_filter(density[box] * lesion[box].astype(np.float32), 3)
    smooth = density.copy()
    smooth[box] = np.rint(np.divide(weighted, weight, out=np.zeros_like(weight), where=weight > 0.5))
    return smooth

"""The lungs on a coarse grid in the patient's axes, small enough to be drawn in space within a second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dicomnode.assemble.orientation import AxisOrder
from dicomnode.assemble.volume import Volume
from dicomnode.segment.segmentation import Label, Segmentation

Bytes = NDArray[np.uint8]

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
        How much of each cell is lung with its lesions, and how much GGO or consolidation, 0 to 255.
    vessel:
        How much of each cell is soft tissue of the lung that is no lesion: vessels, mostly.
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
        box = _box(labels)
        if box is None:
            return None
        z, y, x = box
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


def _box(labels: Bytes) -> tuple[slice, slice, slice] | None:
    """The lungs' box; None where there is none."""
    seen = np.zeros(labels.shape[1:], np.bool_)
    layers = []
    for number, plane in enumerate(labels):
        inside = plane > 0
        if inside.any():
            layers.append(number)
            seen |= inside
    if not layers:
        return None
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return (
        slice(layers[0], layers[-1] + 1),
        slice(int(rows[0]), int(rows[-1]) + 1),
        slice(int(columns[0]), int(columns[-1]) + 1),
    )


def _cells(hu: NDArray[np.int16], labels: Bytes, steps: list[int]) -> tuple[Bytes, ...]:
    """Coverage by lung, by lesion, by vessels, and the lesion's density of one layer of cells."""
    lung = np.zeros(labels.shape[1:], np.float32)
    lesion, vessel, weighted = lung.copy(), lung.copy(), lung.copy()
    scale = 255.0 / (DENSITY_HIGH_HU - DENSITY_LOW_HU)
    for plane, mask in zip(hu, labels, strict=True):
        is_lesion = (mask == Label.GROUND_GLASS) | (mask == Label.CONSOLIDATION)
        lung += (mask > 0) & (mask != Label.EFFUSION)
        vessel += (mask == Label.NORMAL_LUNG) & (plane > VESSEL_HU)
        if is_lesion.any():
            lesion += is_lesion
            weighted += np.where(is_lesion, np.clip((plane - np.float32(DENSITY_LOW_HU)) * scale, 0, 255), 0)
    layers = np.float32(len(labels))
    whole, ill, blood, dense = (_mean(part / layers, steps) for part in (lung, lesion, vessel, weighted))
    density = np.divide(dense, ill, out=np.zeros_like(dense), where=ill > 0)
    coverages = ((part * 255).astype(np.uint8) for part in (whole, ill, blood))
    return (*coverages, np.rint(density).astype(np.uint8))


def _mean(plane: NDArray[np.float32], steps: list[int]) -> NDArray[np.float32]:
    """Mean of blocks of rows and columns; the last ones may be smaller."""
    image = Image.fromarray(np.ascontiguousarray(plane)).reduce((steps[2], steps[1]))
    return np.asarray(image)


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

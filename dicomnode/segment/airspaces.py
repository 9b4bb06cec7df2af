"""Which of the air-filled spaces inside the body are lungs: seeds of each lung and of bowel gas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.segment.body import Densities, mean_density_of_air
from dicomnode.segment.morphology import Mask, Spacing, bounding_box, dilate, distance_mm, grow
from dicomnode.segment.segmentation import Side

# Thinner bridges than twice this join neither lung to lung nor lung to airway or stomach.
SEED_DEPTHS_MM = (4.0, 5.0, 6.5, 8.0, 10.0, 12.5)
# A space is gas when this share of it has the density of free gas: bullae make up less of a lung.
GAS_SHARE_OF_SPACE = 0.5
# Smaller spaces, against the largest, are no lung of their own but may be a part of one.
SECOND_LUNG_SHARE = 0.08
# A space belongs to both sides when this share of it lies well beyond the midline.
BOTH_SIDES_SHARE = 0.15
MIDLINE_MARGIN_MM = 15.0
# An aerated island of a consolidated lung lies this near below other lung, and has no free gas around it.
ISLAND_REACH_MM = 60.0
ISLAND_GAS_SHARE = 0.05
ISLAND_HU = -550.0
# Beside gas, the blur of the edge looks like lung for this far.
BLUR_MM = 5.0
BULLA_SHELL_MM = 5.0
BULLA_LUNG_SHARE = 0.6
SMALLEST_GAS_ML = 0.5


@dataclass(frozen=True, eq=False)
class Airspaces:
    """Air inside the body and what it is.

    ``sides`` holds seeds of the lungs (values of :class:`Side`), ``gas`` seeds of free gas outside the lungs
    (bowel, stomach, oesophagus, trachea), ``midline`` the body's middle as a column index. ``forced`` tells
    that no depth parted the lungs and the midline had to.
    """

    air: Mask
    density: NDArray[np.float32]
    sides: NDArray[np.uint8]
    gas: Mask
    midline: float
    forced: bool


def find_airspaces(
    hu: NDArray[np.float32], body: Mask, densities: Densities, spacing_mm: Spacing
) -> Airspaces:
    """Seeds of the two lungs and of gas elsewhere.

    Parameters
    ----------
    hu, body:
        Coarse grid (superior, posterior, left), HU and the mask of the patient.
    densities:
        Typical densities of this volume.
    spacing_mm:
        Spacing of the coarse grid.
    """
    air = body & (hu < densities.border_hu)
    density = mean_density_of_air(hu, air)
    midline = _midline(hu, body, air)
    box = bounding_box(air, max(spacing_mm), spacing_mm)
    depth = np.zeros(air.shape, np.float32)
    depth[box] = distance_mm(~air[box], spacing_mm)
    free_gas = air & (density < densities.gas_border_hu)
    sides, forced = _lung_seeds(depth, free_gas, density, midline, spacing_mm)
    gas = _gas_outside_lungs(free_gas, sides > 0, air, spacing_mm)
    _part_from_gas(sides, gas, spacing_mm)
    return Airspaces(air, density, sides, gas, midline, forced)


def _part_from_gas(sides: NDArray[np.uint8], gas: Mask, spacing_mm: Spacing) -> None:
    """Take from the lungs' seeds free gas, the blur of its edge, and what of its space hangs on that blur.

    Where stomach and lung touch through a thin diaphragm, the seeds of the lung reach into the stomach.
    """
    if not gas.any():
        return
    rim = dilate(gas, max(BLUR_MM, *spacing_mm), spacing_mm)
    sides[rim] = Side.NONE
    beside = grow(rim) & (sides > 0)
    for side in (Side.RIGHT, Side.LEFT):
        labels, count = ndimage.label(sides == side)
        if count < 2:
            continue
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        hanging = np.zeros(count + 1, bool)
        hanging[np.unique(labels[beside])] = True
        hanging &= sizes < SECOND_LUNG_SHARE * sizes.max()
        hanging[0] = False
        sides[hanging[labels]] = Side.NONE


def _midline(hu: NDArray[np.float32], body: Mask, air: Mask) -> float:
    """Column of the body's middle, from the bones at the level of the air, else from the body.

    A whole column: what a few more slices of the abdomen change is far below it.
    """
    levels = air.sum(axis=(1, 2))
    wide = levels > 0.3 * levels.max() if levels.any() else np.ones(len(levels), bool)
    for mask in (body & (hu > 250), body):
        profile = mask[wide].sum(axis=(0, 1)).astype(float)
        if profile.sum() > 50:
            return float(round((profile * np.arange(len(profile))).sum() / profile.sum()))
    return float(hu.shape[2] - 1) / 2


def _lung_seeds(
    depth: NDArray[np.float32],
    free_gas: Mask,
    density: NDArray[np.float32],
    midline: float,
    spacing_mm: Spacing,
) -> tuple[NDArray[np.uint8], bool]:
    """Deep parts of lung-like spaces, each given its side, at the smallest depth that parts the sides."""
    labels, sizes, lungs = _spaces(depth > SEED_DEPTHS_MM[0], free_gas)
    for seed_depth in SEED_DEPTHS_MM:
        labels, sizes, lungs = _spaces(depth > seed_depth, free_gas)
        if not lungs or not any(_spans(labels, k, midline, spacing_mm) for k in lungs):
            break
    out = np.zeros(depth.shape, np.uint8)
    forced = False
    columns = np.arange(depth.shape[2])
    for k in lungs:
        member = labels == k
        if _spans(labels, k, midline, spacing_mm):
            forced = True
            out[member & (columns < midline)] = Side.RIGHT
            out[member & (columns >= midline)] = Side.LEFT
            continue
        centre = float((member.sum(axis=(0, 1)) * columns).sum() / member.sum())
        out[member] = Side.RIGHT if centre < midline else Side.LEFT
    if lungs:
        _add_islands(out, labels, sizes, lungs, free_gas, density, spacing_mm)
    return out, forced


def _spaces(deep: Mask, free_gas: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64], list[int]]:
    """Connected spaces, their sizes in voxels, and the labels of those large enough to be a lung."""
    labels, count = ndimage.label(deep)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    gas = np.bincount(labels[free_gas], minlength=count + 1)
    lung_like = (gas < GAS_SHARE_OF_SPACE * sizes) & (np.arange(count + 1) > 0)
    if not lung_like.any():
        return labels, sizes, []
    largest = sizes[lung_like].max()
    return labels, sizes, [int(k) for k in np.flatnonzero(lung_like & (sizes >= SECOND_LUNG_SHARE * largest))]


def _spans(labels: NDArray[np.int32], k: int, midline: float, spacing_mm: Spacing) -> bool:
    profile = (labels == k).sum(axis=(0, 1))
    columns = np.arange(len(profile))
    margin = MIDLINE_MARGIN_MM / spacing_mm[2]
    right, left = profile[columns < midline - margin].sum(), profile[columns > midline + margin].sum()
    return bool(min(right, left) > BOTH_SIDES_SHARE * profile.sum())


def _add_islands(
    out: NDArray[np.uint8],
    labels: NDArray[np.int32],
    sizes: NDArray[np.int64],
    lungs: list[int],
    free_gas: Mask,
    density: NDArray[np.float32],
    spacing_mm: Spacing,
) -> None:
    """Give small spaces that consolidation cut off from their lung the side of the lung above them."""
    reach = max(1, round(ISLAND_REACH_MM / spacing_mm[0]))
    minimum = max(4, round(0.3 * 1000 / float(np.prod(spacing_mm))))
    boxes = ndimage.find_objects(labels)
    main = out.copy()
    for k in np.flatnonzero(sizes >= minimum):
        if k == 0 or int(k) in lungs:
            continue
        z, y, x = boxes[k - 1]
        member = labels[z, y, x] == k
        around = tuple(slice(max(0, s.start - 2), s.stop + 2) for s in (z, y, x))
        if free_gas[around].sum() > ISLAND_GAS_SHARE * sizes[k]:
            continue
        if float(np.median(density[z, y, x][member])) > ISLAND_HU:
            continue
        above = main[z.start : z.stop + reach, y, x]
        columns = member.any(axis=0)
        right = (above == Side.RIGHT).any(axis=0) & columns
        left = (above == Side.LEFT).any(axis=0) & columns
        below = main[max(0, z.start - reach) : z.stop, y, x]
        enclosed = ((below > 0).any(axis=0) & columns).sum() >= 0.3 * columns.sum()
        if enclosed and max(right.sum(), left.sum()) >= 0.5 * columns.sum():
            out[z, y, x][member] = Side.RIGHT if right.sum() >= left.sum() else Side.LEFT


def _gas_outside_lungs(free_gas: Mask, seeds: Mask, air: Mask, spacing_mm: Spacing) -> Mask:
    """Free gas whose surroundings are tissue; bullae, which lung surrounds, are left to the lung."""
    labels, count = ndimage.label(free_gas)
    if count == 0:
        return np.zeros_like(free_gas)
    sizes = np.bincount(labels.ravel())
    out = np.zeros_like(free_gas)
    minimum = SMALLEST_GAS_ML * 1000 / float(np.prod(spacing_mm))
    margin = [int(np.ceil((BLUR_MM + BULLA_SHELL_MM) / s)) + 1 for s in spacing_mm]
    for k, box in enumerate(ndimage.find_objects(labels), start=1):
        if sizes[k] < minimum:
            continue
        around = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True))
        member = labels[around] == k
        rim = dilate(member, BLUR_MM, spacing_mm)
        shell = dilate(member, BLUR_MM + BULLA_SHELL_MM, spacing_mm) & ~rim
        lung = shell & air[around] & ~free_gas[around]
        if lung.sum() < BULLA_LUNG_SHARE * shell.sum():
            out[around] |= member
    return out

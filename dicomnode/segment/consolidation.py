"""Consolidated lung put back: dents that opacity cuts into the outer and inner surface of aerated lung.

Seen from the mediastinum, the ribs' inner side is a smooth surface r(z, angle). Where aerated lung ends short
of it, while around the place it reaches the ribs, airless lung lies between: the dent is filled as near to
the ribs as the lung comes on the dent's rim. Fluid in the pleural space looks the same and is filled too. The
liver is told apart by depth: where no lung lies below, deep dents are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.segment.morphology import Box, Mask, Spacing, bounding_box, grow, open_
from dicomnode.segment.segmentation import Side

ANGLES = 240
# The largest dent that is told from the chest's own shape.
TALLEST_DENT_MM = 150.0
WIDEST_DENT_DEGREES = 80.0
# Where no lung lies below, a deeper dent is the liver's.
DEEPEST_BASAL_DENT_MM = 50.0
# Ribs and subpleural fat dent the lung by less.
SHALLOWEST_DENT_MM = 4.0
CLEAR_DENT_MM = 9.0
# Airless lung inside the lung has aerated lung above and below it no farther than this.
SANDWICH_MM = 60.0
# Thinner shells between lung and wall are the wall's own.
THINNEST_FILLING_MM = 3.0
# Nearer to the middle the great vessels of the hilum lie between lung and lung.
HILUM_MM = 40.0
# Ribs on the coarse grid are blurred down to this; contrast in the heart lies before the lung, not behind it.
BONE_HU = 180.0
HALF_RIB_SPACING_MM = 14.0
# Stands for a ray without lung; larger than any gap between lung and rib.
NO_LUNG_MM = 300.0
# Lung that lies this closely above tells that the gutter beside the spine belongs to the lung.
GUTTER_REACH_MM = 60.0
# A dent of the lung's own surface vouches for the gap between lung and ribs this far around it.
NEAR_DENT_MM = 15.0
NEAR_DENT_CELLS = 21
# The rays that pass through the vertebrae meet no lung before them.
BEHIND_SPINE = slice(3 * ANGLES // 4 - 15, 3 * ANGLES // 4 + 16)
# Longer gaps are not bridged linearly: their two ends see different walls.
LONGEST_BRIDGE_MM = 200.0

Map = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Rays:
    """Polar view of a box: for each pixel of its plane the angle's index and the distance to the centre."""

    angle: NDArray[np.intp]
    radius: Map
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    step_mm: float


def airless_lung(
    sides: NDArray[np.uint8], hu: NDArray[np.float32], midline: float, spacing_mm: Spacing
) -> Mask:
    """Voxels outside the aerated lungs that belong to them though they hold no air.

    Parameters
    ----------
    sides:
        Aerated lungs (values of Side) on the coarse grid (superior, posterior, left).
    hu:
        The same grid in HU; bone stops the filling.
    midline:
        Column of the body's middle.
    spacing_mm:
        Spacing of the grid.
    """
    lung = sides > 0
    out = np.zeros_like(lung)
    if not lung.any():
        return out
    box = bounding_box(lung, 0.0, spacing_mm)
    bone = hu[box] > BONE_HU
    rays = _rays(lung[box], box, midline, spacing_mm)
    found = np.zeros_like(bone)
    for side in (Side.RIGHT, Side.LEFT):
        aerated = sides[box] == side
        if aerated.any():
            found |= _dents(aerated, bone, side, rays, spacing_mm) | _sandwiched(aerated, rays, spacing_mm)
    found &= ~bone
    out[box] = found
    return out & ~lung


def _rays(part: Mask, box: Box, midline: float, spacing_mm: Spacing) -> _Rays:
    _, sy, sx = spacing_mm
    _, ny, nx = part.shape
    profile = part.sum(axis=(0, 2)).astype(float)
    centre_y = float((profile * np.arange(ny)).sum() / profile.sum())
    centre_x = midline - box[2].start
    dy = (np.arange(ny)[:, None] - centre_y) * sy
    dx = (np.arange(nx)[None, :] - centre_x) * sx
    angle = np.floor((np.arctan2(dy, dx) / (2 * np.pi) + 0.5) * ANGLES).astype(np.intp) % ANGLES
    radius = np.hypot(dy, dx).astype(np.float32)
    step = min(sy, sx) * 0.75
    directions = ((np.arange(ANGLES) + 0.5) / ANGLES - 0.5) * 2 * np.pi
    lengths = np.arange(0, float(radius.max()) + step, step)
    rows = np.rint(centre_y + np.sin(directions)[:, None] * lengths / sy).astype(np.intp)
    columns = np.rint(centre_x + np.cos(directions)[:, None] * lengths / sx).astype(np.intp)
    return _Rays(angle, radius, rows, columns, step)


def _sample(mask: Mask, rays: _Rays) -> Mask:
    """The mask along each ray: (slices, angles, steps); outside the box nothing is set."""
    _, ny, nx = mask.shape
    inside = (rays.rows >= 0) & (rays.rows < ny) & (rays.columns >= 0) & (rays.columns < nx)
    sampled = mask[:, np.clip(rays.rows, 0, ny - 1), np.clip(rays.columns, 0, nx - 1)]
    return np.asarray(sampled & inside)


def _outer_and_inner(part: Mask, rays: _Rays) -> tuple[Map, Map]:
    """Distance in mm of the last and the first lung on each ray; NaN where there is none."""
    along = _sample(part, rays)
    steps = along.shape[2]
    hit = along.any(axis=2)
    last = steps - 1 - np.argmax(along[:, :, ::-1], axis=2)
    first = np.argmax(along, axis=2)
    nothing = np.float32(np.nan)
    outer = np.where(hit, (last + 0.5) * rays.step_mm, nothing).astype(np.float32)
    inner = np.where(hit, (first - 0.5) * rays.step_mm, nothing).astype(np.float32)
    return outer, inner


def _dents(lung: Mask, bone: Mask, side: Side, rays: _Rays, spacing_mm: Spacing) -> Mask:
    """Fill from the last aerated lung on a ray to the wall, where the wall is known around the dent."""
    outer, inner = _outer_and_inner(lung, rays)
    start = np.where(np.isnan(outer), _interpolate(inner, spacing_mm), outer)
    ribs = _inner_rib_surface(bone, start, rays, spacing_mm)
    gap = np.where(np.isnan(outer), np.float32(-NO_LUNG_MM), outer - ribs)
    depth = np.asarray(NO_LUNG_MM + gap, dtype=np.float32)
    closed_below, flanked = _missing(depth, side, SHALLOWEST_DENT_MM, spacing_mm)
    # Where ribs escape the threshold, a gap to the next bone counts only if the lung's own surface is dented.
    seen = closed_below | flanked
    for surface in (depth, np.nan_to_num(outer, nan=0.0).astype(np.float32)):
        by_height, by_flanks = _missing(surface, side, CLEAR_DENT_MM, spacing_mm)
        seen &= by_height | by_flanks
    near = ndimage.maximum_filter(
        seen, (2 * round(NEAR_DENT_MM / spacing_mm[0]) + 1, NEAR_DENT_CELLS), mode=("nearest", "wrap")
    )
    near[:, BEHIND_SPINE] = False
    near[:, _other_half(side)] = False
    closed_below, flanked = closed_below & near, flanked & near
    dent = closed_below | flanked
    if not dent.any():
        return np.zeros_like(lung)
    wall = ribs + _interpolate(np.where(dent | np.isnan(outer), np.float32(np.nan), gap), spacing_mm)
    usable = dent & np.isfinite(wall) & np.isfinite(start)
    thick = np.where(usable, wall - start, 0)
    usable &= closed_below | ~_runs_with(flanked, thick > DEEPEST_BASAL_DENT_MM)
    wall = np.where(usable, wall, -1.0)
    start = np.where(usable, start, np.inf)
    fill = (rays.radius > start[:, rays.angle]) & (rays.radius <= wall[:, rays.angle]) & ~lung & ~bone
    opened = open_(fill, THINNEST_FILLING_MM, spacing_mm)
    return grow(opened) & fill


def _other_half(side: Side) -> Mask:
    """Angles that point to the other side of the body."""
    quarter = (np.arange(ANGLES) * 4) // ANGLES
    left = (quarter == 1) | (quarter == 2)
    return np.asarray(left if side is Side.RIGHT else ~left)


def _missing(depth: Map, side: Side, least_mm: float, spacing_mm: Spacing) -> tuple[Mask, Mask]:
    """Cells short of the surface by ``least_mm``: known from above and below, and known from both flanks."""
    behind = np.arange(ANGLES) >= ANGLES // 2
    closed_below = (_closing_by_height(depth, spacing_mm) - depth > least_mm) & behind
    flanked = (_closing_by_angle(depth) - depth > least_mm) | _beside_spine(depth, side, least_mm)
    flanked &= _highest_above(depth, GUTTER_REACH_MM, spacing_mm) - depth > least_mm
    return closed_below, flanked


def _runs_with(mask: Mask, marked: Mask) -> Mask:
    """The runs of ``mask`` along the angle that hold a marked cell."""
    labels, count = ndimage.label(mask, structure=[[0, 0, 0], [1, 1, 1], [0, 0, 0]])
    hit = np.zeros(count + 1, bool)
    hit[labels[marked]] = True
    hit[0] = False
    return np.asarray(hit[labels])


def _inner_rib_surface(bone: Mask, start: Map, rays: _Rays, spacing_mm: Spacing) -> Map:
    """Distance of the first bone behind ``start``, also within half a rib's spacing above and below."""
    along = _sample(bone, rays)
    distances = (np.arange(along.shape[2]) + 0.5) * rays.step_mm
    along &= distances > np.nan_to_num(start, nan=np.inf)[:, :, None]
    first = np.where(along.any(axis=2), distances[np.argmax(along, axis=2)], np.inf).astype(np.float32)
    spread = 2 * max(1, round(HALF_RIB_SPACING_MM / spacing_mm[0])) + 1
    nearest = ndimage.minimum_filter1d(first, spread, axis=0, mode="nearest")
    return _interpolate(np.where(np.isfinite(nearest), nearest, np.float32(np.nan)), spacing_mm)


def _closing_by_height(depth: Map, spacing_mm: Spacing) -> Map:
    tall = 2 * (int(TALLEST_DENT_MM / spacing_mm[0]) // 2) + 1
    padded = np.pad(depth, ((tall, tall), (0, 0)))
    return np.asarray(ndimage.grey_closing(padded, size=(tall, 1))[tall:-tall])


def _closing_by_angle(depth: Map) -> Map:
    wide = 2 * (int(WIDEST_DENT_DEGREES / 360 * ANGLES) // 2) + 1
    return np.asarray(ndimage.grey_closing(depth, size=(1, wide), mode="wrap"))


def _highest_above(depth: Map, reach_mm: float, spacing_mm: Spacing) -> Map:
    """The farthest wall at the same angle from here to ``reach_mm`` above."""
    tall = 2 * (int(reach_mm / spacing_mm[0]) // 2) + 1
    padded = np.pad(depth, ((0, tall), (0, 0)))
    highest = ndimage.maximum_filter1d(padded, tall, axis=0, origin=-(tall // 2), mode="nearest")
    return np.asarray(highest[: len(depth)])


def _beside_spine(depth: Map, side: Side, least_mm: float) -> Mask:
    """Dents of the paravertebral gutter: aerated lung laterally, the spine medially."""
    half = slice(ANGLES // 2, 3 * ANGLES // 4) if side is Side.RIGHT else slice(3 * ANGLES // 4, ANGLES)
    walled = depth.copy()
    walled[:, half] = depth.max(initial=0)
    closed = _closing_by_angle(walled) - depth
    closed[:, half] = 0
    closed[:, : ANGLES // 2] = 0
    return np.asarray(closed > least_mm)


def _interpolate(surface: Map, spacing_mm: Spacing) -> Map:
    """Fill NaN gaps from both neighbours along height and along angle; nearer ones count more."""
    if not np.isfinite(surface).any():
        return surface
    arc = 2 * np.pi * float(np.nanmedian(surface)) / ANGLES
    vertical, vertical_mm = _interpolate_lines(surface.T, spacing_mm[0], wrap=False)
    around, around_mm = _interpolate_lines(surface, arc, wrap=True)
    a, b = 1 / vertical_mm.T**2, 1 / around_mm**2
    total = a + b
    mixed = vertical.T * a + around * b
    out = np.divide(mixed, total, out=np.full_like(mixed, np.nan), where=total > 0)
    return np.where(np.isfinite(surface), surface, out).astype(np.float32)


def _interpolate_lines(lines: Map, step_mm: float, wrap: bool) -> tuple[Map, Map]:
    """Each line's gaps filled, and over how many mm: linearly between neighbours, else by the nearest one.

    A line without any value gets 0 over an infinite distance.
    """
    out = np.zeros(lines.shape, np.float32)
    reach = np.full(lines.shape, np.inf, np.float32)
    length = lines.shape[1]
    index = np.arange(length)
    for i, line in enumerate(lines):
        known = np.flatnonzero(np.isfinite(line))
        if known.size == 0:
            continue
        if wrap:
            known = np.concatenate([known - length, known, known + length])
        right = np.searchsorted(known, index)
        low, high = known[np.clip(right - 1, 0, None)], known[np.clip(right, None, known.size - 1)]
        before, after = np.abs(index - low), np.abs(high - index)
        gap = (before + after) * step_mm
        between = (right > 0) & (right < known.size) & (gap < LONGEST_BRIDGE_MM)
        nearest = np.where(before <= after, low, high)
        linear = np.interp(index, known, line[known % length])
        out[i] = np.where(between, linear, line[nearest % length])
        reach[i] = np.where(between, gap, 2 * step_mm * np.minimum(before, after))
    return out, np.maximum(reach, max(step_mm, 0.1))


def _sandwiched(lung: Mask, rays: _Rays, spacing_mm: Spacing) -> Mask:
    """Tissue between lung of one side on its ray, in its row and within reach in its column."""
    if not lung.any():
        return np.zeros_like(lung)
    reach = min(len(lung), max(1, round(SANDWICH_MM / spacing_mm[0])))
    count = np.cumsum(np.pad(lung, ((reach, reach), (0, 0), (0, 0))), axis=0, dtype=np.int32)
    here = count[reach:-reach]
    column = (count[2 * reach :] > here) & (here > count[: -2 * reach])
    row = np.maximum.accumulate(lung, axis=2) & np.maximum.accumulate(lung[:, :, ::-1], axis=2)[:, :, ::-1]
    outer, inner = _outer_and_inner(lung, rays)
    start = np.nan_to_num(inner, nan=np.inf)[:, rays.angle]
    end = np.nan_to_num(outer, nan=-1.0)[:, rays.angle]
    between = ~lung & column & row & (rays.radius > start) & (rays.radius < end)
    return np.asarray(between & (rays.radius > HILUM_MM))

"""Binary morphology with lengths in mm on anisotropic grids, by distance transforms and label flooding."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]
Spacing = tuple[float, float, float]

IN_PLANE = ndimage.generate_binary_structure(3, 1).copy()
IN_PLANE[0] = IN_PLANE[2] = False


def bounding_box(mask: Mask, margin_mm: float, spacing_mm: Spacing) -> Box:
    """Smallest box around the set voxels, grown by ``margin_mm``; the whole array if nothing is set."""
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1]), slice(0, mask.shape[2])
    bounds = []
    for axis, step in enumerate(spacing_mm):
        others = tuple(a for a in range(3) if a != axis)
        index = np.flatnonzero(mask.any(axis=others))
        margin = int(np.ceil(margin_mm / step))
        bounds.append(
            slice(max(0, int(index[0]) - margin), min(mask.shape[axis], int(index[-1]) + 1 + margin))
        )
    return bounds[0], bounds[1], bounds[2]


def distance_mm(mask: Mask, spacing_mm: Spacing) -> NDArray[np.float32]:
    """Distance in mm from each voxel to the nearest one of ``mask``; infinite if that is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    outside = np.asarray(sitk.GetArrayFromImage(distance))
    # Maurer's zero lies on the mask's own border voxels: nothing to correct outside.
    return np.where(mask, np.float32(0), np.maximum(outside, 0))


def grow(mask: Mask, cube: bool = False) -> Mask:
    """One voxel in every direction: the six faces, or all 26 neighbours for ``cube``."""
    out = mask.copy()
    for axis in range(3):
        _spread(out, out.copy() if cube else mask, axis)
    return out


def shrink(mask: Mask, cube: bool = False) -> Mask:
    """Inverse of :func:`grow`; the array's edge does not erode."""
    return ~grow(~mask, cube)


def dilate(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Every voxel within about ``radius_mm``: steps by faces and by edges in turn, an octagon for a ball."""
    box = bounding_box(mask, radius_mm + max(spacing_mm), spacing_mm)
    part = mask[box].copy()
    if part.any():
        finest = min(spacing_mm)
        for step in range(1, round(radius_mm / finest) + 1):
            before = part.copy()
            for axis, length in enumerate(spacing_mm):
                if int(step * finest / length + 0.5) > int((step - 1) * finest / length + 0.5):
                    _spread(part, part.copy() if step % 2 == 0 else before, axis)
    out = np.zeros_like(mask)
    out[box] = part
    return out


def erode(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Dual of :func:`dilate`; the array's edge does not erode."""
    box = bounding_box(mask, max(spacing_mm), spacing_mm)
    out = np.zeros_like(mask)
    out[box] = ~dilate(~mask[box], radius_mm, spacing_mm)
    return out


def close(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Closing with a ball; the array's edge does not eat into the result."""
    if not mask.any():
        return mask.copy()
    box = bounding_box(mask, 2 * radius_mm, spacing_mm)
    out = np.zeros_like(mask)
    grown = within(mask[box], radius_mm, spacing_mm)
    out[box] = ~within(~grown, radius_mm, spacing_mm) | mask[box]
    return out


def within(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Every voxel at most ``radius_mm`` from one of ``mask``: the union of the ball's rows, row by row.

    The same as a threshold on :func:`distance_mm`, several times faster for balls of a few voxels.
    """
    sz, sy, sx = spacing_mm
    rows: dict[int, list[tuple[int, int]]] = {}
    for z in range(int(radius_mm / sz) + 1):
        for y in range(int(radius_mm / sy) + 1):
            left = radius_mm**2 * (1 + 1e-6) - (z * sz) ** 2 - (y * sy) ** 2
            if left >= 0:
                rows.setdefault(int(left**0.5 / sx), []).append((z, y))
    out = np.zeros_like(mask)
    wide = mask.copy()
    for half in range(max(rows) + 1):
        if half:
            _spread(wide, wide.copy(), 2)
        for z, y in rows.get(half, ()):
            for dz in {z, -z}:
                for dy in {y, -y}:
                    _or_shifted(out, wide, dz, dy)
    return out


def _or_shifted(target: Mask, source: Mask, dz: int, dy: int) -> None:
    """Set in ``target`` what is set in ``source``, moved by slices and rows."""
    to = tuple(slice(max(0, d), n + min(0, d)) for d, n in zip((dz, dy), source.shape, strict=False))
    of = tuple(slice(max(0, -d), n + min(0, -d)) for d, n in zip((dz, dy), source.shape, strict=False))
    target[to] |= source[of]


def open_(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Opening with a ball."""
    return dilate(erode(mask, radius_mm, spacing_mm), radius_mm, spacing_mm) & mask


def _spread(target: Mask, source: Mask, axis: int) -> None:
    """Set in ``target`` both neighbours along ``axis`` of what is set in ``source``."""
    ahead = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
    behind = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
    target[ahead] |= source[behind]
    target[behind] |= source[ahead]


def largest_component(mask: Mask) -> Mask:
    """The biggest 6-connected component; the first in scan order among equals."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask.copy()
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()))


def flood(labels: NDArray[np.uint8], through: Iterable[Mask]) -> NDArray[np.uint8]:
    """Grow all labels at once, voxel by voxel, through each mask in turn; who comes first keeps the voxel.

    Passing masks of rising density makes borders fall on the densest sheet between two labels, as a watershed
    does. Neighbours are the six faces; of two labels that arrive together the lower face's wins.
    """
    padded = np.pad(labels, 1)
    flat = padded.ravel()
    _, ny, nx = padded.shape
    offsets = (-ny * nx, ny * nx, -nx, nx, -1, 1)
    for mask in through:
        free = np.pad(mask, 1).ravel()
        free &= flat == 0
        front = np.flatnonzero(flat)
        while front.size:
            won = []
            for offset in offsets:
                target = front + offset
                open_to = free[target]
                target = target[open_to]
                flat[target] = flat[front[open_to]]
                free[target] = False
                won.append(target)
            front = np.concatenate(won)
    return padded[1:-1, 1:-1, 1:-1].copy()


def fill_holes(mask: Mask) -> Mask:
    """Cavities that no face-connected path joins to the array's edge, filled."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    return np.asarray(sitk.GetArrayFromImage(sitk.BinaryFillhole(image)) > 0)

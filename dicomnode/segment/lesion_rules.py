"""What becomes of probabilities: smoothing, connected parts, GGO and consolidation told apart by HU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

SMOOTHING_MM = 1.5
"""Standard deviation of the Gaussian that takes noise and thin vessels out of the HU before the split."""

SMOOTHING_REACH = 3.0
"""Standard deviations after which the Gaussian is cut off."""

MINIMUM_CONSOLIDATION_ML = 0.1
"""Dense spots below this inside a lesion are cut vessels, not consolidation; a cube of 4.6 mm."""

SMOOTHED_ROWS = 16
"""Rows smoothed at once: what they need stays in the processor's cache."""

ROUNDING = 1e-3
"""A level that weights of float32 take for a hair less stays itself."""

AnyConnection = ndimage.generate_binary_structure(3, 3)


def smooth_across(levels: NDArray[np.uint8], sigma: float) -> None:
    """Smooth stored probabilities (slices, rows, columns) across slices in place; ``sigma`` in slices.

    Beyond the first and last slice with any of them, those are repeated. Written as the product with a
    matrix (slices, slices), which is several times faster than a filter along the slowest axis.
    """
    box = bounding_box(levels)
    if sigma <= 0 or box is None or len(levels) < 2:
        return
    part = levels[box]
    weights = torch.from_numpy(_gaussian_matrix(len(part), sigma))
    for row in range(0, part.shape[1], SMOOTHED_ROWS):
        rows = part[:, row : row + SMOOTHED_ROWS]
        flat = torch.from_numpy(rows.reshape(len(part), -1)).float()
        smooth = (weights @ flat).add_(ROUNDING).to(torch.uint8)
        rows[:] = smooth.numpy().reshape(rows.shape)


def _gaussian_matrix(count: int, sigma: float) -> NDArray[np.float32]:
    """Row i holds the weights of all slices in slice i."""
    reach = int(SMOOTHING_REACH * sigma + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    matrix = np.zeros((count, count))
    place = np.arange(count)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        np.add.at(matrix, (place, np.clip(place + step, 0, count - 1)), weight)
    return matrix.astype(np.float32)


def drop_specks(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float], minimum_ml: float
) -> NDArray[np.bool_]:
    """The mask (z, y, x) without connected parts (26 neighbours) smaller than ``minimum_ml``."""
    kept = np.zeros_like(mask)
    box = bounding_box(mask)
    if box is None:
        return kept
    parts, _ = ndimage.label(mask[box], structure=AnyConnection)
    filled = np.flatnonzero(parts)  # most voxels aren't
    part_of = parts.ravel()[filled]
    smallest = minimum_ml * 1000 / float(np.prod(spacing_mm))
    big = np.bincount(part_of) >= smallest
    inside = np.zeros(parts.shape, np.bool_)
    inside.ravel()[filled] = big[part_of]
    kept[box] = inside
    return kept


def touching(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts (26 neighbours) of a mask (z, y, x) that share a voxel with ``other``."""
    parts, count = ndimage.label(mask, structure=AnyConnection)
    chosen = np.zeros(count + 1, dtype=np.bool_)
    chosen[np.unique(parts[other])] = True
    chosen[0] = False
    kept: NDArray[np.bool_] = chosen[parts]
    return kept


def find_consolidation(
    hu: NDArray[np.int16],
    lung: NDArray[np.bool_],
    lesion: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    threshold_hu: float,
) -> NDArray[np.bool_]:
    """The part of a lesion mask whose HU, smoothed within the lung, reach ``threshold_hu``.

    Smoothing looks at lung voxels only, so that chest wall and heart don't make neighbouring lung dense.
    """
    consolidation = np.zeros_like(lesion)
    sigma = [SMOOTHING_MM / spacing for spacing in spacing_mm]
    box = bounding_box(lesion, smoothing_margins(spacing_mm))
    if box is None:
        return consolidation
    weight = lung[box].astype(np.float32)
    smooth = ndimage.gaussian_filter(hu[box] * weight, sigma, truncate=SMOOTHING_REACH)
    smooth /= np.maximum(ndimage.gaussian_filter(weight, sigma, truncate=SMOOTHING_REACH), 1e-3)
    dense = lesion[box] & (smooth >= threshold_hu)
    consolidation[box] = drop_specks(dense, spacing_mm, MINIMUM_CONSOLIDATION_ML)
    return consolidation


def smoothing_margins(spacing_mm: tuple[float, float, float]) -> list[int]:
    """Voxels along each axis that :func:`find_consolidation` looks at around a lesion."""
    return [math.ceil(SMOOTHING_REACH * SMOOTHING_MM / spacing) for spacing in spacing_mm]


def bounding_box(
    mask: NDArray[np.bool_] | NDArray[np.uint8], margins: Sequence[int] = (0, 0, 0)
) -> tuple[slice, slice, slice] | None:
    """Smallest box around what isn't 0 in a 3D array, widened by voxels along each axis, if there is any."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    if not slices.size:
        return None
    plane = np.asarray(mask[slices[0] : slices[-1] + 1].any(axis=0))
    filled = (slices, np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0)))
    z, y, x = (
        slice(max(int(places[0]) - margin, 0), min(int(places[-1]) + 1 + margin, size))
        for places, margin, size in zip(filled, margins, mask.shape, strict=True)
    )
    return z, y, x

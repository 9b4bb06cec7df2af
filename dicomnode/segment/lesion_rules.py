"""What becomes of probabilities: smoothing, connected parts, GGO and consolidation told apart by HU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SMOOTHING_MM = 1.5
"""Standard deviation of the Gaussian that takes noise and thin vessels out of the HU before the split."""

SMOOTHING_REACH = 3.0
"""Standard deviations after which the Gaussian is cut off."""

MINIMUM_CONSOLIDATION_ML = 0.1
"""Dense spots below this inside a lesion are cut vessels, not consolidation; a cube of 4.6 mm."""

AnyConnection = ndimage.generate_binary_structure(3, 3)


def smooth_across(levels: NDArray[np.uint8], sigma: float) -> None:
    """Smooth stored probabilities (slices, rows, columns) across slices in place; ``sigma`` in slices."""
    box = bounding_box(levels > 0)
    if sigma > 0 and box is not None and len(levels) > 1:
        ndimage.gaussian_filter1d(
            levels[box], sigma, axis=0, output=levels[box], mode="nearest", truncate=3.0
        )


def drop_specks(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float], minimum_ml: float
) -> NDArray[np.bool_]:
    """The mask (z, y, x) without connected parts (26 neighbours) smaller than ``minimum_ml``."""
    kept = np.zeros_like(mask)
    box = bounding_box(mask)
    if box is None:
        return kept
    parts, _ = ndimage.label(mask[box], structure=AnyConnection)
    smallest = minimum_ml * 1000 / float(np.prod(spacing_mm))
    big = np.bincount(parts.ravel()) >= smallest
    big[0] = False
    kept[box] = big[parts]
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
    box = bounding_box(lesion, [math.ceil(SMOOTHING_REACH * s) for s in sigma])
    if box is None:
        return consolidation
    weight = lung[box].astype(np.float32)
    smooth = ndimage.gaussian_filter(hu[box] * weight, sigma, truncate=SMOOTHING_REACH)
    smooth /= np.maximum(ndimage.gaussian_filter(weight, sigma, truncate=SMOOTHING_REACH), 1e-3)
    dense = lesion[box] & (smooth >= threshold_hu)
    consolidation[box] = drop_specks(dense, spacing_mm, MINIMUM_CONSOLIDATION_ML)
    return consolidation


def bounding_box(
    mask: NDArray[np.bool_], margins: Sequence[int] = (0, 0, 0)
) -> tuple[slice, slice, slice] | None:
    """Smallest box around a 3D mask, widened by voxels along each axis; none around an empty mask."""
    found = ndimage.find_objects(mask.astype(np.uint8), max_label=1)
    if found[0] is None:
        return None
    z, y, x = (
        slice(max(edge.start - margin, 0), min(edge.stop + margin, size))
        for edge, margin, size in zip(found[0], margins, mask.shape, strict=True)
    )
    return z, y, x

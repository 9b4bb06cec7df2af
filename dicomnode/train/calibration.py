"""8-bit CT pictures back to HU, from what every chest slice holds: air and soft tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter, uniform_filter

AIR_HU = -1000.0
SOFT_TISSUE_HU = 45.0
"""Muscle and unenhanced blood together; the most frequent tissue of a thorax."""

LOWEST_SOFT_TISSUE_GREY = 60
NEIGHBOURS = 9
"""Slices over which the soft tissue peak is taken as one: it drifts with the slice, it doesn't jump."""


def linear_grey_to_hu(
    greys: list[NDArray[np.uint8]], lungs: list[NDArray[np.bool_]]
) -> list[NDArray[np.int16]]:
    """HU of one case's slices (rows, columns) in order of z, whose grey levels are linear in HU.

    Air is the case's darkest smooth spot inside the lungs and airways, soft tissue the peak of each slice's
    histogram outside them, smoothed over neighbouring slices.
    """
    air = _air_grey(greys, lungs)
    peaks = median_filter(
        [_soft_tissue_grey(g, m) for g, m in zip(greys, lungs, strict=True)], size=NEIGHBOURS, mode="nearest"
    )
    return [
        np.round(AIR_HU + (grey - air) * (SOFT_TISSUE_HU - AIR_HU) / (peak - air)).astype(np.int16)
        for grey, peak in zip(greys, peaks, strict=True)
    ]


def _air_grey(greys: list[NDArray[np.uint8]], lungs: list[NDArray[np.bool_]]) -> float:
    darkest = [
        np.quantile(uniform_filter(grey.astype(np.float32), 5)[lung], 0.001)
        for grey, lung in zip(greys, lungs, strict=True)
        if lung.any()
    ]
    return float(np.quantile(darkest, 0.1))


def _soft_tissue_grey(grey: NDArray[np.uint8], lung: NDArray[np.bool_]) -> float:
    counts = np.bincount(grey[~lung], minlength=256).astype(np.float64)
    smooth = gaussian_filter1d(counts, 2.0)
    return float(LOWEST_SOFT_TISSUE_GREY + np.argmax(smooth[LOWEST_SOFT_TISSUE_GREY:]))

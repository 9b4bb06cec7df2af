"""Whether the patient moved or breathed during the scan: the lungs' outline jumps from slice to slice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 3
"""Slices on each side that say how fast the outline changes here anyway."""

LEAST_AREA_SHARE = 0.2
"""Of the largest slice: apices and recesses below this change fast by themselves."""

THICKEST_MM = 3.0
"""Thicker slices are too far apart: anatomy itself jumps."""

Spacing = tuple[float, float, float]


def outline_jumps_mm(sides: NDArray[np.uint8], spacing_mm: Spacing) -> NDArray[np.float64] | None:
    """How far the lungs' outline moves between neighbouring slices beyond its usual way here, in mm.

    The way is the area in which two slices differ over the length of their outline; the usual way is the
    median of that of the neighbours. ``None`` where slices are too far apart or too few to tell.

    Parameters
    ----------
    sides:
        Lungs (anything but 0), axes (superior, posterior, left).
    spacing_mm:
        Of these axes.
    """
    lung = sides > 0
    area = np.count_nonzero(lung, axis=(1, 2))
    used = np.flatnonzero(area > LEAST_AREA_SHARE * area.max(initial=0))
    if spacing_mm[0] > THICKEST_MM or used.size < 4 * NEIGHBOURS:
        return None
    lung = lung[used[0] : used[-1] + 1]
    pixel_mm = float(np.sqrt(spacing_mm[1] * spacing_mm[2]))
    outline = np.array([_outline(plane) for plane in lung], dtype=np.float64)
    unlike = np.array([np.count_nonzero(a != b) for a, b in pairwise(lung)])
    way = unlike / np.maximum((outline[:-1] + outline[1:]) / 2, 1) * pixel_mm
    padded = np.pad(way, NEIGHBOURS, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1)
    jumps: NDArray[np.float64] = way - np.median(windows, axis=1)
    return jumps


def _outline(plane: NDArray[np.bool_]) -> int:
    """Pixels of the mask's edge: steps from inside to outside along both axes."""
    return int(np.count_nonzero(plane[1:] != plane[:-1]) + np.count_nonzero(plane[:, 1:] != plane[:, :-1]))

"""Whether lungs have a person's size and shape: a wrong spacing in the header falsifies every volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST_LUNGS_ML = 12000.0
"""The largest total lung capacities measured are near 11 L; tissue in the lungs adds to air."""

HEIGHT_OVER_WIDTH = (0.35, 2.6)
"""Of the box around the lungs: about 0.6 to 1.3 of two, twice that of one; expiration flattens."""

Spacing = tuple[float, float, float]


def lungs_are_implausible(sides: NDArray[np.uint8], spacing_mm: Spacing) -> bool:
    """Whether lungs are larger than any, or flatter or steeper than lungs are.

    Parameters
    ----------
    sides:
        Lungs (anything but 0), axes (superior, posterior, left).
    spacing_mm:
        Spacing of these axes.
    """
    lung = sides > 0
    volume_ml = float(np.count_nonzero(lung)) * float(np.prod(spacing_mm)) / 1000
    if volume_ml > LARGEST_LUNGS_ML:
        return True
    height, width = (_length_mm(lung, axis, spacing_mm[axis]) for axis in (0, 2))
    return not HEIGHT_OVER_WIDTH[0] <= height / width <= HEIGHT_OVER_WIDTH[1]


def _length_mm(lung: NDArray[np.bool_], axis: int, step: float) -> float:
    others = tuple(other for other in range(3) if other != axis)
    found = np.flatnonzero(lung.any(axis=others))
    return float(found[-1] - found[0] + 1) * step

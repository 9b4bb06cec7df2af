"""Right and left for a lung mask that another method drew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.segment.segmentation import Side


def sides_of(lung: NDArray[np.bool_], sides: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Side map of ``lung``: the side of the nearest voxel of ``sides`` in the same slice.

    In a slice where ``sides`` shows no lung, its middle divides. Axes are (superior, posterior, left).
    """
    result = np.where(lung, sides, np.uint8(Side.NONE))
    for index in np.flatnonzero((lung & (sides == Side.NONE)).any(axis=(1, 2))):
        missing = lung[index] & (sides[index] == Side.NONE)
        if sides[index].any():
            nearest = ndimage.distance_transform_edt(
                sides[index] == Side.NONE, return_distances=False, return_indices=True
            )
            result[index][missing] = sides[index][tuple(nearest[:, missing])]
        else:
            left = np.nonzero(missing)[1] >= lung.shape[2] // 2
            result[index][missing] = np.where(left, Side.LEFT, Side.RIGHT)
    return result

"""The separate lesions: how many, and where the largest lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicomnode.measure.measurements import Lesion, LesionCensus
from dicomnode.segment.segmentation import Anatomy, Lobe, Segmentation, Side

SIZABLE_ML = 0.1
"""Separate lesions below this are not listed: a cube of 4.6 mm, about the smallest that readers mark."""

LISTED_LESIONS = 5
"""So many lesions are listed at most; all are counted."""

Floats = NDArray[np.float64]


def count_lesions(
    hu: NDArray[np.int16], segmentation: Segmentation, anatomy: Anatomy, voxel_ml: float
) -> LesionCensus:
    """Count the separate lesions and measure the largest.

    Parameters
    ----------
    hu:
        int16 (z, y, x) on the grid of the masks.
    segmentation, anatomy:
        The masks and what follows from them.
    voxel_ml:
        Volume of a voxel in mL.
    """
    lesions = anatomy.lesions
    sizes = np.bincount(lesions.numbers, minlength=1)[1:]
    sizable = int(np.count_nonzero(sizes * voxel_ml >= SIZABLE_ML))
    peripheral = 100 * float(lesions.outer.mean(dtype=np.float64)) if sizes.size else None
    listed = min(sizable, LISTED_LESIONS)
    return LesionCensus(len(sizes), sizable, peripheral, _list(listed, hu, segmentation, anatomy, voxel_ml))


def _list(
    listed: int, hu: NDArray[np.int16], segmentation: Segmentation, anatomy: Anatomy, voxel_ml: float
) -> tuple[Lesion, ...]:
    found = []
    lesions = anatomy.lesions
    for number in range(1, listed + 1):
        chosen = lesions.numbers == number
        places = lesions.places[chosen]
        lobe = Lobe(_most(segmentation.lobes.ravel()[places]))
        z, y, x = (float(axis.mean()) for axis in np.unravel_index(places, hu.shape))
        x_mm, y_mm, z_mm = (float(mm) for mm in (anatomy.affine @ (x, y, z, 1.0))[:3])
        depth_mm = float(lesions.depth_mm[chosen].min())
        found.append(
            Lesion(
                number=number,
                side=Side(_most(segmentation.sides.ravel()[places])).name.lower(),
                lobe=None if lobe is Lobe.NONE else lobe.name.lower(),
                volume_ml=len(places) * voxel_ml,
                mean_hu=float(hu.ravel()[places].mean(dtype=np.float64)),
                centroid_mm=(x_mm, y_mm, z_mm),
                pleura_distance_mm=depth_mm if np.isfinite(depth_mm) else None,
                peripheral_percent=100 * float(lesions.outer[chosen].mean(dtype=np.float64)),
            )
        )
    return tuple(found)


def _most(values: NDArray[np.uint8]) -> int:
    """The value that occurs most."""
    return int(np.bincount(values).argmax())

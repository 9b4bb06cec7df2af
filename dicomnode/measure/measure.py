"""All measurements of one segmented series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicomnode.measure.distribution import hellinger_distance, histogram_iou, lung_histogram, normal_lung
from dicomnode.measure.measurements import Measurements, Quality
from dicomnode.measure.regions import tally_lung
from dicomnode.segment.segmentation import Segmentation


def measure_segmentation(
    hu: NDArray[np.int16], segmentation: Segmentation, voxel_ml: float, quality: Quality
) -> Measurements:
    """Measure volumes, extents, weight, attenuation and the HU distribution, in total and by region.

    Parameters
    ----------
    hu:
        int16 (z, y, x) on the grid of ``segmentation``.
    segmentation:
        The masks.
    voxel_ml:
        Volume of a voxel in mL.
    quality:
        What is known of the input and of the masks; passed through.

    Raises
    ------
    ValueError
        If the segmentation holds no lung: such a series is refused before it is measured.
    """
    if not segmentation.labels.any():
        raise ValueError("there is no lung to measure")
    tally = tally_lung(hu, segmentation.labels, segmentation.sides, segmentation.lobes, voxel_ml)
    histogram = lung_histogram(hu[segmentation.lung])
    reference = normal_lung().probability
    return Measurements(
        total=tally.total(),
        sides=tally.sides(),
        lobes=tally.lobes(),
        hellinger_distance=hellinger_distance(histogram, reference),
        histogram_iou=histogram_iou(histogram, reference),
        quality=quality,
    )

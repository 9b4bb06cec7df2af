"""All measurements of one segmented series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicomnode.measure.certainty import assess_certainty
from dicomnode.measure.distribution import describe
from dicomnode.measure.lesions import count_lesions
from dicomnode.measure.literature import compare
from dicomnode.measure.measurements import Measurements, Quality, RegionMeasurements
from dicomnode.measure.pieces import find_pieces
from dicomnode.measure.regions import LABELS, tally_lung
from dicomnode.measure.scores import Comparison, Scores
from dicomnode.measure.scoring import score
from dicomnode.measure.uncertainty import Uncertainty, unknown
from dicomnode.segment.segmentation import Anatomy, Region, Segmentation

UNCERTAIN_LOBES = {"lobes_uncertain", "lungs_uncertain", "lungs_disagree", "one_lung"}
"""Flags that make the scores uncertain: the lobes are found from the shape of both lungs."""


def measure_segmentation(
    hu: NDArray[np.int16], segmentation: Segmentation, anatomy: Anatomy, voxel_ml: float, quality: Quality
) -> Measurements:
    """Measure volumes, extents, weight, attenuation, scores and separate lesions.

    Parameters
    ----------
    hu:
        int16 (z, y, x) on the grid of ``segmentation``.
    segmentation, anatomy:
        The masks, and what follows from them by geometry.
    voxel_ml:
        Volume of a voxel in mL.
    quality:
        What is known of the input and of the masks; passed through.

    Raises
    ------
    ValueError
        If the segmentation holds no lung: such a series is refused before it is measured.
    """
    box = segmentation.box
    tally = tally_lung(
        hu[box], segmentation.labels[box], segmentation.sides[box], segmentation.lobes[box], voxel_ml
    )
    if tally.hu_counts is None:
        raise ValueError("there is no lung to measure")
    total = tally.total()
    scores = None
    if segmentation.has_lobes:
        scores = score(
            tally.voxels.sum(axis=0).astype(np.int64),
            _count_regions(anatomy.regions[box], segmentation.labels[box]),
            voxel_ml,
            are_uncertain=bool(UNCERTAIN_LOBES & set(quality.flags)),
        )
    literature = compare(
        {
            "lesion_extent_percent": total.lesion_extent_percent,
            "lesion_weight_g": total.lesion_weight_g,
            "ct_ss": scores.ct_ss if scores else None,
        }
    )
    return Measurements(
        total=total,
        sides=tally.sides(),
        lobes=tally.lobes(),
        scores=scores,
        distribution=describe(tally.hu_counts),
        lesions=count_lesions(hu, segmentation, anatomy, voxel_ml),
        literature=literature,
        quality=quality,
        uncertainty=_uncertainty(segmentation, anatomy, total, scores, literature, voxel_ml, quality),
    )


def _uncertainty(
    segmentation: Segmentation,
    anatomy: Anatomy,
    total: RegionMeasurements,
    scores: Scores | None,
    literature: tuple[Comparison, ...],
    voxel_ml: float,
    quality: Quality,
) -> Uncertainty:
    confidence, box = segmentation.confidence, segmentation.box
    if confidence is None:
        return unknown()
    maps = (segmentation.labels, segmentation.lobes, anatomy.regions, confidence.doubt)
    labels, lobes, regions, doubt = (part[box] for part in maps)
    thick_mm = max(quality.slice_thickness_mm or 0.0, quality.slice_spacing_mm)
    return assess_certainty(
        confidence.error,
        find_pieces(labels, lobes, regions, doubt, voxel_ml),
        total,
        scores,
        literature,
        thick_mm if "thick_slices" in quality.flags else None,
    )


def _count_regions(regions: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Voxels (regions, labels) by :class:`Region` and label."""
    cells = (regions * np.uint8(LABELS) + labels)[labels > 0]  # at most 104: stays uint8
    return np.bincount(cells, minlength=len(Region) * LABELS).reshape(-1, LABELS)

"""The scores of a segmentation: counts of voxels by lobe and region against the bands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicomnode.measure.scores import RegionScore, Scores
from dicomnode.measure.severity import (
    CT_SCORE_LOBES,
    CT_SS_REGIONS,
    INVOLVEMENT_ML,
    INVOLVEMENT_PERCENT,
    LOBE_BANDS,
    REGION_BANDS,
    bands_in_words,
    ct_score,
    ct_ss,
    is_involved,
    lobe_score,
    region_score,
)
from dicomnode.segment.segmentation import Label, Lobe, Region

LABELS = len(Label)
LESION = [Label.GROUND_GLASS, Label.CONSOLIDATION]
RULES = (
    f"CT score (Pan et al. 2020), sum over five lobes by their lesion extent: {bands_in_words(LOBE_BANDS)}",
    f"CT-SS (Yang et al. 2020), sum over 20 regions by their lesion extent: {bands_in_words(REGION_BANDS)}. "
    "The regions are cut from the lobes by a rule of shares, not seen on the CT",
    f"A lobe is involved from {INVOLVEMENT_ML:g} mL and {INVOLVEMENT_PERCENT:g} % of lesion on",
)


def score(
    lobe_voxels: NDArray[np.int64], region_voxels: NDArray[np.int64], voxel_ml: float, *, are_uncertain: bool
) -> Scores:
    """Scores from voxel counts.

    Extents are quotients of whole numbers here: 25 % is 25 % and no rounding moves it over a boundary.

    Parameters
    ----------
    lobe_voxels:
        Array (lobes, labels) of counts, rows by :class:`Lobe`.
    region_voxels:
        Array (regions, labels) of counts, rows by :class:`Region`.
    voxel_ml:
        Volume of a voxel in mL.
    are_uncertain:
        Whether the borders of the lobes are uncertain.
    """
    lobes, regions = _extents(lobe_voxels, Lobe, voxel_ml), _extents(region_voxels, Region, voxel_ml)
    complete = len(lobes) == CT_SCORE_LOBES
    return Scores(
        ct_score=ct_score((extent, lesion_ml) for _, lesion_ml, extent in lobes.values())
        if complete
        else None,
        involved_lobes=sum(is_involved(extent, lesion_ml) for _, lesion_ml, extent in lobes.values())
        if complete
        else None,
        ct_ss=ct_ss((extent, lesion_ml) for _, lesion_ml, extent in regions.values())
        if len(regions) == CT_SS_REGIONS
        else None,
        lobes={name: lobe_score(extent, lesion_ml) for name, (_, lesion_ml, extent) in lobes.items()},
        regions={
            name: RegionScore(volume_ml, lesion_ml, extent, region_score(extent, lesion_ml))
            for name, (volume_ml, lesion_ml, extent) in regions.items()
        },
        are_uncertain=are_uncertain,
        rules=RULES,
    )


def _extents(
    voxels: NDArray[np.int64], kind: type[Lobe | Region], voxel_ml: float
) -> dict[str, tuple[float, float, float]]:
    """Volume, lesion volume and extent in % of each part that has voxels, by name."""
    found = {}
    for part in kind:
        total, lesion = int(voxels[part].sum()), int(voxels[part, LESION].sum())
        if part and total:
            found[part.name.lower()] = total * voxel_ml, lesion * voxel_ml, 100 * lesion / total
    return found

"""What a person drew, and what was not touched, as one consistent set of masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.correct.recognition import SEGMENTS
from dicomnode.segment.segmentation import Label, Lobe, QualityFlag, Segmentation, Side

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

SIDES = {"right": Side.RIGHT, "left": Side.LEFT}
LOBES = {
    "right_upper": Lobe.RIGHT_UPPER,
    "right_middle": Lobe.RIGHT_MIDDLE,
    "right_lower": Lobe.RIGHT_LOWER,
    "left_upper": Lobe.LEFT_UPPER,
    "left_lower": Lobe.LEFT_LOWER,
}
SIDE_OF_LOBE = np.array([Side.NONE, *[Side.RIGHT] * 3, *[Side.LEFT] * 2], np.uint8)
FINDINGS = {"ggo": Label.GROUND_GLASS, "consolidation": Label.CONSOLIDATION, "effusion": Label.EFFUSION}
"""In the order in which they are drawn: what was added to two of them is the later one."""

FINENESS = {
    "lungs": 0,
    **dict.fromkeys(SIDES, 1),
    **dict.fromkeys(LOBES, 2),
    "lesion": 3,
    **dict.fromkeys(FINDINGS, 4),
}
"""What may lie within what: finer segments are parts of coarser ones."""

LUNG_FLAGS = (QualityFlag.LUNGS_UNCERTAIN, QualityFlag.LUNGS_DISAGREE, QualityFlag.SIDES_TOUCH)


@dataclass(frozen=True, eq=False)
class Edit:
    """What a person added to and took from one segment, bool (z, y, x)."""

    added: Mask
    removed: Mask

    @property
    def is_empty(self) -> bool:
        """Whether nothing was changed."""
        return not (self.added.any() or self.removed.any())


def edits_of(base: Segmentation, drawn: Mapping[str, Mask], *, overlap: bool) -> dict[str, Edit]:
    """What was changed in each of the segments ``drawn``, by key; segments that were not changed left out.

    Parameters
    ----------
    overlap:
        Whether a voxel may lie in several of the segments drawn. If not, a voxel of GGO is in the file no
        voxel of the lungs; it was not taken from them, nor from any segment that holds a finer one.
    """
    found = {}
    for key, mask in drawn.items():
        before = SEGMENTS[key].mask(base)
        removed = before & ~mask
        for finer in () if overlap else drawn:
            if FINENESS[finer] > FINENESS[key]:
                removed &= ~drawn[finer]
        edit = Edit(added=mask & ~before, removed=removed)
        if not edit.is_empty:
            found[key] = edit
    return found


def merge(
    base: Segmentation,
    edits: Mapping[str, Edit],
    hu: NDArray[np.int16],
    spacing_mm: Spacing,
    consolidation_hu: float,
) -> Segmentation:
    """``base`` with a person's edits, so that labels, sides and lobes agree again.

    - What was added to GGO, consolidation or effusion is that; added to several, the last named of these.
    - What was added to the lesion alone is consolidation from ``consolidation_hu`` on, else GGO; what was
      taken from the lesion is lung without it, and so is what was taken from GGO or consolidation alone.
    - A finding drawn outside the lungs makes the lung larger there.
    - How sure the model was no longer counts.
    - Lung that was added gets the side and the lobe next to it; what was taken from one lobe and given to no
      other gets the lobe next to it. What was taken from the lungs is no lung, whatever else it was.

    Parameters
    ----------
    edits:
        By key, as :func:`edits_of` gives them.
    hu:
        int16 (z, y, x), the volume; ``spacing_mm`` along these axes.
    """
    labels, sides, lobes = base.labels.copy(), base.sides.copy(), base.lobes.copy()
    for key in ("lungs", *SIDES):
        if key in edits:
            sides[edits[key].removed] = Side.NONE
    for key, side in SIDES.items():
        if key in edits:
            sides[edits[key].added] = side
    taken: NDArray[np.uint8] = np.zeros_like(lobes)
    for key, lobe in LOBES.items():
        if key in edits:
            taken[edits[key].removed & (lobes == lobe)] = lobe
    lobes[taken > 0] = Lobe.NONE
    for key, lobe in LOBES.items():
        if key in edits:
            added = edits[key].added
            lobes[added] = lobe
            sides[added] = SIDE_OF_LOBE[lobe]
    found = _draw_findings(labels, edits, hu, consolidation_hu)
    lung = (sides > 0) | found
    if "lungs" in edits:
        lung |= edits["lungs"].added
    _fill_from_neighbours(sides, lung & (sides == 0), sides, spacing_mm)
    sides[~lung] = Side.NONE
    lung = sides > 0
    labels[~lung] = Label.BACKGROUND
    labels[lung & (labels == Label.BACKGROUND)] = Label.NORMAL_LUNG
    lobes[SIDE_OF_LOBE[lobes] != sides] = Lobe.NONE
    if base.has_lobes:
        for side in SIDES.values():
            _fill_lobes(lobes, sides == side, taken, spacing_mm)
    return replace(base, labels=labels, sides=sides, lobes=lobes, flags=_flags(base, edits), confidence=None)


def _draw_findings(
    labels: NDArray[np.uint8], edits: Mapping[str, Edit], hu: NDArray[np.int16], consolidation_hu: float
) -> Mask:
    """Change the findings in ``labels``; where something was added."""
    found = np.zeros(labels.shape, np.bool_)
    for key, label in FINDINGS.items():
        if key in edits:
            labels[edits[key].removed & (labels == label)] = Label.NORMAL_LUNG
    if "lesion" in edits:
        lesion = edits["lesion"]
        labels[lesion.removed & np.isin(labels, (Label.GROUND_GLASS, Label.CONSOLIDATION))] = (
            Label.NORMAL_LUNG
        )
        dense = hu >= consolidation_hu
        labels[lesion.added & dense] = Label.CONSOLIDATION
        labels[lesion.added & ~dense] = Label.GROUND_GLASS
        found |= lesion.added
    for key, label in FINDINGS.items():
        if key in edits:
            labels[edits[key].added] = label
            found |= edits[key].added
    return found


def _fill_lobes(lobes: NDArray[np.uint8], lung: Mask, taken: NDArray[np.uint8], spacing_mm: Spacing) -> None:
    """Give voxels of a lung without a lobe the nearest; what was ``taken`` from a lobe gets another one."""
    within = np.where(lung, lobes, 0)
    for lobe in np.unique(taken[lung]):
        where = lung & (lobes == 0) & (taken == lobe)
        _fill_from_neighbours(lobes, where, np.where(within == lobe, 0, within), spacing_mm)
    _fill_from_neighbours(lobes, lung & (lobes == 0), np.where(lung, lobes, 0), spacing_mm)


def _fill_from_neighbours(
    values: NDArray[np.uint8], where: Mask, known: NDArray[np.uint8], spacing_mm: Spacing
) -> None:
    """Give each voxel of ``where`` the value above 0 of ``known`` that is nearest to it, if there is any."""
    if not where.any() or not known.any():
        return
    box = ndimage.find_objects(((known > 0) | where).astype(np.uint8))[0]
    nearest = ndimage.distance_transform_edt(
        known[box] == 0, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    inside = where[box]
    values[box][inside] = known[box][tuple(axis[inside] for axis in nearest)]


def _flags(base: Segmentation, edits: Mapping[str, Edit]) -> tuple[QualityFlag, ...]:
    """Doubts about masks that a person has looked at and changed no longer hold."""
    settled: set[QualityFlag] = set()
    if edits.keys() & {"lungs", *SIDES}:
        settled.update(LUNG_FLAGS)
    if edits.keys() & LOBES.keys():
        settled.add(QualityFlag.LOBES_UNCERTAIN)
    return tuple(flag for flag in base.flags if flag not in settled)

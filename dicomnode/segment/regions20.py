"""The 20 regions of the CT-SS from the five lobes by a geometric rule.

Segments have no borders that a CT shows, so a rule cuts each lobe by volume, along the patient's axes:

- **Upper lobe, right; upper division, left:** the highest 30 % are apical; of what remains the rear 43 % are
  posterior, the front anterior.
- **Middle lobe:** the 45 % farthest from the midline are lateral, the others medial.
- **Left upper lobe:** the 35 % that lie lowest and foremost (height plus half the way to the back) are the
  lingula, its higher half superior, its lower half inferior.
- **Lower lobes:** the highest 25 % are superior. What remains is cut into four sectors around a vertical axis
  through its centre, from the back's medial edge by way of medial, anterior, lateral to posterior: 15, 25, 25
  and 35 % of it (left: 12, 25, 26, 37 %).

Every voxel of a lobe gets one of its regions. Shares hold to a slice's, row's or column's thickness; of a
lobe of some slices only, regions may be empty. Arrays are (superior, posterior, left).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.segment.segmentation import REGIONS_OF_LOBE, Lobe, Region

Spacing = tuple[float, float, float]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

APICAL_SHARE = 0.30
POSTERIOR_SHARE_OF_REST = 0.43
LATERAL_SHARE = 0.45
LINGULA_SHARE = 0.35
LINGULA_TILT = 0.5
SUPERIOR_SHARE = 0.25
BASAL_SHARES = {Lobe.RIGHT_LOWER: (0.15, 0.25, 0.25, 0.35), Lobe.LEFT_LOWER: (0.12, 0.25, 0.26, 0.37)}
"""Medial, anterior, lateral and posterior basal region."""

SAMPLE_VOXELS = 200_000
"""Cuts are found on about so many voxels of a lobe, evenly spread."""


def find_regions(lobes: NDArray[np.uint8], spacing_mm: Spacing) -> NDArray[np.uint8]:
    """Values of :class:`Region` for a map of lobes.

    Parameters
    ----------
    lobes:
        Values of :class:`Lobe`, axes (superior, posterior, left).
    spacing_mm:
        Spacing of those axes.
    """
    regions = np.zeros(lobes.shape, np.uint8)
    boxes = ndimage.find_objects(lobes, max_label=int(max(Lobe)))
    for lobe in REGIONS_OF_LOBE:
        box = boxes[lobe - 1]
        if box is not None:
            inside = lobes[box] == lobe
            regions[box] += _Cutter(inside, spacing_mm, lobe).cut() * inside
    return regions


class _Cutter:
    """One lobe in its box: coordinates in mm and cuts by volume."""

    def __init__(self, inside: Bools, spacing_mm: Spacing, lobe: Lobe) -> None:
        self._shape = inside.shape
        self._lobe = lobe
        self._height, self._back, left = (
            np.arange(n, dtype=np.float64).reshape([-1 if a == axis else 1 for a in range(3)]) * mm
            for axis, (n, mm) in enumerate(zip(inside.shape, spacing_mm, strict=True))
        )
        is_right = lobe in (Lobe.RIGHT_UPPER, Lobe.RIGHT_MIDDLE, Lobe.RIGHT_LOWER)
        self._lateral = -left if is_right else left
        places = np.flatnonzero(inside)
        chosen = places[:: max(1, len(places) // SAMPLE_VOXELS)]
        self._sample = np.unravel_index(chosen, inside.shape)

    def cut(self) -> NDArray[np.uint8]:
        """A region of the lobe for each voxel of the box."""
        names = REGIONS_OF_LOBE[self._lobe]
        everything = np.ones(self._shape, np.bool_)
        if self._lobe is Lobe.RIGHT_MIDDLE:
            lateral = self._most(self._lateral, LATERAL_SHARE, everything)
            return np.where(lateral, np.uint8(names[0]), np.uint8(names[1]))
        if self._lobe is Lobe.RIGHT_UPPER:
            return self._upper(everything, names)
        if self._lobe is Lobe.LEFT_UPPER:
            raised = self._height + LINGULA_TILT * self._back
            upper = self._most(raised, 1 - LINGULA_SHARE, everything)
            higher = self._most(self._height, 0.5, ~upper)
            lingula = np.where(higher, np.uint8(names[3]), np.uint8(names[4]))
            return np.where(upper, self._upper(upper, names), lingula)
        superior = self._most(self._height, SUPERIOR_SHARE, everything)
        return np.where(superior, np.uint8(names[0]), self._basal(~superior, names[1:]))

    def _upper(self, part: Bools, names: Sequence[Region]) -> NDArray[np.uint8]:
        apical = self._most(self._height, APICAL_SHARE, part)
        posterior = self._most(self._back, POSTERIOR_SHARE_OF_REST, part & ~apical)
        rest = np.where(posterior, np.uint8(names[1]), np.uint8(names[2]))
        return np.where(apical, np.uint8(names[0]), rest)

    def _basal(self, part: Bools, names: Sequence[Region]) -> NDArray[np.uint8]:
        chosen = part[self._sample]
        if not chosen.any():
            return np.full(self._shape, names[-1], np.uint8)
        back, lateral = (self._sampled(axis)[chosen].mean() for axis in (self._back, self._lateral))
        turn = np.arctan2(back - self._back, lateral - self._lateral)  # 0 medial, a quarter turn anterior
        turn = np.mod(turn + np.pi / 4, 2 * np.pi)  # begins between posterior and medial
        ends = np.quantile(self._sampled(turn)[chosen], np.cumsum(BASAL_SHARES[self._lobe])[:-1])
        sector = np.searchsorted(ends, turn, side="left")
        values = np.array(names, np.uint8)[sector]
        return np.broadcast_to(values, self._shape)

    def _most(self, level: Floats, share: float, part: Bools) -> Bools:
        """The voxels of the box whose level is that of the highest ``share`` of a part of the lobe."""
        values = self._sampled(level)[part[self._sample]]
        if not values.size:
            return np.zeros(self._shape, np.bool_)
        found: Bools = part & (level > np.quantile(values, 1 - share))
        return found

    def _sampled(self, level: Floats) -> Floats:
        return np.broadcast_to(level, self._shape)[self._sample]

"""Volume, attenuation and weight of each region, from one histogram of the lung's voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.measure.distribution import HuCounts
from dicomnode.measure.measurements import RegionMeasurements
from dicomnode.segment.segmentation import Label, Lobe, Side

LABELS = len(Label)
SIDES = len(Side)
LOBES = len(Lobe)
ALL = slice(None)


def lesion_density_g_per_ml(hu: NDArray[np.float64]) -> NDArray[np.float64]:
    """Density of tissue of ``hu``, (HU + 1000) / 1000, never below that of air (Yoo et al. 2020, MEDIP)."""
    return np.maximum(hu + 1000.0, 0.0) / 1000.0


@dataclass(frozen=True, eq=False)
class LungTally:
    """Sums over the lung's voxels by side, lobe and label: all that region measures need.

    Parameters
    ----------
    voxels, hu_sum, weight_sum:
        float64 arrays of shape (sides, lobes, labels): number of voxels, sum of HU, sum of densities in g/mL.
    hu_counts:
        How many voxels of both lungs have which HU; None where there is no lung.
    voxel_ml:
        Volume of a voxel in mL.
    """

    voxels: NDArray[np.float64]
    hu_sum: NDArray[np.float64]
    weight_sum: NDArray[np.float64]
    hu_counts: HuCounts | None
    voxel_ml: float

    def total(self) -> RegionMeasurements:
        """Both lungs."""
        return self._region((ALL, ALL))

    def sides(self) -> dict[str, RegionMeasurements]:
        """Each side that has lung, by name (``right``, ``left``)."""
        return {
            side.name.lower(): self._region((int(side), ALL))
            for side in Side
            if side is not Side.NONE and self.voxels[side].any()
        }

    def lobes(self) -> dict[str, RegionMeasurements]:
        """Each lobe that the model told apart, by name (``right_upper`` ...)."""
        return {
            lobe.name.lower(): self._region((ALL, int(lobe)))
            for lobe in Lobe
            if lobe is not Lobe.NONE and self.voxels[:, lobe].any()
        }

    def _region(self, where: tuple[slice | int, slice | int]) -> RegionMeasurements:
        voxels = self.voxels[where].reshape(-1, LABELS).sum(axis=0)
        hu_sum = self.hu_sum[where].reshape(-1, LABELS).sum(axis=0)
        weight_sum = self.weight_sum[where].reshape(-1, LABELS).sum(axis=0)
        lesion = [Label.GROUND_GLASS, Label.CONSOLIDATION]
        effusion = float(voxels[Label.EFFUSION]) * self.voxel_ml
        return RegionMeasurements(
            volume_ml=float(voxels.sum()) * self.voxel_ml,
            normal_lung_volume_ml=float(voxels[Label.NORMAL_LUNG]) * self.voxel_ml,
            ggo_volume_ml=float(voxels[Label.GROUND_GLASS]) * self.voxel_ml,
            consolidation_volume_ml=float(voxels[Label.CONSOLIDATION]) * self.voxel_ml,
            effusion_volume_ml=effusion or None,
            lesion_weight_g=float(weight_sum[lesion].sum()) * self.voxel_ml,
            lesion_mean_hu=_mean(hu_sum[lesion].sum(), voxels[lesion].sum()),
            mean_hu=_mean(hu_sum.sum(), voxels.sum()),
        )


def tally_lung(
    hu: NDArray[np.int16],
    labels: NDArray[np.uint8],
    sides: NDArray[np.uint8],
    lobes: NDArray[np.uint8],
    voxel_ml: float,
) -> LungTally:
    """Count the lung's voxels and sum their HU and density by side, lobe and label.

    Parameters
    ----------
    hu, labels, sides, lobes:
        Arrays of one shape (z, y, x); values of :class:`Label`, :class:`Side`, :class:`Lobe`.
    voxel_ml:
        Volume of a voxel in mL.

    Raises
    ------
    ValueError
        If the shapes differ or the voxel has no volume.
    """
    if not hu.shape == labels.shape == sides.shape == lobes.shape:
        raise ValueError(f"shapes differ: {hu.shape}, {labels.shape}, {sides.shape}, {lobes.shape}")
    if not voxel_ml > 0:
        raise ValueError(f"a voxel must have a volume, not {voxel_ml} mL")
    inside = labels > 0
    group = ((sides * LOBES + lobes) * LABELS + labels)[inside]  # at most 89: stays uint8
    values = hu[inside]
    lowest = int(values.min(initial=0))
    hus = int(values.max(initial=0)) - lowest + 1
    cell = group.astype(np.int64)
    cell *= hus
    cell += values
    cell -= lowest
    counts = np.bincount(cell, minlength=SIDES * LOBES * LABELS * hus).reshape(-1, hus)
    hu_of_column = lowest + np.arange(hus, dtype=np.float64)

    def summed(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = (counts @ weights).reshape(SIDES, LOBES, LABELS)
        return sums

    return LungTally(
        summed(np.ones(hus)),
        summed(hu_of_column),
        summed(lesion_density_g_per_ml(hu_of_column)),
        HuCounts(lowest, counts.sum(axis=0)) if values.size else None,
        voxel_ml,
    )


def _mean(total: float, count: float) -> float | None:
    return float(total) / float(count) if count else None

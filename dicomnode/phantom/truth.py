"""The true value of every measure, counted straight from the phantom's own maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicomnode.segment.segmentation import Label, Lobe, Side

_REGIONS: dict[str, dict[str, Side | Lobe]] = {
    "sides": {"right": Side.RIGHT, "left": Side.LEFT},
    "lobes": {
        "right_upper": Lobe.RIGHT_UPPER,
        "right_middle": Lobe.RIGHT_MIDDLE,
        "right_lower": Lobe.RIGHT_LOWER,
        "left_upper": Lobe.LEFT_UPPER,
        "left_lower": Lobe.LEFT_LOWER,
    },
}
_KEYS = len(Side) * len(Lobe) * len(Label)


class TruthCounter:
    """Counts voxels and sums noise-free HU by side, lobe and label, some slices at a time."""

    def __init__(self) -> None:
        self._count = np.zeros(_KEYS)
        self._sum_hu = np.zeros(_KEYS)

    def add(
        self,
        labels: NDArray[np.uint8],
        sides: NDArray[np.uint8],
        lobes: NDArray[np.uint8],
        clean_hu: NDArray[np.float32],
    ) -> None:
        """Count one part of the phantom; the arrays have the same shape."""
        inside = labels > 0
        key = (sides[inside].astype(np.int64) * len(Lobe) + lobes[inside]) * len(Label) + labels[inside]
        self._count += np.bincount(key, minlength=_KEYS)
        self._sum_hu += np.bincount(key, weights=clean_hu[inside].astype(np.float64), minlength=_KEYS)

    def truth(self, voxel_ml: float) -> dict[str, Any]:
        """Volumes in mL, extents in %, weights in g, attenuations in HU, under the measurement names.

        Weight is mL x (HU + 1000) / 1000 summed over the lesion: air weighs nothing, water 1 g per mL.
        """
        shape = (len(Side), len(Lobe), len(Label))
        count, sum_hu = self._count.reshape(shape), self._sum_hu.reshape(shape)
        total = _region(count.sum((0, 1)), sum_hu.sum((0, 1)), voxel_ml)
        truth = {("lung_" + k if k in ("volume_ml", "mean_hu") else k): v for k, v in total.items()}
        for group, members in _REGIONS.items():
            other = 1 if group == "sides" else 0
            by_member = count.sum(other), sum_hu.sum(other)
            truth[group] = {name: _region(*row, voxel_ml) for name, row in _rows(by_member, members)}
        return truth


def _rows(
    sums: tuple[NDArray[np.float64], NDArray[np.float64]], members: dict[str, Side | Lobe]
) -> Iterator[tuple[str, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    for name, value in members.items():
        yield name, (sums[0][value], sums[1][value])


def _region(count: NDArray[np.float64], sum_hu: NDArray[np.float64], voxel_ml: float) -> dict[str, Any]:
    """Measures of one region from its counts and HU sums by label."""
    lesion_labels = [Label.GROUND_GLASS, Label.CONSOLIDATION]
    volume, ggo, consolidation = (
        float(v) * voxel_ml for v in (count.sum(), count[Label.GROUND_GLASS], count[Label.CONSOLIDATION])
    )
    lesion_count, lesion_sum = count[lesion_labels].sum(), sum_hu[lesion_labels].sum()
    percent = 100 / volume if volume > 0 else 0.0
    return {
        "volume_ml": volume,
        "ggo_volume_ml": ggo,
        "consolidation_volume_ml": consolidation,
        "high_opacity_volume_ml": consolidation,
        "lesion_volume_ml": ggo + consolidation,
        "ggo_extent_percent": ggo * percent,
        "consolidation_extent_percent": consolidation * percent,
        "lesion_extent_percent": (ggo + consolidation) * percent,
        "lesion_weight_g": float(lesion_sum + 1000 * lesion_count) * voxel_ml / 1000,
        "lesion_mean_hu": float(lesion_sum / lesion_count) if lesion_count else None,
        "mean_hu": float(sum_hu.sum() / count.sum()) if volume > 0 else None,
    }

"""How attenuation is spread over the lungs, and how far from that of normal lungs (Pan et al. 2020)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicomnode.measure.measurements import Distribution

LOWEST_HU = -1024
HIGHEST_HU = 208
BIN_HU = 16
BINS = (HIGHEST_HU - LOWEST_HU) // BIN_HU
REFERENCE_FILE = Path(__file__).with_name("normal_lung_histogram.json")

EMPHYSEMA_HU = -950
"""Lung below this on thin slices in full inspiration is counted as emphysema (LAA-950)."""

LOW_ATTENUATION_HU = -910
"""Lung below this has low attenuation (LAA-910): emphysema of milder degree, or deep inspiration."""


@dataclass(frozen=True, eq=False)
class NormalLung:
    """Reference distribution: probability a bin of 16 HU from -1024 to 208 HU, and where it comes from."""

    probability: NDArray[np.float64]
    origin: str

    def __post_init__(self) -> None:
        if self.probability.shape != (BINS,) or not np.isclose(self.probability.sum(), 1.0):
            raise ValueError(f"the normal lung needs {BINS} probabilities that sum to 1")


@dataclass(frozen=True, eq=False)
class HuCounts:
    """Number of lung voxels of each HU: ``counts[i]`` have ``lowest_hu + i``.

    Raises
    ------
    ValueError
        If there is no voxel.
    """

    lowest_hu: int
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not self.counts.any():
            raise ValueError("a histogram of no voxel is not defined")

    @property
    def hu(self) -> NDArray[np.float64]:
        """The HU of each count."""
        return self.lowest_hu + np.arange(len(self.counts), dtype=np.float64)

    @property
    def total(self) -> int:
        """Number of voxels."""
        return int(self.counts.sum())

    def share_below(self, hu: int) -> float:
        """Share of voxels with less than ``hu``."""
        return int(self.counts[: max(0, hu - self.lowest_hu)].sum()) / self.total

    def percentile(self, percent: int) -> int:
        """The lowest HU that at least ``percent`` % of the voxels don't exceed."""
        reached = np.cumsum(self.counts) * 100 >= percent * self.total
        return self.lowest_hu + int(reached.argmax())

    def central_moment(self, order: int) -> float:
        """Mean of (HU - mean HU) to the power of ``order``."""
        mean = float(self.hu @ self.counts) / self.total
        return float((self.hu - mean) ** order @ self.counts) / self.total

    def binned(self) -> NDArray[np.float64]:
        """Probability a bin of the reference; values beyond its ends count in the end bins."""
        bins = (np.clip(self.hu, LOWEST_HU, HIGHEST_HU - 1).astype(np.int64) - LOWEST_HU) // BIN_HU
        return np.bincount(bins, self.counts, minlength=BINS) / self.total


def describe(counts: HuCounts) -> Distribution:
    """All measures of the lungs' histogram."""
    histogram, reference = counts.binned(), normal_lung().probability
    variance = counts.central_moment(2)
    return Distribution(
        hellinger_distance=hellinger_distance(histogram, reference),
        histogram_iou=histogram_iou(histogram, reference),
        emphysema_percent=100 * counts.share_below(EMPHYSEMA_HU),
        low_attenuation_percent=100 * counts.share_below(LOW_ATTENUATION_HU),
        percentiles_hu={percent: counts.percentile(percent) for percent in (5, 15, 50, 85, 95)},
        sd_hu=float(np.sqrt(variance)),
        skewness=counts.central_moment(3) / variance**1.5 if variance else None,
        kurtosis=counts.central_moment(4) / variance**2 - 3 if variance else None,
    )


def lung_histogram(hu: NDArray[np.int16]) -> NDArray[np.float64]:
    """Probability a bin of the HU of lung voxels (any shape); values beyond the ends count in the end bins.

    Raises
    ------
    ValueError
        If there is no voxel.
    """
    if not hu.size:
        raise ValueError("a histogram of no voxel is not defined")
    lowest = int(hu.min())
    return HuCounts(lowest, np.bincount(hu.ravel().astype(np.int64) - lowest)).binned()


def hellinger_distance(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """sqrt(1 - sum(sqrt(p q))): 0 for equal distributions, 1 for such that share no bin."""
    return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(p * q).sum()))))


def histogram_iou(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Area under both curves over area under either: 1 for equal distributions, 0 without overlap."""
    return float(np.minimum(p, q).sum() / np.maximum(p, q).sum())


@cache
def normal_lung() -> NormalLung:
    """The reference that ships with the product."""
    content = json.loads(REFERENCE_FILE.read_text(encoding="utf-8"))
    return NormalLung(np.asarray(content["probability"], dtype=np.float64), content["origin"])

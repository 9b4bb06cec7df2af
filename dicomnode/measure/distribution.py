"""The lungs' HU histogram against that of normal lungs (COVID-Lesion Net, Pan et al. 2020)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LOWEST_HU = -1024
HIGHEST_HU = 208
BIN_HU = 16
BINS = (HIGHEST_HU - LOWEST_HU) // BIN_HU
REFERENCE_FILE = Path(__file__).with_name("normal_lung_histogram.json")


@dataclass(frozen=True, eq=False)
class NormalLung:
    """Reference distribution: probability a bin of 16 HU from -1024 to 208 HU, and where it comes from."""

    probability: NDArray[np.float64]
    origin: str

    def __post_init__(self) -> None:
        if self.probability.shape != (BINS,) or not np.isclose(self.probability.sum(), 1.0):
            raise ValueError(f"the normal lung needs {BINS} probabilities that sum to 1")


def lung_histogram(hu: NDArray[np.int16]) -> NDArray[np.float64]:
    """Probability a bin of the HU of lung voxels (any shape); values beyond the ends count in the end bins.

    Raises
    ------
    ValueError
        If there is no voxel.
    """
    if not hu.size:
        raise ValueError("a histogram of no voxel is not defined")
    clipped = np.clip(hu.ravel(), LOWEST_HU, HIGHEST_HU - 1).astype(np.int32)
    counts = np.bincount((clipped - LOWEST_HU) // BIN_HU, minlength=BINS)
    return counts / counts.sum()


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

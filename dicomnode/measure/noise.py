"""How noisy an image is, and how fine its noise's grain, from soft tissue that should be even."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SOFT_TISSUE_HU = (-20.0, 100.0)
"""Means of blocks that muscle, liver, spleen, blood and water have."""

BLOCK_MM = 8.0
EVEN_SHARE = 0.25
"""The most even quarter of the blocks holds no edges, so that noise is all that varies in it."""

SLICES_LOOKED_AT = 24
LEAST_BLOCKS = 50
LEAST_PIXELS = 3

LARGEST_PIXEL_MM = 1.0
"""Larger pixels are coarser than a kernel's grain: they don't show it."""

LEAST_NOISE_HU = 2.0
"""Below this rounding to whole HU, not the kernel, makes the grain."""

Spacing = tuple[float, float, float]


def noise_hu(hu: NDArray[np.int16], spacing_mm: Spacing) -> float | None:
    """Standard deviation in HU of pixels of the same tissue, or ``None`` where too little tissue is in sight.

    Parameters
    ----------
    hu:
        Shape (slices, rows, columns).
    spacing_mm:
        Of these axes.
    """
    blocks = _even_blocks(hu, spacing_mm)
    return None if blocks is None else float(np.median(blocks.std(axis=(1, 2))))


def grain_mm(hu: NDArray[np.int16], spacing_mm: Spacing) -> float | None:
    """Size in mm of the noise's grain in-plane, ``None`` where the image doesn't show it.

    It is the standard deviation of the Gaussian that makes white noise as smooth as this: with the
    correlation r of neighbouring pixels at a distance d, it is d / (2 sqrt(-ln r)). Soft kernels have a
    coarse grain, sharp ones a fine one; neighbours that aren't correlated have the grain 0.

    Parameters
    ----------
    hu, spacing_mm:
        As for :func:`noise_hu`.
    """
    if max(spacing_mm[1:]) > LARGEST_PIXEL_MM:
        return None
    blocks = _even_blocks(hu, spacing_mm)
    if blocks is None or float(np.median(blocks.std(axis=(1, 2)))) < LEAST_NOISE_HU:
        return None
    noise = _without_slope(blocks)
    power = float(np.mean(noise**2))
    sizes = []
    for axis, step in ((1, spacing_mm[1]), (2, spacing_mm[2])):
        unlike = float(np.mean(np.diff(noise, axis=axis) ** 2)) / (2 * power)
        correlation = 1 - unlike
        sizes.append(step / (2 * float(np.sqrt(-np.log(correlation)))) if 0 < correlation < 1 else 0.0)
    return float(np.mean(sizes))


def _even_blocks(hu: NDArray[np.int16], spacing_mm: Spacing) -> NDArray[np.float32] | None:
    """The most even blocks of soft tissue, shape (blocks, rows, columns)."""
    rows, columns = (max(LEAST_PIXELS, round(BLOCK_MM / step)) for step in spacing_mm[1:])
    chosen = hu[:: max(1, len(hu) // SLICES_LOOKED_AT)]
    height, width = (chosen.shape[1] // rows, chosen.shape[2] // columns)
    soft = []
    for plane in chosen:
        blocks = plane[: height * rows, : width * columns].reshape(height, rows, width, columns)
        values = blocks.transpose(0, 2, 1, 3).reshape(height * width, rows, columns).astype(np.float32)
        mean = values.mean(axis=(1, 2))
        soft.append(values[(mean > SOFT_TISSUE_HU[0]) & (mean < SOFT_TISSUE_HU[1])])
    found = np.concatenate(soft)
    if len(found) < LEAST_BLOCKS:
        return None
    order = np.argsort(found.std(axis=(1, 2)), kind="stable")
    return found[order[: max(1, int(EVEN_SHARE * len(found)))]]


def _without_slope(blocks: NDArray[np.float32]) -> NDArray[np.float64]:
    """Blocks less the plane that fits each best: tissue that gets denser to one side is no noise."""
    y, x = (np.linspace(-1, 1, n) for n in blocks.shape[1:])
    level = blocks.astype(np.float64) - blocks.mean(axis=(1, 2), keepdims=True)
    down = (level * y[:, None]).mean(axis=(1, 2)) / (y**2).mean()
    across = (level * x[None, :]).mean(axis=(1, 2)) / (x**2).mean()
    slope = down[:, None, None] * y[:, None] + across[:, None, None] * x[None, :]
    rest: NDArray[np.float64] = level - slope
    return rest

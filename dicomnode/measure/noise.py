"""How noisy an image is, from soft tissue that should be even."""

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


def noise_hu(hu: NDArray[np.int16], spacing_mm: tuple[float, float, float]) -> float | None:
    """Standard deviation in HU of pixels of the same tissue, or ``None`` where too little tissue is in sight.

    Parameters
    ----------
    hu:
        Shape (slices, rows, columns).
    spacing_mm:
        Of these axes.
    """
    rows, columns = (max(LEAST_PIXELS, round(BLOCK_MM / step)) for step in spacing_mm[1:])
    chosen = hu[:: max(1, len(hu) // SLICES_LOOKED_AT)]
    height, width = (chosen.shape[1] // rows, chosen.shape[2] // columns)
    deviations = []
    for plane in chosen:
        blocks = plane[: height * rows, : width * columns].reshape(height, rows, width, columns)
        values = blocks.transpose(0, 2, 1, 3).reshape(height * width, -1).astype(np.float32)
        mean = values.mean(axis=1)
        soft = (mean > SOFT_TISSUE_HU[0]) & (mean < SOFT_TISSUE_HU[1])
        deviations.append(values[soft].std(axis=1))
    found = np.sort(np.concatenate(deviations))
    if found.size < LEAST_BLOCKS:
        return None
    return float(np.median(found[: max(1, int(EVEN_SHARE * found.size))]))

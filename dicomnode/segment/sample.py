"""A chest drawn from formulas: what runtimes are measured and compared on, before the first patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SPACING_MM = (5.0, 1.4, 1.4)
ROWS, COLUMNS = 168, 232
VESSEL_HU, NORMAL_HU, GROUND_GLASS_HU, DENSE_HU, TISSUE_HU = -80.0, -860.0, -500.0, 10.0, 45.0
SEED = 7


def drawn_chest(slices: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """HU (slices, rows, columns) of a chest with opacities, and its lungs; the same at every call.

    Lungs have vessels, a texture and noise, patches of ground glass and consolidations, whose borders are
    about as sharp as a patient's: bfloat16 changes as large a share of the masks here as on a chest CT. The
    spacing is :data:`SPACING_MM`.
    """
    rng = np.random.default_rng(SEED)
    shape = (slices, ROWS, COLUMNS)
    z = np.linspace(-0.6, 0.6, slices)[:, None, None]
    y = (np.arange(ROWS) - ROWS / 2)[None, :, None] * SPACING_MM[1]
    x = (np.arange(COLUMNS) - COLUMNS / 2)[None, None, :] * SPACING_MM[2]
    size = np.sqrt(1 - z**2)
    body = (x / 155) ** 2 + (y / 110) ** 2 < 1
    lungs = (np.abs(x) - 72) ** 2 / (58 * size) ** 2 + (y + 5) ** 2 / (85 * size) ** 2 < 1
    heart = (x - 25) ** 2 / 48**2 + (y + 35) ** 2 / 40**2 < 1
    lungs &= ~heart
    fine, coarse, patches, dense = (_texture(rng, shape, sigma) for sigma in (1.2, 2.5, 10.0, 7.0))
    air = NORMAL_HU + 35 * fine + (VESSEL_HU - NORMAL_HU) * np.clip(3 * (coarse - 2.1), 0, 1)
    share = np.clip(6.0 * (patches - 0.6), 0, 1)
    air = air + share * (GROUND_GLASS_HU + 50 * coarse - air)
    share = np.clip(8.0 * (dense - 1.1), 0, 1)
    air = air + share * (DENSE_HU + 20 * fine - air)
    hu = np.where(lungs, air, np.where(body, TISSUE_HU, -1000.0))
    hu = ndimage.gaussian_filter(hu, (0, 0.6, 0.6)) + rng.normal(0, 18, shape)
    return np.clip(hu, -1024, 3071).astype(np.int16), np.broadcast_to(lungs, shape).copy()


def _texture(rng: np.random.Generator, shape: tuple[int, int, int], sigma: float) -> NDArray[np.float64]:
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), (1.0, sigma, sigma))
    return np.asarray(smooth / smooth.std())

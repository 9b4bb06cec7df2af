"""What the chest's own picture says of contrast agent and metal, around the lungs that were found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HEART_LEVELS = (0.25, 0.75)
"""Part of the lungs' height, from below, in which heart and great vessels lie between them."""

FRONT_SHARE = 0.60
"""Of the lungs' depth: before the spine."""

BLOCK_MM = 6.0
TISSUE_HU = (0.0, 800.0)
"""Means of blocks of heart and vessels; fat is below, metal above."""

BRIGHT_PERCENTILE = 80
"""Enhanced blood fills more than a fifth of the middle, calcified valves and vessel walls far less."""

LEAST_BLOCKS = 40

METAL_HU = 2500
"""Cortical bone ends below 2000 HU; scanners of 12 bits write metal as 3071."""

METAL_MARGIN_MM = 30.0
"""So far around the lungs metal still sends its streaks through them."""

SKIN_MM = 10.0
MOST_AIR_AROUND = 0.2
"""Of the square that reaches so far around it: electrodes on the skin have air over half of theirs."""

AIR_HU = -500

Spacing = tuple[float, float, float]
Hu = NDArray[np.int16]
Sides = NDArray[np.uint8]


def blood_hu(hu: Hu, sides: Sides, spacing_mm: Spacing) -> float | None:
    """Attenuation of the brighter tissue between the lungs, ``None`` where too little of it is in sight.

    Unenhanced blood and heart muscle have 30 to 60 HU, with contrast agent 100 and more.

    Parameters
    ----------
    hu, sides:
        Shape (superior, posterior, left); ``sides`` is anything but 0 in the lungs.
    spacing_mm:
        Of these axes.
    """
    levels = np.flatnonzero(sides.any(axis=(1, 2)))
    if not levels.size:
        return None
    low, high = (int(levels[0] + share * (levels[-1] - levels[0])) for share in HEART_LEVELS)
    step = max(1, (high - low) // 24)
    rows, columns = (max(2, round(BLOCK_MM / mm)) for mm in spacing_mm[1:])
    means = [_block_means(hu[k], _middle(sides[k]), rows, columns) for k in range(low, high + 1, step)]
    found = np.concatenate(means)
    found = found[(found > TISSUE_HU[0]) & (found < TISSUE_HU[1])]
    return float(np.percentile(found, BRIGHT_PERCENTILE)) if found.size >= LEAST_BLOCKS else None


def metal_ml(hu: Hu, sides: Sides, spacing_mm: Spacing) -> float:
    """Volume in mL of metal within the body in and around the lungs; parameters as in :func:`blood_hu`.

    What lies on the skin (electrodes, hooks) is not counted: its streaks hardly reach the lungs.
    """
    box = []
    for axis, step in enumerate(spacing_mm):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(sides.any(axis=others))
        if not found.size:
            return 0.0
        margin = round(METAL_MARGIN_MM / step)
        box.append(slice(max(0, int(found[0]) - margin), int(found[-1]) + margin + 1))
    reach = (max(1, round(SKIN_MM / spacing_mm[1])), max(1, round(SKIN_MM / spacing_mm[2])))
    count = sum(_metal_within(plane, (box[1], box[2]), reach) for plane in hu[box[0]])
    return count * float(np.prod(spacing_mm)) / 1000


def _metal_within(plane: Hu, box: tuple[slice, slice], reach: tuple[int, int]) -> int:
    """Pixels of metal in the box of a slice with little air around them."""
    rows, columns = np.nonzero(plane[box] >= METAL_HU)
    rows, columns = rows + box[0].start, columns + box[1].start
    if not rows.size:
        return 0
    sums = np.zeros((plane.shape[0] + 1, plane.shape[1] + 1))
    sums[1:, 1:] = (plane < AIR_HU).cumsum(axis=0).cumsum(axis=1)
    top, bottom = np.maximum(rows - reach[0], 0), np.minimum(rows + reach[0] + 1, plane.shape[0])
    left, right = np.maximum(columns - reach[1], 0), np.minimum(columns + reach[1] + 1, plane.shape[1])
    air = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return int(np.count_nonzero(air <= MOST_AIR_AROUND * (bottom - top) * (right - left)))


def _middle(sides: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What lies between both lungs of a slice, before the spine."""
    lung = sides > 0
    rows = np.flatnonzero(lung.any(axis=1))
    between = np.zeros_like(lung)
    if rows.size:
        after = np.maximum.accumulate(lung, axis=1)
        before = np.maximum.accumulate(lung[:, ::-1], axis=1)[:, ::-1]
        between = after & before & ~lung
        between[int(rows[0] + FRONT_SHARE * (rows[-1] - rows[0])) :] = False
    return between


def _block_means(hu: Hu, inside: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.float32]:
    """Means of the blocks of a slice that lie wholly inside."""
    height, width = hu.shape[0] // rows, hu.shape[1] // columns

    def blocks(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        cut = plane[: height * rows, : width * columns].reshape(height, rows, width, columns)
        mean: NDArray[np.float32] = cut.mean(axis=(1, 3))
        return mean

    whole = blocks(inside.astype(np.float32)) >= 1.0
    return blocks(hu.astype(np.float32))[whole]

"""Trachea and main bronchi: a chain of round air spots between the lungs, then region growing.

The growing follows Mori et al. (IEEE Trans Med Imaging 2000;19:103-114): the highest threshold whose region
has not yet burst through a bronchial wall into the lung.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.segment.morphology import IN_PLANE, Mask, Spacing, bounding_box

# Tracheal cross-section in mm2: adults 100 to 600, children from 30; Breatnach et al., AJR 1984;142:903-906.
SMALLEST_TRACHEA_MM2 = 25.0
LARGEST_TRACHEA_MM2 = 900.0
FARTHEST_FROM_MIDLINE_MM = 40.0
ABOVE_APEX_MM = 40.0
UPPER_SHARE_OF_LUNG = 0.5
SHORTEST_CHAIN_MM = 15.0
# Trachea, main and lobar bronchi hold 30 to 70 mL; a region beyond that, or a jump by a step, has leaked.
LARGEST_TREE_ML = 80.0
LARGEST_STEP_ML = 25.0
THRESHOLD_STEP_HU = 20.0


def find_airways(
    hu: NDArray[np.float32],
    air: Mask,
    lungs: Mask,
    midline: float,
    gas_hu: float,
    border_hu: float,
    spacing_mm: Spacing,
) -> Mask:
    """Lumen of the trachea and the bronchi that grow from it; empty if there is no trachea.

    Parameters
    ----------
    hu, air:
        Coarse grid (superior, posterior, left), HU and the air inside the body.
    lungs:
        Seeds of both lungs.
    midline:
        Column of the body's middle.
    gas_hu, border_hu:
        Density of free gas, and of the border between air and tissue.
    spacing_mm:
        Spacing of the grid.
    """
    trachea = _trachea(hu, air, lungs, midline, border_hu, spacing_mm)
    if not trachea.any():
        return trachea
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    top = int(np.flatnonzero(trachea.any(axis=(1, 2)))[-1]) + 1
    region = np.zeros_like(air)
    region[:top] = air[:top]
    box = bounding_box(region, 0.0, spacing_mm)
    values, inside, seed = hu[box], region[box], trachea[box]
    grown = seed
    volume = float(seed.sum()) * voxel_ml
    for threshold in np.arange(gas_hu + THRESHOLD_STEP_HU, border_hu, THRESHOLD_STEP_HU):
        labels, _ = ndimage.label((inside & (values < threshold)) | seed)
        hit = np.unique(labels[seed])
        candidate = np.isin(labels, hit[hit > 0])
        candidate_ml = float(candidate.sum()) * voxel_ml
        if candidate_ml > LARGEST_TREE_ML or candidate_ml - volume > LARGEST_STEP_ML:
            break
        grown, volume = candidate, candidate_ml
    out = np.zeros_like(air)
    out[box] = grown
    return out


def _trachea(
    hu: NDArray[np.float32], air: Mask, lungs: Mask, midline: float, border_hu: float, spacing_mm: Spacing
) -> Mask:
    """The longest vertical chain of trachea-sized round spots near the midline, from mid-lung upwards."""
    levels = np.flatnonzero(lungs.any(axis=(1, 2)))
    none = np.zeros_like(air)
    if levels.size == 0:
        return none
    low = int(levels[0] + UPPER_SHARE_OF_LUNG * (levels[-1] - levels[0]))
    high = min(len(air), int(levels[-1] + ABOVE_APEX_MM / spacing_mm[0]) + 1)
    lumen = air[low:high] & (hu[low:high] < border_hu - 200)
    labels, count = ndimage.label(lumen, structure=IN_PLANE)
    if count == 0:
        return none
    pixel_mm2 = spacing_mm[1] * spacing_mm[2]
    sizes = np.bincount(labels.ravel())
    keep = np.zeros(count + 1, bool)
    for k, (_, y, x) in enumerate(ndimage.find_objects(labels), start=1):
        area = sizes[k] * pixel_mm2
        height, width = (y.stop - y.start) * spacing_mm[1], (x.stop - x.start) * spacing_mm[2]
        off = abs((x.start + x.stop - 1) / 2 - midline) * spacing_mm[2]
        round_enough = area > 0.45 * height * width and max(height, width) < 2.5 * min(height, width)
        sized = SMALLEST_TRACHEA_MM2 <= area <= LARGEST_TRACHEA_MM2
        keep[k] = sized and round_enough and off < FARTHEST_FROM_MIDLINE_MM
    chains, chain_count = ndimage.label(keep[labels])
    if chain_count == 0:
        return none
    chain_sizes = np.bincount(chains.ravel())
    lengths = [(z.stop - z.start) * spacing_mm[0] for z, _, _ in ndimage.find_objects(chains)]
    best = max(range(chain_count), key=lambda k: (lengths[k] * chain_sizes[k + 1], -k))
    if lengths[best] < SHORTEST_CHAIN_MM:
        return none
    none[low:high] = chains == best + 1
    return none

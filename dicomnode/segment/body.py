"""The patient apart from air, table and blankets, and the densities that tell gas, lung and tissue apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.segment.morphology import IN_PLANE, Mask, Spacing, grow, largest_component, open_

TISSUE_HU = -400.0
# The table's shell and a blanket's folds are thinner than this; the thoracic wall is thicker.
TABLE_MM = 3.0
WALL_MM = 12.0
NOMINAL_GAS_HU = -1000.0
NOMINAL_LUNG_HU = -850.0
NOMINAL_TISSUE_HU = 20.0
# Where the border between lung and tissue may lie; outside of it the histogram has been misread.
BORDER_RANGE_HU = (-550.0, -350.0)
GAS_SHARE = 0.3
DENSITY_STEP_HU = 10.0


@dataclass(frozen=True)
class Densities:
    """Typical HU of free gas, aerated lung and soft tissue in one volume."""

    gas_hu: float
    lung_hu: float
    tissue_hu: float

    @property
    def border_hu(self) -> float:
        """Half-way between lung and tissue: there the border of a blurred edge lies at its true place."""
        return float(np.clip((self.lung_hu + self.tissue_hu) / 2, *BORDER_RANGE_HU))

    @property
    def gas_border_hu(self) -> float:
        """Below this mean HU air is free gas; nearer to gas than to lung, for emphysema lies between them."""
        return self.gas_hu + GAS_SHARE * (self.lung_hu - self.gas_hu)


def find_body(hu: NDArray[np.float32], spacing_mm: Spacing) -> Mask:
    """The patient's trunk with all that it encloses in its axial slices, gas and lungs included.

    Parameters
    ----------
    hu:
        Array (superior, posterior, left) in HU.
    spacing_mm:
        Its spacing.
    """
    dense = hu > TISSUE_HU
    tissue = largest_component(open_(dense, TABLE_MM, spacing_mm))
    if not tissue.any():
        return tissue
    # The opening takes thin stretches of the thoracic wall; what hangs on the trunk closely is its own.
    for _ in range(max(1, round(WALL_MM / min(spacing_mm)))):
        tissue = grow(tissue) & dense
    return ~outside_in_plane(~tissue)


def outside_in_plane(air: Mask) -> Mask:
    """The part of ``air`` that reaches the image's edge within its own axial slice."""
    labels, count = ndimage.label(air, structure=IN_PLANE)
    touches = np.zeros(count + 1, bool)
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        touches[np.unique(edge)] = True
    touches[0] = False
    return np.asarray(touches[labels])


def measure_densities(hu: NDArray[np.float32], body: Mask) -> Densities:
    """Densities from the volume itself: iterative thresholding (Ridler and Calvard 1978) inside the body.

    The lung class is taken by its median above the densities of free gas, so that a full stomach does not
    pull it down, and the tissue class without bone. Steps of 10 HU: slices without lung, a few more or less
    of the abdomen, then change nothing.
    """
    outside = hu[~body & (hu > -1023.5) & (hu < -950)]
    gas = float(np.median(outside)) if outside.size > 100 else NOMINAL_GAS_HU
    gas = float(np.clip(gas, -1024.0, -970.0))
    inside = hu[body]
    soft = inside[(inside > -200) & (inside < 200)]
    tissue = float(np.median(soft)) if soft.size else NOMINAL_TISSUE_HU
    lung, border = NOMINAL_LUNG_HU, (NOMINAL_LUNG_HU + tissue) / 2
    for _ in range(20):
        aerated = inside[(inside > gas + 30) & (inside < border)]
        if aerated.size < 100:
            break
        lung = float(np.clip(np.median(aerated), -930.0, -650.0))
        moved = (lung + tissue) / 2
        if abs(moved - border) < 1:
            break
        border = moved
    return Densities(_in_steps(gas), _in_steps(lung), _in_steps(tissue))


def _in_steps(hu: float) -> float:
    return DENSITY_STEP_HU * round(hu / DENSITY_STEP_HU)


def mean_density_of_air(hu: NDArray[np.float32], air: Mask) -> NDArray[np.float32]:
    """Mean HU over each air voxel's 3 x 3 x 3 neighbours that are air too: less noise, no walls."""
    count = ndimage.uniform_filter(air.astype(np.float32), 3, mode="nearest")
    total = ndimage.uniform_filter(np.where(air, hu, np.float32(0)), 3, mode="nearest")
    mean = np.divide(total, count, out=np.zeros_like(total), where=air & (count > 0))
    return np.where(air, mean, hu)

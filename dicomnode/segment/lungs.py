"""Both lungs by adaptive thresholding and morphology, as COVID-Lesion Net finds them (Pan et al. 2020).

A network, where there is one, says which airless parts belong to them (:mod:`dicomnode.segment.lung_merge`).

What counts as lung: all inside the pleura, with vessels, small airways and airless (consolidated) parts;
without trachea, main bronchi and the great vessels of hilum and mediastinum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.assemble.refusal import SeriesRefusedError
from dicomnode.segment.airspaces import Airspaces, find_airspaces
from dicomnode.segment.airways import find_airways
from dicomnode.segment.body import Densities, find_body, measure_densities
from dicomnode.segment.consolidation import BONE_HU, airless_lung
from dicomnode.segment.coverage import refuse_truncated_ends, refuse_truncated_field, refuse_without_lungs
from dicomnode.segment.grid import WorkGrid
from dicomnode.segment.lung_merge import compare
from dicomnode.segment.lung_network import LungNetwork
from dicomnode.segment.morphology import (
    Mask,
    bounding_box,
    close,
    dilate,
    fill_holes,
    flood,
    grow,
    open_,
    shrink,
)
from dicomnode.segment.segmentation import QualityFlag, Side

_GAS, _AIRWAY = 3, 4
# Above the lung's density by these, in turn: flooding reaches the densest sheets last.
FLOOD_STEPS_HU = (50.0, 150.0, 250.0)
# Vessels thinner than twice this are closed over; hilar vessels are thicker.
CLOSING_MM = 3.5
# Corners between airless lung, put back block by block, and aerated lung are closed over more widely.
AIRLESS_CLOSING_MM = 8.0
AIRLESS_CORE_MM = 5.0
# A lung without any air touches no aerated one: what is thicker than twice this goes to its side.
AIRLESS_ALONE_MM = 10.0
# Wider bronchi are no lung: main bronchi measure 10 to 16 mm, lobar ones 8 to 12, segmental 4 to 7.
WIDE_AIRWAY_RADIUS_MM = 3.5
AIRWAY_WALL_MM = 1.5
# Airless lung is put back by extrapolation: from this share on a reader should look at the border.
LARGE_AIRLESS_SHARE = 0.10
# Coarse slices drawn at once at full resolution: keeps memory flat.
SLAB = 16

Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class LungMasks:
    """The lungs on the volume's grid.

    Parameters
    ----------
    sides:
        uint8 array (superior, posterior, left) with the values of :class:`Side`.
    flags:
        What a reader must know.

    Raises
    ------
    ValueError
        If ``sides`` is no 3D uint8 map of sides.
    """

    sides: NDArray[np.uint8]
    flags: tuple[QualityFlag, ...]

    def __post_init__(self) -> None:
        if self.sides.ndim != 3 or self.sides.dtype != np.uint8:
            raise ValueError(
                f"LungMasks.sides must be a 3D uint8 array, got {self.sides.ndim}D {self.sides.dtype}"
            )
        if self.sides.size and int(self.sides.max()) > max(Side):
            raise ValueError(
                f"LungMasks.sides has the value {int(self.sides.max())}, known are 0 to {max(Side)}"
            )


def find_lungs(
    hu: NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    progress: Progress | None = None,
    network: LungNetwork | None = None,
) -> LungMasks:
    """Find both lungs in a chest CT.

    Parameters
    ----------
    hu:
        int16 array in HU with axes (superior, posterior, left): slices from feet to head, rows from front to
        back, columns from the patient's right to left.
    spacing_mm:
        Distance of voxel centres along these axes in mm.
    progress:
        Called with the share done, from 0 to 1.
    network:
        Says what airless lung is; without it that is extrapolated from the aerated lungs' shape.

    Raises
    ------
    SeriesRefusedError
        NO_LUNG where there is no lung, TRUNCATED_LUNG where the scan does not hold all of it.
    ValueError
        If ``hu`` is not 3D int16 or the spacing not positive.
    """
    if hu.ndim != 3 or hu.dtype != np.int16 or 0 in hu.shape:
        raise ValueError(f"find_lungs needs a filled 3D int16 array, got {hu.dtype} of shape {hu.shape}")
    if not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise ValueError(f"find_lungs needs three positive spacings in mm, got {spacing_mm}")
    report = progress or (lambda _: None)
    shape = (hu.shape[0], hu.shape[1], hu.shape[2])
    grid = WorkGrid.for_volume(shape, spacing_mm)
    coarse = grid.block_mean(hu)
    report(0.1)
    body = find_body(coarse, grid.spacing_mm)
    densities = measure_densities(coarse, body)
    spaces = find_airspaces(coarse, body, densities, grid.spacing_mm)
    report(0.4)
    try:
        refuse_without_lungs(spaces.sides > 0, body, spaces.density, grid.spacing_mm)
    except SeriesRefusedError:
        # A field of view within the lungs leaves none whole: say that rather than "no lung".
        refuse_truncated_field(coarse, body, np.zeros_like(body), densities, grid.spacing_mm)
        raise
    found = _flood_lungs(coarse, spaces, densities, grid)
    aerated = np.where(found <= Side.LEFT, found, np.uint8(Side.NONE))
    flags = _refuse_or_flag(aerated, coarse, body, spaces, densities, grid)
    report(0.6)
    closed = _closed_over(aerated, grid)
    airless = airless_lung(closed, coarse, spaces.midline, grid.spacing_mm)
    sides = _with_airless_parts(found, closed, airless, coarse, grid)
    report(0.7)
    if network is not None:
        sides, disagree = _as_the_network_sees(network, found, closed, sides, coarse, body, spaces, grid)
        flags += [QualityFlag.LUNGS_DISAGREE] if disagree else []
    report(0.8)
    airless_share = 1 - float((aerated > 0).sum()) / max(1.0, float((sides > 0).sum()))
    if airless_share > LARGE_AIRLESS_SHARE:
        flags.append(QualityFlag.LUNGS_UNCERTAIN)
    full = _draw(hu, sides, aerated, spaces.air, densities.border_hu, grid)
    report(1.0)
    return LungMasks(full, tuple(flags))


def _flood_lungs(
    coarse: NDArray[np.float32], spaces: Airspaces, densities: Densities, grid: WorkGrid
) -> NDArray[np.uint8]:
    """Share the air out among right lung, left lung, bowel gas and airways by flooding from their seeds."""
    airway = find_airways(
        coarse,
        spaces.air,
        spaces.sides > 0,
        spaces.midline,
        densities.gas_hu,
        densities.border_hu,
        grid.spacing_mm,
    )
    seeds = spaces.sides.copy()
    seeds[spaces.gas] = _GAS
    seeds[airway] = _AIRWAY
    levels = [densities.lung_hu + step for step in FLOOD_STEPS_HU]
    levels = [level for level in levels if level < densities.border_hu] + [densities.border_hu]
    return flood(seeds, [spaces.air & (coarse < level) for level in levels])


def _refuse_or_flag(
    aerated: NDArray[np.uint8],
    coarse: NDArray[np.float32],
    body: Mask,
    spaces: Airspaces,
    densities: Densities,
    grid: WorkGrid,
) -> list[QualityFlag]:
    flags = []
    if refuse_truncated_ends(aerated, grid.spacing_mm):
        flags.append(QualityFlag.LUNG_EDGE_CUT)
    refuse_truncated_field(coarse, body, aerated > 0, densities, grid.spacing_mm)
    if spaces.forced:
        flags.append(QualityFlag.SIDES_TOUCH)
    if not all((aerated == side).any() for side in (Side.RIGHT, Side.LEFT)):
        flags.append(QualityFlag.ONE_LUNG)
    return flags


def _closed_over(aerated: NDArray[np.uint8], grid: WorkGrid) -> NDArray[np.uint8]:
    """Each aerated lung with its vessels and holes filled."""
    closed = aerated.copy()
    for side in (Side.RIGHT, Side.LEFT):
        filled = fill_holes(close(aerated == side, CLOSING_MM, grid.spacing_mm))
        closed[filled & (closed == Side.NONE)] = side
    return closed


def _with_airless_parts(
    found: NDArray[np.uint8],
    closed: NDArray[np.uint8],
    airless: Mask,
    coarse: NDArray[np.float32],
    grid: WorkGrid,
) -> NDArray[np.uint8]:
    """Give consolidation to the lung it touches, close over its corners, take the wide airways out."""
    spacing = grid.spacing_mm
    sides = flood(closed, [airless])
    around = dilate(open_(airless, AIRLESS_CORE_MM, spacing), AIRLESS_CLOSING_MM, spacing)
    around &= coarse < BONE_HU
    for side in (Side.RIGHT, Side.LEFT):
        corners = close(sides == side, AIRLESS_CLOSING_MM, spacing) & around
        sides[corners & (sides == Side.NONE)] = side
    sides[_no_lung(found, grid)] = Side.NONE
    return sides


def _no_lung(found: NDArray[np.uint8], grid: WorkGrid) -> Mask:
    """Wide airways with their walls, and gas of the bowel."""
    wide = open_(found == _AIRWAY, WIDE_AIRWAY_RADIUS_MM, grid.spacing_mm)
    return dilate(wide, AIRWAY_WALL_MM, grid.spacing_mm) | (found == _GAS)


def _as_the_network_sees(
    network: LungNetwork,
    found: NDArray[np.uint8],
    closed: NDArray[np.uint8],
    classical: NDArray[np.uint8],
    coarse: NDArray[np.float32],
    body: Mask,
    spaces: Airspaces,
    grid: WorkGrid,
) -> tuple[NDArray[np.uint8], bool]:
    """The lungs with the network's airless parts, and whether the two methods disagree by too much."""
    rules, no_lung = network.card.rules, _no_lung(found, grid)
    probability = network.probability(coarse, body, grid.spacing_mm)
    view = compare(probability, classical > 0, closed > 0, no_lung, coarse, grid.spacing_mm, rules)
    if not view.usable:
        return classical, True
    sides = _with_airless_parts(found, closed, view.airless, coarse, grid)
    apart = open_(view.airless & (sides == Side.NONE), AIRLESS_ALONE_MM, grid.spacing_mm) & ~no_lung
    right = np.arange(grid.shape[2]) < spaces.midline
    sides[apart] = np.broadcast_to(np.where(right, Side.RIGHT, Side.LEFT).astype(np.uint8), sides.shape)[
        apart
    ]
    return sides, view.disagreement > rules.largest_disagreement


def _draw(
    hu: NDArray[np.int16],
    sides: NDArray[np.uint8],
    aerated: NDArray[np.uint8],
    air: Mask,
    border_hu: float,
    grid: WorkGrid,
) -> NDArray[np.uint8]:
    """Draw the border at full resolution: by density along aerated lung, smoothly along airless lung."""
    out = np.zeros(grid.full_shape, np.uint8)
    lung = sides > 0
    core = shrink(lung, cube=True)
    reach = grow(lung, cube=True) & ~(air & ~lung)
    airless = grow(lung & (aerated == 0), cube=True) & reach & ~core
    owner = flood(sides, [reach, grow(reach, cube=True)])
    box = bounding_box(lung, 2 * max(grid.spacing_mm), grid.spacing_mm)
    for start in range(box[0].start, box[0].stop, SLAB):
        slab = (slice(start, min(start + SLAB, box[0].stop)), box[1], box[2])
        target = grid.full_slices(slab)
        inside = grid.enlarge(reach, slab) & (hu[target] < border_hu)
        inside |= grid.enlarge(core, slab)
        if airless[slab].any():
            inside |= grid.enlarge(airless, slab) & grid.enlarge_smooth(lung, slab)
        out[target] = grid.enlarge(owner, slab) * inside
    return out

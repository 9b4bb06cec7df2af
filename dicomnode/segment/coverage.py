"""Whether the volume shows lungs at all, and all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.segment.body import Densities
from dicomnode.segment.grid import LOWEST_HU
from dicomnode.segment.morphology import IN_PLANE, Mask, Spacing, grow, shrink
from dicomnode.segment.segmentation import Side

# Seeds of lungs fill 17 to 39 % of the body at their widest in real chests, one lung half of that; pharynx
# and sinuses 1 %.
SMALLEST_SHARE_OF_BODY = 0.05
# Aerated lung is lighter even with ground glass; stool mixed with gas is denser.
DENSEST_LUNG_HU = -500.0
# Typical even of severe emphysema; a lighter space is free gas, of the stomach where no lung is in sight.
LIGHTEST_LUNG_HU = -945.0
SMALLEST_LUNGS_ML = 60.0
# A lung that ends with this share of its widest section would go on for about 1 to 2 % of its volume.
LARGEST_END_SHARE = 0.15
# Less than this in the end slice is the last recess of a lung that is there completely.
HARMLESS_END_SHARE = 0.01
# Lung beyond the lateral field of view: this share of both lungs falsifies every percentage.
LARGEST_LATERAL_SHARE = 0.01
# Foam and blankets at the edge of the field stay below this; a chest that fills the field shows more lung.
LARGE_SHARE_OF_FIELD = 0.20
LIGHTEST_AGAINST_FOAM_HU = -900.0
# Wide enough to meet lung behind the blur of a chest wall that the edge of the field pierces.
EDGE_VOXELS = 4
NO_LUNG_ACTION = "Send a chest CT that shows the lungs from apex to base."


def refuse_without_lungs(seeds: Mask, body: Mask, density: NDArray[np.float32], spacing_mm: Spacing) -> None:
    """Raise NO_LUNG unless the lung-like space is as large as lungs are in a chest.

    Raises
    ------
    SeriesRefusedError
        With :attr:`RefusalReason.NO_LUNG`.
    """
    volume_ml = float(seeds.sum()) * float(np.prod(spacing_mm)) / 1000.0
    lung_area = seeds.sum(axis=(1, 2)).astype(float)
    body_area = body.sum(axis=(1, 2)).astype(float)
    share = float(
        np.divide(lung_area, body_area, out=np.zeros_like(lung_area), where=body_area > 0).max(initial=0)
    )
    typical = float(np.median(density[seeds])) if seeds.any() else 0.0
    lung_like = LIGHTEST_LUNG_HU <= typical <= DENSEST_LUNG_HU
    if not lung_like or volume_ml < SMALLEST_LUNGS_ML or share < SMALLEST_SHARE_OF_BODY:
        raise SeriesRefusedError(
            RefusalReason.NO_LUNG,
            f"lung-like space of {volume_ml:.0f} mL of {typical:.0f} HU fills up to {100 * share:.0f} % of a "
            f"slice of the body; lungs fill more than {100 * SMALLEST_SHARE_OF_BODY:.0f} % with "
            f"{LIGHTEST_LUNG_HU:.0f} to {DENSEST_LUNG_HU:.0f} HU. {NO_LUNG_ACTION}",
        )


def refuse_truncated_ends(sides: NDArray[np.uint8], spacing_mm: Spacing) -> bool:
    """Refuse lungs that the first or last slice cuts; True if an end is cut so little that a flag is enough.

    Raises
    ------
    SeriesRefusedError
        With :attr:`RefusalReason.TRUNCATED_LUNG`.
    """
    touched = False
    pixel_cm2 = spacing_mm[1] * spacing_mm[2] / 100.0
    for side in (Side.RIGHT, Side.LEFT):
        area = (sides == side).sum(axis=(1, 2))
        widest = int(area.max(initial=0))
        if widest == 0:
            continue
        for index, end, missing in ((0, "lowest", "base"), (-1, "highest", "apex")):
            share = float(area[index]) / widest
            if share > LARGEST_END_SHARE:
                raise SeriesRefusedError(
                    RefusalReason.TRUNCATED_LUNG,
                    f"the {side.name.lower()} lung still covers {area[index] * pixel_cm2:.0f} cm2 in the "
                    f"{end} slice, {100 * share:.0f} % of its widest section: its {missing} is missing. "
                    "Scan or send the whole lung.",
                )
            touched = touched or share > HARMLESS_END_SHARE
    return touched


def refuse_truncated_field(
    hu: NDArray[np.float32], body: Mask, lungs: Mask, densities: Densities, spacing_mm: Spacing
) -> None:
    """Refuse lungs that run out of the lateral field of view.

    ``lungs`` may be empty: then lung-like tissue at the edge of the field alone tells a chest that is cut all
    around (a cardiac field of view) from a volume without lungs, on which nothing is raised.

    Raises
    ------
    SeriesRefusedError
        With :attr:`RefusalReason.TRUNCATED_LUNG`.
    """
    lightest = densities.gas_border_hu if lungs.any() else LIGHTEST_AGAINST_FOAM_HU
    lung_like = ~body & (hu > lightest) & (hu < densities.border_hu)
    lung_like &= grow(shrink(lung_like))
    edge = _field_edge(hu)
    labels, count = ndimage.label(lung_like)
    if count == 0:
        return
    at_edge = np.zeros(count + 1, bool)
    at_edge[np.unique(labels[edge])] = True
    at_edge[0] = False
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    if lungs.any():
        beside = np.zeros(count + 1, bool)
        beside[np.unique(labels[grow(lungs)])] = True
        cut_ml = float(np.isin(labels, np.flatnonzero(at_edge & beside)).sum()) * voxel_ml
        limit_ml = LARGEST_LATERAL_SHARE * float(lungs.sum()) * voxel_ml
    else:
        cut = at_edge[labels]
        cut_ml = float(cut.sum()) * voxel_ml
        share = float((cut.sum(axis=(1, 2)) / np.maximum((hu > LOWEST_HU + 0.5).sum(axis=(1, 2)), 1)).max())
        limit_ml = SMALLEST_LUNGS_ML if share > LARGE_SHARE_OF_FIELD else np.inf
    if cut_ml > limit_ml:
        raise SeriesRefusedError(
            RefusalReason.TRUNCATED_LUNG,
            f"at least {cut_ml:.0f} mL of lung lie where the lateral field of view cuts the chest. "
            "Send a reconstruction with a larger field of view.",
        )


def _field_edge(hu: NDArray[np.float32]) -> Mask:
    """Voxels within ``EDGE_VOXELS`` of the image's edge or of the padding outside a round field of view."""
    padding = hu <= LOWEST_HU + 0.5
    edge = ndimage.binary_erosion(padding, structure=IN_PLANE, iterations=2, border_value=1)
    edge = ndimage.binary_dilation(edge, structure=IN_PLANE, iterations=2)
    edge[:, 0] = edge[:, -1] = True
    edge[:, :, 0] = edge[:, :, -1] = True
    return np.asarray(ndimage.binary_dilation(edge, structure=IN_PLANE, iterations=EDGE_VOXELS))

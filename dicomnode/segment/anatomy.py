"""What follows from the masks by geometry: the 20 regions, the separate lesions and their depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.assemble.orientation import AxisOrder
from dicomnode.segment.regions20 import Spacing, find_regions
from dicomnode.segment.segmentation import Anatomy, Label, Segmentation, SeparateLesions, Side

DEPTH_LATTICE_MM = 2.0
"""Depth is found on about so fine a lattice: distances are good to 3 mm, on the mean to half a mm."""

OUTER_SHARE = 1 / 3
"""The periphery: the third of a lung's volume that lies nearest to its surface."""

TOUCHING = np.ones((3, 3, 3), np.bool_)
"""Voxels that share a face, an edge or a corner belong together: 26-connected."""

LUNGS = (Side.RIGHT, Side.LEFT)
Box = tuple[slice, ...]


def find_anatomy(segmentation: Segmentation, affine: NDArray[np.float64]) -> Anatomy:
    """Regions, separate lesions and their depth.

    All is found along the patient's axes, so that it doesn't depend on how the slices are stored.

    Parameters
    ----------
    segmentation:
        The masks.
    affine:
        4 x 4, index x, y, z to patient mm (LPS).
    """
    order = AxisOrder.from_affine(affine)
    x_mm, y_mm, z_mm = (float(mm) for mm in np.linalg.norm(affine[:3, :3], axis=0))
    spacing_mm = order.patient_spacing((z_mm, y_mm, x_mm))
    stored_box = _wider(segmentation, (z_mm, y_mm, x_mm))
    labels, sides, lobes = (
        order.to_patient(stored[stored_box])
        for stored in (segmentation.labels, segmentation.sides, segmentation.lobes)
    )
    regions = np.zeros(segmentation.labels.shape, np.uint8)
    regions[stored_box] = order.from_patient(find_regions(lobes, spacing_mm))
    lesion = (labels == Label.GROUND_GLASS) | (labels == Label.CONSOLIDATION)
    found = [
        _lesions_of_lung(lesion, sides, side, box, spacing_mm)
        for side, box in zip(LUNGS, ndimage.find_objects(sides, max_label=len(LUNGS)), strict=True)
        if box is not None
    ]
    places, numbers = _numbered(found)
    return Anatomy(
        regions,
        SeparateLesions(
            _stored(places, order, sides.shape, stored_box, segmentation.labels.shape),
            numbers,
            np.concatenate([np.zeros(0, np.float32), *(lung.depth_mm for lung in found)]),
            np.concatenate([np.zeros(0, np.float32), *(lung.outer for lung in found)]),
        ),
        affine,
    )


def _wider(segmentation: Segmentation, spacing_mm: Spacing) -> Box:
    """The lungs' box and a step of the depth's lattice around it, within the map."""
    steps = _steps(spacing_mm)
    return tuple(
        slice(max(0, part.start - step), part.stop + step)
        for part, step in zip(segmentation.box, steps, strict=True)
    )


def _steps(spacing_mm: Spacing) -> list[int]:
    """Voxels from one point of the depth's lattice to the next."""
    return [max(1, round(DEPTH_LATTICE_MM / mm)) for mm in spacing_mm]


@dataclass(frozen=True, eq=False)
class _LungLesions:
    """Lesion voxels of one lung: patient coordinates (n, 3), lesion, depth, share in the outer third."""

    places: NDArray[np.int64]
    labels: NDArray[np.int32]
    depth_mm: NDArray[np.float32]
    outer: NDArray[np.float32]


def _lesions_of_lung(
    lesion: NDArray[np.bool_], sides: NDArray[np.uint8], side: Side, box: Box, spacing_mm: Spacing
) -> _LungLesions:
    labels, _ = ndimage.label(lesion[box] & (sides[box] == side), TOUCHING)
    inside = np.argwhere(labels)
    corner = np.array([part.start for part in box])
    depth_mm, outer = _depth(sides, side, box, spacing_mm, inside + corner)
    return _LungLesions(inside + corner, labels[tuple(inside.T)], depth_mm, outer)


def _depth(
    sides: NDArray[np.uint8], side: Side, box: Box, spacing_mm: Spacing, places: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Depth in mm and share in the outer third at voxels (n, 3) of a lung.

    Both are those of the nearest point of a lattice of voxels, which reaches beyond the lung's box where the
    scan does: where it ends within the lung there is no surface. The surface lies half a step before the
    nearest point outside.
    """
    steps = np.array(_steps(spacing_mm))
    starts = np.array([part.start for part in box])
    starts -= np.where(starts >= steps, steps, 0)
    lattice = (
        sides[
            tuple(
                slice(start, part.stop + step, step)
                for start, part, step in zip(starts, box, steps, strict=True)
            )
        ]
        == side
    )
    points_mm = steps * np.array(spacing_mm)
    if lattice.all():
        depth = np.full(lattice.shape, np.inf, np.float32)
    else:
        depth = ndimage.distance_transform_edt(lattice, sampling=points_mm).astype(np.float32)
        depth = np.maximum(depth - np.float32(points_mm.min() / 2), 0)
    nearest = np.minimum((places - starts + steps // 2) // steps, np.array(lattice.shape) - 1)
    at = depth[tuple(nearest.T)]
    return at, _outer_share(depth[lattice], at)


def _outer_share(lung: NDArray[np.float32], at: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share in the outer third of points of depth ``at``, from the depths of all points of the lung.

    Points of one depth are alike: where the third ends among them, each belongs to it in part, so that the
    whole lung has exactly a third.
    """
    depths, counts = np.unique(lung, return_counts=True)
    if not depths.size:
        return np.full(at.shape, OUTER_SHARE, np.float32)
    before = np.cumsum(counts) - counts
    shares = np.clip((OUTER_SHARE * lung.size - before) / counts, 0, 1).astype(np.float32)
    which = np.minimum(np.searchsorted(depths, at), len(depths) - 1)
    return shares[which]


def _numbered(lungs: Sequence[_LungLesions]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Places of the lesion voxels of both lungs, and their lesions numbered by size."""
    places = np.concatenate([np.zeros((0, 3), np.int64), *(lung.places for lung in lungs)])
    labels, known = [np.zeros(0, np.int32)], 0
    for lung in lungs:
        labels.append(lung.labels + known)
        known += int(lung.labels.max(initial=0))
    label = np.concatenate(labels)
    sizes = np.bincount(label, minlength=known + 1)[1:]
    rank = np.zeros(known + 1, np.int32)
    rank[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, known + 1)
    return places, rank[label]


def _stored(
    places: NDArray[np.int64],
    order: AxisOrder,
    patient_shape: tuple[int, ...],
    box: Box,
    shape: tuple[int, ...],
) -> NDArray[np.int64]:
    """Flat index into a stored map of ``shape`` of voxels (n, 3) of its ``box`` seen in patient order."""
    stored = [np.zeros(0, np.int64)] * 3
    for axis, size in enumerate(patient_shape):
        along = size - 1 - places[:, axis] if axis in order.flips else places[:, axis]
        stored[order.axes[axis]] = along + box[order.axes[axis]].start
    return np.ravel_multi_index(tuple(stored), shape).astype(np.int64)

"""One lung's shape as a network sees it: in its own box, the left one mirrored; for training and the node.

Arrays are (superior, posterior, left), positions and lengths in mm along these axes from the array's corner.
A left lung is mirrored, so that in every shape the first column is lateral and the last one medial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from dicomnode.segment.segmentation import Lobe, Side

T = TypeVar("T", bound=np.generic)
Shape3 = tuple[int, int, int]
Spacing = tuple[float, float, float]

PARTS = {
    Side.RIGHT: (Lobe.RIGHT_UPPER, Lobe.RIGHT_MIDDLE, Lobe.RIGHT_LOWER),
    Side.LEFT: (Lobe.LEFT_UPPER, Lobe.NONE, Lobe.LEFT_LOWER),
}
"""The lobe that each output channel (upper, middle, lower) stands for."""

LATTICE_MM = 4.0
"""Shapes are looked at on a lattice of about this spacing."""

CLOSING_MM = 6.0
"""Gaps up to twice this, such as vessels and fissures in a mask, are closed: they must not tell the lobes."""

TAIL = 0.005
"""Share of the lung beyond each face of the box before its margin: specks must not move the box."""

MARGIN = 0.12
"""Margin at each face as a share of the box's length."""

CHANNELS = 8
"""Lung, position along three axes, length of the box along three axes, side."""

ABSENT = -1e4
"""Added to the logits of a lobe that a lung doesn't have."""

TYPICAL_LENGTH_MM = 200.0


@dataclass(frozen=True)
class ShapeBox:
    """Box around a lung: where it begins and how long it is, mm."""

    start_mm: Spacing
    length_mm: Spacing


def lattice(mask: NDArray[T], spacing_mm: Spacing) -> tuple[NDArray[T], Spacing]:
    """Every nth voxel of a mask or label map, and their spacing: the multiple next to ``LATTICE_MM``.

    Voxels are the middles of their blocks, so that positions stay the same to half a voxel of the mask.
    """
    steps = [max(1, round(LATTICE_MM / mm)) for mm in spacing_mm]
    picked = mask[tuple(slice(step // 2, None, step) for step in steps)]
    z, y, x = (mm * step for mm, step in zip(spacing_mm, steps, strict=True))
    return picked, (z, y, x)


def close_shape(mask: NDArray[np.bool_], spacing_mm: Spacing) -> NDArray[np.bool_]:
    """A lung without fissures, vessels and holes."""
    reach = [int(np.ceil(CLOSING_MM / mm)) + 1 for mm in spacing_mm]
    padded = np.pad(mask, [(n, n) for n in reach])
    grown = ndimage.distance_transform_edt(~padded, sampling=spacing_mm) <= CLOSING_MM
    closed = ndimage.distance_transform_edt(grown, sampling=spacing_mm) > CLOSING_MM
    inner = tuple(slice(n, -n) for n in reach)
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(closed | padded)[inner]
    return filled


def shape_box(mask: NDArray[np.bool_], spacing_mm: Spacing) -> ShapeBox:
    """Box with all but ``TAIL`` of a mask at each face, and a margin.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    start, length = [], []
    for axis, mm in enumerate(spacing_mm):
        along = mask.sum(axis=tuple(a for a in range(3) if a != axis), dtype=np.int64).astype(np.float64)
        if not along.any():
            raise ValueError("the lung is empty")
        below = np.concatenate(([0.0], np.cumsum(along) / along.sum()))
        low, high = np.interp((TAIL, 1 - TAIL), below, np.arange(len(below)) * mm)
        margin = MARGIN * (high - low)
        start.append(float(low - margin))
        length.append(float(high - low + 2 * margin))
    return ShapeBox((start[0], start[1], start[2]), (length[0], length[1], length[2]))


def to_grid(array: Tensor, spacing_mm: Spacing, box: ShapeBox, shape: Shape3) -> Tensor:
    """A float array (z, y, x) sampled linearly on the grid of a box; 0 beyond the array."""
    axes = []
    for n, mm, start, length, count in zip(
        array.shape, spacing_mm, box.start_mm, box.length_mm, shape, strict=True
    ):
        position = start + (torch.arange(count, dtype=torch.float32) + 0.5) / count * length
        axes.append(2 * position / (n * mm) - 1)
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    places = torch.stack((x, y, z), dim=-1).to(array.device)
    return F.grid_sample(array[None, None], places[None], mode="bilinear", align_corners=False)[0, 0]


def network_input(lung: Tensor, box: ShapeBox, side: Side) -> Tensor:
    """Channels (8, z, y, x) of a mirrored lung sampled on its box's grid."""
    axes = [torch.linspace(-1, 1, n, device=lung.device) for n in lung.shape]
    constants = [length / TYPICAL_LENGTH_MM - 1 for length in box.length_mm]
    constants.append(1.0 if side is Side.LEFT else -1.0)
    channels = [2 * lung - 1, *torch.meshgrid(*axes, indexing="ij")]
    channels += [torch.full_like(lung, value) for value in constants]
    return torch.stack(channels)


def without_absent(logits: Tensor, sides: list[Side]) -> Tensor:
    """Logits (batch, 3, z, y, x) with the middle lobe impossible in left lungs."""
    left = torch.tensor([side is Side.LEFT for side in sides], device=logits.device)
    absent = torch.zeros_like(logits[:, :, :1, :1, :1])
    absent[left, 1] = ABSENT
    return logits + absent

"""The five lobes from the shape of each lung: every voxel of a lung gets one lobe of its side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy import ndimage
from torch import Tensor

from dicomnode.segment.card import ModelError
from dicomnode.segment.lobe_card import LobeCard, LobeRules
from dicomnode.segment.lung_shape import (
    PARTS,
    ShapeBox,
    Spacing,
    close_shape,
    lattice,
    network_input,
    shape_box,
    to_grid,
    without_absent,
)
from dicomnode.segment.networks.factory import build_network
from dicomnode.segment.segmentation import Lobe, Side

SLAB = 8
"""Slices drawn at once: keeps memory flat."""


@dataclass(frozen=True, eq=False)
class LobeMap:
    """uint8 map with the values of :class:`Lobe`, and whether a reader should look at it."""

    lobes: NDArray[np.uint8]
    uncertain: bool


class LobeModel:
    """A trained network with its card, ready on a device.

    Parameters
    ----------
    card:
        Card as :func:`~dicomnode.segment.lobe_card.load_lobe_card` gives it: its checksum is verified.
    device:
        ``cpu``, ``cuda`` or a torch device.

    Raises
    ------
    ModelError
        If the weights don't fit the network the card names.
    """

    def __init__(self, card: LobeCard, device: str | torch.device = "cpu") -> None:
        self.card = card
        self.device = torch.device(device)
        network = build_network(card.network)
        try:
            weights = {name: tensor.float() for name, tensor in load_file(card.weights_path).items()}
            network.load_state_dict(weights)
        except (RuntimeError, SafetensorError) as error:
            raise ModelError(f"model {card.name}: the weights don't fit the network: {error}") from error
        self._network = network.eval().to(self.device)

    def find(self, sides: NDArray[np.uint8], spacing_mm: Spacing) -> LobeMap:
        """Lobes of both lungs.

        Parameters
        ----------
        sides:
            Values of :class:`Side`, axes (superior, posterior, left).
        spacing_mm:
            Spacing of those axes.
        """
        lobes = np.zeros(sides.shape, np.uint8)
        uncertain = False
        boxes = ndimage.find_objects(sides, max_label=int(max(Side)))
        for side in PARTS:
            box = boxes[side - 1]
            if box is None:
                continue
            lung = sides[box] == side
            parts, shape = self._parts(lung, spacing_mm, side)
            names = np.array([Lobe.NONE, *PARTS[side]], np.uint8)
            lobes[box] += names[parts]  # a box may hold a piece of the other lung
            uncertain |= is_uncertain(parts, shape, side, spacing_mm, self.card.rules)
        return LobeMap(lobes, uncertain)

    def _parts(
        self, lung: NDArray[np.bool_], spacing_mm: Spacing, side: Side
    ) -> tuple[NDArray[np.uint8], ShapeBox]:
        """Part of each voxel of a lung (1 upper, 2 middle, 3 lower), and the box of its shape."""
        mirror = slice(None, None, -1) if side is Side.LEFT else slice(None)
        mirrored = lung[:, :, mirror]
        coarse, coarse_mm = lattice(mirrored, spacing_mm)
        if not coarse.any():
            coarse, coarse_mm = mirrored, spacing_mm
        closed = close_shape(coarse, coarse_mm)
        box = shape_box(closed, coarse_mm)
        inside = to_grid(torch.from_numpy(closed.astype(np.float32)), coarse_mm, box, self.card.grid.shape)
        with torch.inference_mode():
            logits = self._network(network_input(inside, box, side)[None].to(self.device))
            logits = without_absent(logits.float(), [side])[0].cpu()
        parts = draw_parts(mirrored, logits, box, spacing_mm)
        join_fragments(parts)
        return parts[:, :, mirror], box


def draw_parts(
    lung: NDArray[np.bool_], logits: Tensor, box: ShapeBox, spacing_mm: Spacing
) -> NDArray[np.uint8]:
    """The strongest of the logits (3, z, y, x) on a box's grid, interpolated at each voxel of a lung."""
    z, y, x = (
        _interpolation(n, mm, start, length, count)
        for n, mm, start, length, count in zip(
            lung.shape, spacing_mm, box.start_mm, box.length_mm, logits.shape[1:], strict=True
        )
    )
    in_plane = torch.einsum("czyx,wx->czyw", logits, x)
    parts = np.zeros(lung.shape, np.uint8)
    for first in range(0, lung.shape[0], SLAB):
        chosen = slice(first, first + SLAB)
        level = torch.einsum("czyw,sz->csyw", in_plane, z[chosen])
        level = torch.einsum("csyw,hy->cshw", level, y)
        upper, middle, lower = level.numpy()
        part = np.where(lower > upper, np.uint8(3), np.uint8(1))  # much faster than argmax over channels
        part[middle > np.maximum(upper, lower)] = 2
        np.multiply(part, lung[chosen], out=parts[chosen])
    return parts


def _interpolation(count: int, spacing: float, start: float, length: float, points: int) -> Tensor:
    """Matrix (count, points) that interpolates linearly at voxel centres; constant beyond the grid."""
    place = ((torch.arange(count) + 0.5) * spacing - start) / length * points - 0.5
    place = place.clamp(0, points - 1)
    low = place.floor().long().clamp(max=max(points - 2, 0))
    matrix = torch.zeros(count, points)
    rows = torch.arange(count)
    matrix[rows, low] = 1 - (place - low)
    matrix[rows, (low + 1).clamp(max=points - 1)] += place - low
    return matrix


def join_fragments(parts: NDArray[np.uint8]) -> None:
    """Give pieces of a lobe apart from its largest to the lobe they touch most; pieces of lung stay.

    ``parts`` (z, y, x) with values 1 to 3 is changed in place.
    """
    for part, box in enumerate(ndimage.find_objects(parts, max_label=3), start=1):
        if box is None:
            continue
        labels, count = ndimage.label(parts[box] == part)
        if count < 2:
            continue
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        largest = int(sizes.argmax())
        for label, found in enumerate(ndimage.find_objects(labels), start=1):
            if label == largest or found is None:
                continue
            corner = [b.start + f.start for b, f in zip(box, found, strict=True)]
            places = np.argwhere(labels[found] == label) + corner
            votes = np.bincount(_neighbours(parts, places), minlength=4)
            votes[[0, part]] = 0
            if votes.any():
                parts[tuple(places.T)] = votes.argmax()


def _neighbours(parts: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Values beside voxels (n, 3), across faces."""
    values = []
    for axis, size in enumerate(parts.shape):
        for step in (-1, 1):
            beside = places.copy()
            beside[:, axis] = np.clip(beside[:, axis] + step, 0, size - 1)
            values.append(parts[tuple(beside.T)])
    return np.concatenate(values)


def is_uncertain(
    parts: NDArray[np.uint8], box: ShapeBox, side: Side, spacing_mm: Spacing, rules: LobeRules
) -> bool:
    """Whether a lung is too small, lacks a lobe, or is no whole lung by its height and depth."""
    counts = [
        int(np.count_nonzero(parts == part))
        for part, lobe in enumerate(PARTS[side], start=1)
        if lobe is not Lobe.NONE
    ]
    lung_ml = sum(counts) * float(np.prod(spacing_mm)) / 1000
    return (
        lung_ml < rules.smallest_lung_ml
        or min(counts) < rules.smallest_lobe_share * sum(counts)
        or not rules.lowest_shape <= box.length_mm[0] / box.length_mm[1] <= rules.highest_shape
    )

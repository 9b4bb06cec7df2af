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
    ABSENT,
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
from dicomnode.segment.runtimes.choose import AUTO, Guarded, Subject, choose_runtime
from dicomnode.segment.runtimes.runtime import FLOAT32, Choice, Runtime
from dicomnode.segment.runtimes.torch_runtime import TorchRuntime
from dicomnode.segment.segmentation import Lobe, Side

SLAB = 8
"""Slices drawn at once: keeps memory flat."""

DRAWN_LUNG_MM = (250.0, 190.0, 130.0)
"""Box of the lungs that runtimes are compared on."""


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
        self._network = network
        self._plain = TorchRuntime(network, self.device, FLOAT32)
        self._runtime: Runtime = self._plain

    @property
    def choice(self) -> Choice:
        """The runtime that runs the network, and its precision."""
        return self._runtime.choice

    def choose_runtime(self, wanted: str = AUTO) -> None:
        """Take the runtime ``wanted``; see :func:`~dicomnode.segment.runtimes.choose.choose_runtime`.

        Torch computes in float32 here unless it was measured: the network is small.
        """
        subject = Subject(self._network, self.card.weights.sha256, self.device, self._decisions, self._plain)
        self._runtime = Guarded(choose_runtime(subject, wanted), self._plain)

    def _decisions(self, runtime: Runtime) -> Tensor:
        """Where each part is the strongest, in both lungs of a drawn chest."""
        box = ShapeBox((0.0, 0.0, 0.0), DRAWN_LUNG_MM)
        z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in self.card.grid.shape), indexing="ij")
        inside = ((z / 0.8) ** 2 + (y / 0.8) ** 2 + ((x - 0.8) / 1.6) ** 2 < 1).float()
        logits = self._logits(dict.fromkeys(PARTS, (inside, box)), runtime)
        strongest = torch.stack([found.argmax(0) for found in logits.values()])
        return (torch.arange(3) == strongest[..., None]) & (inside > 0.5)[..., None]

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
        lungs = {side: sides[box] == side for side in PARTS if (box := boxes[side - 1]) is not None}
        shapes = {side: self._shape(lung, spacing_mm, side) for side, lung in lungs.items()}
        logits = self._logits(shapes, self._runtime)
        for side, lung in lungs.items():
            box, shape = boxes[side - 1], shapes[side][1]
            mirror = _mirror(side)
            parts = draw_parts(lung[:, :, mirror], logits[side], shape, spacing_mm)
            join_fragments(parts)
            parts = parts[:, :, mirror]
            names = np.array([Lobe.NONE, *PARTS[side]], np.uint8)
            lobes[box] += names[parts]  # a box may hold a piece of the other lung
            uncertain |= is_uncertain(parts, shape, side, spacing_mm, self.card.rules)
        return LobeMap(lobes, uncertain)

    def _shape(self, lung: NDArray[np.bool_], spacing_mm: Spacing, side: Side) -> tuple[Tensor, ShapeBox]:
        """A lung on its box's grid, a left one mirrored, and the box."""
        mirrored = lung[:, :, _mirror(side)]
        coarse, coarse_mm = lattice(mirrored, spacing_mm)
        if not coarse.any():
            coarse, coarse_mm = mirrored, spacing_mm
        closed = close_shape(coarse, coarse_mm)
        box = shape_box(closed, coarse_mm)
        inside = to_grid(torch.from_numpy(closed.astype(np.float32)), coarse_mm, box, self.card.grid.shape)
        return inside, box

    def _logits(self, shapes: dict[Side, tuple[Tensor, ShapeBox]], runtime: Runtime) -> dict[Side, Tensor]:
        """Logits (3, z, y, x) of each lung on its box's grid."""
        if not shapes:
            return {}
        sides = list(shapes)
        inputs = torch.stack([network_input(inside, box, side) for side, (inside, box) in shapes.items()])
        logits = runtime.run("forward", inputs.to(self.device), batch=1)
        return dict(zip(sides, without_absent(logits.float(), sides).cpu(), strict=True))


def _mirror(side: Side) -> slice:
    return slice(None, None, -1 if side is Side.LEFT else 1)


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
    # interpolation is linear, so differences are as good as the logits, and one less
    against_upper = logits[1:] - logits[:1]
    has_middle = bool((against_upper[0] > ABSENT / 2).any())
    if not has_middle:
        against_upper = against_upper[1:]
    in_plane = torch.einsum("czyx,wx->czyw", against_upper, x)
    parts = np.zeros(lung.shape, np.uint8)
    for first in range(0, lung.shape[0], SLAB):
        chosen = slice(first, first + SLAB)
        level = torch.einsum("czyw,sz->csyw", in_plane, z[chosen])
        level = torch.einsum("csyw,hy->cshw", level, y)
        lower = level[-1].numpy()
        part = np.where(lower > 0, np.uint8(3), np.uint8(1))  # much faster than argmax over channels
        if has_middle:
            part[level[0].numpy() > np.maximum(lower, 0)] = 2
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

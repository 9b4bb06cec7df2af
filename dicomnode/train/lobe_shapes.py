"""Single lungs on a coarse lattice, and how they are varied: what the lobe network is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from dicomnode.phantom.fields import Coordinates
from dicomnode.phantom.thorax import Individual, Thorax
from dicomnode.segment.lung_shape import (
    PARTS,
    Shape3,
    Spacing,
    close_shape,
    lattice,
    network_input,
    shape_box,
    to_grid,
)
from dicomnode.segment.segmentation import Lobe, Side
from dicomnode.train.lobe_cases import LobeCase

PADDING_MM = 14.0
SMALLEST_SHARE_LEFT = 0.4
"""A shape that loses more by missing parts is taken whole."""


@dataclass(frozen=True, eq=False)
class LungShape:
    """One lung, a left one mirrored. ``parts`` is 1 upper, 2 middle, 3 lower lobe, 0 outside."""

    name: str
    side: Side
    parts: NDArray[np.uint8]
    spacing_mm: Spacing


def lung_shapes(case: LobeCase) -> Iterator[LungShape]:
    """Each lung of a case on the coarse lattice, closed as the node closes lungs, with room around it."""
    picked, spacing = lattice(case.lobes, case.spacing_mm)
    for side, lobes in PARTS.items():
        lung = np.isin(picked, [lobe for lobe in lobes if lobe is not Lobe.NONE])
        found = ndimage.find_objects(lung.astype(np.uint8), max_label=1)[0]
        if found is None:
            continue
        closed = close_shape(np.pad(lung[found], 4), spacing)
        parts = np.zeros(closed.shape, np.uint8)
        for value, lobe in enumerate(lobes, start=1):
            if lobe is not Lobe.NONE:
                parts[np.pad(picked[found] == lobe, 4)] = value
        nearest = ndimage.distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
        parts = parts[tuple(nearest)] * closed
        room = [(round(PADDING_MM / mm),) * 2 for mm in spacing]
        parts = np.pad(parts, room)
        if side is Side.LEFT:
            parts = parts[:, :, ::-1]
        yield LungShape(case.name, side, np.ascontiguousarray(parts), spacing)


def phantom_case(seed: int, spacing_mm: float = 2.5) -> LobeCase:
    """The lobes of the phantom's patient ``seed``."""
    thorax = Thorax(Individual.from_seed(seed))
    x, y, z = (np.arange(low, high, spacing_mm) for low, high in ((-160, 160), (-180, 50), (-175, 160)))
    lobes = np.zeros((len(z), len(y), len(x)), np.uint8)
    for index, height in enumerate(z):
        at = Coordinates.of_slice(x, y, float(height))
        lobes[index] = thorax.lobes(at, thorax.pleura(at, Side.RIGHT), thorax.pleura(at, Side.LEFT))
    return LobeCase(f"phantom{seed}", lobes, (spacing_mm,) * 3)


def sample(shape: LungShape, grid: Shape3) -> tuple[Tensor, Tensor]:
    """Network input (channels, z, y, x) and target of a shape.

    The target (3, z, y, x) is the share of each grid point that is upper, middle and lower lobe.
    """
    parts = torch.from_numpy(shape.parts)
    return _sampled(parts, parts > 0, shape, grid)


def varied_sample(shape: LungShape, grid: Shape3, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """As :func:`sample`, of the shape turned, stretched, bent and partly missing."""
    parts = _deformed(torch.from_numpy(shape.parts), shape.spacing_mm, random)
    lung = _resurfaced(parts > 0, random)
    lung &= ~_missing(lung, shape.spacing_mm, random)
    if lung.sum() < SMALLEST_SHARE_LEFT * (parts > 0).sum():
        lung = parts > 0
    return _sampled(parts, lung, shape, grid)


def _sampled(parts: Tensor, lung: Tensor, shape: LungShape, grid: Shape3) -> tuple[Tensor, Tensor]:
    box = shape_box(lung.numpy(), shape.spacing_mm)
    inside = to_grid(lung.float(), shape.spacing_mm, box, grid)
    target = [to_grid((parts == part).float(), shape.spacing_mm, box, grid) for part in (1, 2, 3)]
    return network_input(inside, box, shape.side), torch.stack(target)


def _deformed(parts: Tensor, spacing_mm: Spacing, random: np.random.Generator) -> Tensor:
    """Rotated to 9 degrees, stretched by 12 % along each axis, sheared and bent by some mm."""
    length = torch.tensor([n * mm for n, mm in zip(parts.shape, spacing_mm, strict=True)])
    angles = np.radians(random.normal(0, 4.5, 3).clip(-9, 9))
    matrix = _rotation(angles) @ np.diag(random.uniform(0.88, 1.12, 3))
    matrix = matrix @ (np.eye(3) + random.normal(0, 0.04, (3, 3)) * (1 - np.eye(3)))
    knots = random.normal(0, random.uniform(0, 8), (3, 5, 5, 5)).astype(np.float32)
    bend = F.interpolate(torch.from_numpy(knots)[None], tuple(parts.shape), mode="trilinear")[0]
    axes = [torch.linspace(-0.5, 0.5, n) * size for n, size in zip(parts.shape, length, strict=True)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    places = places @ torch.from_numpy(matrix.astype(np.float32)).T + bend.permute(1, 2, 3, 0)
    places = (2 * places / length).flip(-1)
    warped = F.grid_sample(parts[None, None].float(), places[None], mode="nearest", align_corners=True)
    return warped[0, 0].to(torch.uint8)


def _resurfaced(lung: Tensor, random: np.random.Generator) -> Tensor:
    """With another opinion of where the surface and the hilum are."""
    if random.random() < 0.5:
        return lung
    smooth = F.avg_pool3d(lung[None].float(), 5, stride=1, padding=2)[0]
    return smooth > random.uniform(0.35, 0.6)


def _missing(lung: Tensor, spacing_mm: Spacing, random: np.random.Generator) -> Tensor:
    """What a lung mask may lack: consolidated parts, effusion along the back and base, cut ends."""
    missing = torch.zeros_like(lung)
    places = torch.nonzero(lung)
    extent = places.amax(0) - places.amin(0)
    axes = [torch.arange(n) * mm for n, mm in zip(lung.shape, spacing_mm, strict=True)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    millimetres = torch.tensor(spacing_mm)
    if random.random() < 0.45:
        for _ in range(random.integers(1, 4)):
            centre = places[random.integers(len(places))] * millimetres
            half = random.uniform(12, 55, 3)
            reach = ((z - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2
            reach = reach + ((x - centre[2]) / half[2]) ** 2
            wave = 0.3 * torch.sin(z / random.uniform(6, 15)) * torch.sin(y / random.uniform(6, 15))
            missing |= reach + wave < 1
    if random.random() < 0.2:
        low, high = places.amin(0) * millimetres, places.amax(0) * millimetres
        level = (high[1] - y) + random.uniform(0.1, 0.6) * (z - low[0])
        missing |= level < random.uniform(0.05, 0.3) * float(high[1] - low[1])
    if random.random() < 0.15:
        index = torch.arange(lung.shape[0])[:, None, None]
        cut = random.uniform(0, 0.12) * float(extent[0])
        if random.random() < 0.5:
            missing |= index < float(places[:, 0].min()) + cut
        else:
            missing |= index > float(places[:, 0].max()) - cut
    return missing


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix

"""Augmentation of slices in HU: what scanners, kernels, dose, bodies and lung masks vary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class AugmentationSpec:
    """Strengths; those of HU and lung masks apply to a random part of the slices."""

    smallest_scale: float = 0.8
    largest_scale: float = 1.25
    """Zoom: sets without pixel spacing must not matter."""
    stretch: float = 0.08
    rotation_degrees: float = 15.0
    shift: float = 0.06
    """Translation along both axes, 1 being half the picture."""
    flip: bool = True
    patches: bool = False
    """Whether the canvas is a window that may lie anywhere in a larger picture, not in its middle."""
    hu_offset: float = 40.0
    hu_slope: float = 0.06
    noise_hu: float = 60.0
    kernel: float = 0.5
    """Share of slices that get sharper or softer."""
    lung_jitter: float = 0.5
    """Share of slices whose lung mask is grown, shrunk and frayed like that of a classical method."""

    def __post_init__(self) -> None:
        if not 0 < self.smallest_scale <= self.largest_scale:
            raise ValueError("the smallest scale must be positive and not above the largest")
        if not (0 <= self.kernel <= 1 and 0 <= self.lung_jitter <= 1):
            raise ValueError("kernel and lung_jitter are shares between 0 and 1")


@dataclass(frozen=True)
class SliceBatch:
    """Float tensors: ``hu`` (slices, planes, rows, columns), the others (slices, rows, columns), 0 to 1.

    The middle plane is the slice, those before and after it lie above and below. ``dense`` is the
    consolidated part of ``lesion``.
    """

    hu: Tensor
    lung: Tensor
    lesion: Tensor
    dense: Tensor

    def to(self, device: torch.device) -> SliceBatch:
        """The batch on a device."""
        return SliceBatch(*(tensor.to(device) for tensor in vars(self).values()))

    def split(self, size: int) -> list[SliceBatch]:
        """Batches of at most ``size`` slices."""
        parts = zip(*(tensor.split(size) for tensor in vars(self).values()), strict=True)
        return [SliceBatch(*tensors) for tensors in parts]


def augment(
    batch: SliceBatch, shape: tuple[int, int], spec: AugmentationSpec, rng: np.random.Generator
) -> SliceBatch:
    """The batch moved, zoomed and cut to ``shape`` at random, its HU and lung mask disturbed."""
    moved = _move(batch, shape, spec, rng)
    hu = _disturb_hu(moved.hu, spec, rng)
    lung = disturb_lung(moved.lung, spec.lung_jitter, rng)
    return SliceBatch(hu, lung, moved.lesion * lung, moved.dense * lung)


def _move(
    batch: SliceBatch, shape: tuple[int, int], spec: AugmentationSpec, rng: np.random.Generator
) -> SliceBatch:
    count, depth, rows, columns = batch.hu.shape
    zoom = np.exp(rng.uniform(math.log(spec.smallest_scale), math.log(spec.largest_scale), count))
    stretch = np.exp(rng.uniform(-1, 1, count) * math.log1p(spec.stretch))
    angle = np.radians(rng.uniform(-1, 1, count) * spec.rotation_degrees)
    flip = rng.choice([-1.0, 1.0], count) if spec.flip else np.ones(count)
    shift = rng.uniform(-spec.shift, spec.shift, (count, 2))
    if spec.patches:
        room = [max(1 - size / full, 0) for size, full in ((shape[1], columns), (shape[0], rows))]
        shift += rng.uniform(-1, 1, (count, 2)) * room
    # output pixel (x, y) in voxels from the centre -> input pixel in voxels from the centre
    matrix = np.empty((count, 2, 3))
    matrix[:, 0, 0] = np.cos(angle) * flip / zoom * stretch
    matrix[:, 0, 1] = -np.sin(angle) / zoom
    matrix[:, 1, 0] = np.sin(angle) * flip / zoom
    matrix[:, 1, 1] = np.cos(angle) / zoom / stretch
    # grid_sample counts from -1 to 1 over each image
    matrix[:, 0, 0] *= shape[1] / columns
    matrix[:, 0, 1] *= shape[0] / columns
    matrix[:, 1, 0] *= shape[1] / rows
    matrix[:, 1, 1] *= shape[0] / rows
    matrix[:, :, 2] = shift
    grid = F.affine_grid(
        torch.from_numpy(matrix).float(), [count, 1, shape[0], shape[1]], align_corners=False
    )
    masks = torch.stack((batch.lung, batch.lesion, batch.dense), dim=1)
    moved = F.grid_sample(torch.cat((batch.hu + 1024, masks), dim=1), grid, align_corners=False)
    hu, lung = moved[:, :depth] - 1024, (moved[:, depth] > 0.5).float()
    return SliceBatch(hu, lung, moved[:, depth + 1], moved[:, depth + 2])


def _disturb_hu(hu: Tensor, spec: AugmentationSpec, rng: np.random.Generator) -> Tensor:
    count = len(hu)

    def a_slice(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).float().reshape(count, 1, 1, 1)

    slope = a_slice(1 + rng.normal(0, spec.hu_slope / 2, count))
    hu = (hu + 1000) * slope - 1000 + a_slice(rng.normal(0, spec.hu_offset / 2, count))

    # kernel: positive sharpens, negative smooths
    if spec.kernel:
        soft = F.avg_pool2d(hu, 3, stride=1, padding=1, count_include_pad=False)
        hu = hu + a_slice(sometimes(rng, spec.kernel, rng.uniform(-0.9, 0.6, count))) * (hu - soft)

    # dose: noise of a random grain
    if spec.noise_hu:
        strength = a_slice(sometimes(rng, 0.5, rng.uniform(0, spec.noise_hu, count)))
        seed = torch.Generator().manual_seed(int(rng.integers(2**31)))
        noise = torch.randn(hu.shape, generator=seed)
        if rng.random() < 0.5:
            noise = 2 * F.avg_pool2d(noise, 3, stride=1, padding=1)
        hu = hu + strength * noise
    return hu


def disturb_lung(lung: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Some lung masks (``share`` of them) grown, shrunk and frayed like those of a classical method."""
    if not share:
        return lung
    count, rows, columns = lung.shape
    seed = torch.Generator().manual_seed(int(rng.integers(2**31)))
    coarse = torch.randn((count, 1, rows // 12 + 1, columns // 12 + 1), generator=seed)
    frays = F.interpolate(coarse, (rows, columns), mode="bilinear")[:, 0]
    nearness = F.avg_pool2d(lung[:, None], 7, stride=1, padding=3)[:, 0]
    bias = torch.from_numpy(rng.uniform(-0.2, 0.2, (count, 1, 1))).float()
    jittered = (nearness + bias + 0.15 * frays > 0.5).float()
    chosen = torch.from_numpy(rng.random(count) < share)
    return torch.where(chosen[:, None, None], jittered, lung)


def sometimes(rng: np.random.Generator, share: float, values: np.ndarray) -> np.ndarray:
    """The values, most set to zero so that a share remains."""
    return np.where(rng.random(values.shape) < share, values, 0.0)

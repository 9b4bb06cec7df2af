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
    """Strengths; each applies to a random part of the slices."""

    scale: float = 0.25
    """Zoom between 1 / (1 + scale) and 1 + scale: sets without pixel spacing must not matter."""
    stretch: float = 0.08
    rotation_degrees: float = 15.0
    shift: float = 0.06
    hu_offset: float = 40.0
    hu_slope: float = 0.06
    noise_hu: float = 60.0
    lung_jitter: float = 0.5
    """Share of slices whose lung mask is grown, shrunk and frayed like that of a classical method."""


@dataclass(frozen=True)
class SliceBatch:
    """``hu``, ``lung`` and ``lesion`` (0 to 1) as float tensors (slices, rows, columns)."""

    hu: Tensor
    lung: Tensor
    lesion: Tensor


def augment(
    batch: SliceBatch, shape: tuple[int, int], spec: AugmentationSpec, rng: np.random.Generator
) -> SliceBatch:
    """The batch moved, zoomed and cut to ``shape`` at random, its HU and lung mask disturbed."""
    moved = _move(batch, shape, spec, rng)
    hu = _disturb_hu(moved.hu, spec, rng)
    lung = disturb_lung(moved.lung, spec.lung_jitter, rng)
    return SliceBatch(hu, lung, moved.lesion * lung)


def _move(
    batch: SliceBatch, shape: tuple[int, int], spec: AugmentationSpec, rng: np.random.Generator
) -> SliceBatch:
    count, rows, columns = batch.hu.shape
    zoom = np.exp(rng.uniform(-1, 1, count) * math.log1p(spec.scale))
    stretch = np.exp(rng.uniform(-1, 1, count) * math.log1p(spec.stretch))
    angle = np.radians(rng.normal(0, spec.rotation_degrees / 2, count))
    flip = rng.choice([-1.0, 1.0], count)
    shift = rng.uniform(-spec.shift, spec.shift, (count, 2))
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
    planes = torch.stack((batch.hu + 1024, batch.lung, batch.lesion), dim=1)
    moved = F.grid_sample(planes, grid, align_corners=False)
    return SliceBatch(moved[:, 0] - 1024, (moved[:, 1] > 0.5).float(), moved[:, 2])


def _disturb_hu(hu: Tensor, spec: AugmentationSpec, rng: np.random.Generator) -> Tensor:
    count, rows, columns = hu.shape
    slope = 1 + torch.from_numpy(rng.normal(0, spec.hu_slope / 2, (count, 1, 1))).float()
    offset = torch.from_numpy(rng.normal(0, spec.hu_offset / 2, (count, 1, 1))).float()
    hu = (hu + 1000) * slope - 1000 + offset

    # kernel: positive sharpens, negative smooths
    soft = F.avg_pool2d(hu[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    sharpness = torch.from_numpy(sometimes(rng, 0.5, rng.uniform(-0.9, 0.6, count))).float()
    hu = hu + sharpness[:, None, None] * (hu - soft)

    # dose: noise of a random grain
    strength = torch.from_numpy(sometimes(rng, 0.5, rng.uniform(0, spec.noise_hu, count))).float()
    seed = torch.Generator().manual_seed(int(rng.integers(2**31)))
    noise = torch.randn((count, 1, rows, columns), generator=seed)
    if rng.random() < 0.5:
        noise = 2 * F.avg_pool2d(noise, 3, stride=1, padding=1)
    return hu + strength[:, None, None] * noise[:, 0]


def disturb_lung(lung: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Some lung masks (``share`` of them) grown, shrunk and frayed like those of a classical method."""
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

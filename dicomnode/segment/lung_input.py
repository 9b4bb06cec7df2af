"""Slices as the lung network sees them, for training and the node alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

AIR_HU = -1000.0
WIDE_HU = (AIR_HU, 300.0)
"""Window of every plane."""

TISSUE_HU = (-150.0, 250.0)
"""Window of one more channel, the slice itself: airless lung against liver, muscle and fluid."""


def plane_indices(count: int, step_mm: float, planes_mm: tuple[float, ...]) -> Tensor:
    """Indices (slices, planes) of the slices at ``planes_mm`` from each of ``count`` slices.

    A plane apart from the slice itself is at least the next slice. Beyond the ends the last slice repeats.
    """
    steps = [round(mm / step_mm) or (mm > 0) - (mm < 0) for mm in planes_mm]
    return (torch.arange(count)[:, None] + torch.tensor(steps)).clamp(0, count - 1)


def network_input(planes: Tensor) -> Tensor:
    """Channels (slices, planes + 1, rows, columns) of planes in HU (slices, planes, rows, columns)."""
    middle = planes[:, planes.shape[1] // 2, None]
    return torch.cat((_scaled(planes, WIDE_HU), _scaled(middle, TISSUE_HU)), dim=1)


def in_plane(images: Tensor, spacing_mm: tuple[float, float], wanted_mm: float) -> Tensor:
    """Images (slices, rows, columns) at another spacing, nearly: rows and columns are whole."""
    shape = [max(1, round(n * mm / wanted_mm)) for n, mm in zip(images.shape[1:], spacing_mm, strict=True)]
    return resampled(images, (shape[0], shape[1]))


def resampled(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Float images (slices, rows, columns) brought to a shape, blurred first where that is coarser."""
    if tuple(images.shape[1:]) == shape:
        return images
    return F.interpolate(images[None], shape, mode="bilinear", antialias=True)[0]


def _scaled(image: Tensor, window: tuple[float, float]) -> Tensor:
    low, high = window
    return (image.clamp(low, high) - low) / (high - low)

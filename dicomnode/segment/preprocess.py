"""HU and a lung mask become network input; the same code serves training and the node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dicomnode.segment.body import find_body
from dicomnode.segment.card import Preprocessing
from dicomnode.segment.grid import WorkGrid

AIR_FLOOR_HU = -1024
"""Padding outside the scanner's field of view (-3024, -2000, ...) is no tissue: it counts as air."""

UNKNOWN_LUNG = 0.5
"""Value of the lung channel where nobody knows the lungs."""


@dataclass(frozen=True)
class Crop:
    """In-plane box, half open, in voxels: rows [top, bottom), columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """For indexing the last two axes."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left


def lung_crop(lung: NDArray[np.bool_], spacing_mm: tuple[float, float], margin_mm: float) -> Crop:
    """Bounding box of a lung mask (slices, rows, columns) in-plane, with a margin, inside the image.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    plane: NDArray[np.bool_] = np.any(lung, axis=0)
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    if not rows.size:
        raise ValueError("the lung mask is empty")
    margin_rows, margin_columns = (int(np.ceil(margin_mm / spacing)) for spacing in spacing_mm)
    return Crop(
        max(int(rows[0]) - margin_rows, 0),
        min(int(rows[-1]) + 1 + margin_rows, plane.shape[0]),
        max(int(columns[0]) - margin_columns, 0),
        min(int(columns[-1]) + 1 + margin_columns, plane.shape[1]),
    )


def body_crop(hu: NDArray[np.int16], spacing_mm: tuple[float, float, float], margin_mm: float) -> Crop:
    """Bounding box in-plane of a body, table left out, with a margin; the whole image without a body."""
    shape = (hu.shape[0], hu.shape[1], hu.shape[2])
    grid = WorkGrid.for_volume(shape, spacing_mm)
    body = find_body(grid.block_mean(hu), grid.spacing_mm)
    if not body.any():
        return Crop(0, shape[1], 0, shape[2])
    edges = []
    for axis in (1, 2):
        found = np.flatnonzero(body.any(axis=(0, 3 - axis))) * grid.factors[axis]
        margin = int(np.ceil(margin_mm / spacing_mm[axis]))
        last = int(found[-1]) + grid.factors[axis]
        edges += [max(int(found[0]) - margin, 0), min(last + margin, shape[axis])]
    return Crop(*edges)


def choose_crop(
    hu: NDArray[np.int16],
    lung: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    preprocessing: Preprocessing,
) -> Crop:
    """The box that the card asks for, around the lungs or the body; the lungs must not be empty."""
    if preprocessing.crop == "body":
        return body_crop(hu, spacing_mm, preprocessing.crop_margin_mm)
    return lung_crop(lung, spacing_mm[1:], preprocessing.crop_margin_mm)


def input_shape(
    shape: tuple[int, int], spacing_mm: tuple[float, float], preprocessing: Preprocessing
) -> tuple[int, int]:
    """Rows and columns of the network's input for a crop of ``shape``."""
    if preprocessing.spacing_mm is not None:
        return resampled_shape(shape, spacing_mm, preprocessing.spacing_mm)
    assert preprocessing.rows is not None and preprocessing.columns is not None
    return preprocessing.rows, preprocessing.columns


def resampled_shape(
    shape: tuple[int, int], spacing_mm: tuple[float, float], target_mm: float
) -> tuple[int, int]:
    """Rows and columns after resampling to ``target_mm``, at least 1."""
    rows, columns = (max(round(n * mm / target_mm), 1) for n, mm in zip(shape, spacing_mm, strict=True))
    return rows, columns


def resample(stack: Tensor, shape: tuple[int, int]) -> Tensor:
    """Float stack (slices, rows, columns) on ``shape``: linear, low-pass filtered when it shrinks."""
    return F.interpolate(stack[:, None], shape, mode="bilinear", antialias=True)[:, 0]


def clip_to_tissue(hu: Tensor) -> Tensor:
    """HU with everything below air raised to air, so that padding can't bleed into the lung by resampling."""
    return hu.clamp(min=AIR_FLOOR_HU)


def normalise(hu: Tensor, lung: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Network input in [0, 1]: ``outside_hu``, if any, outside the lung (boolean), then the window."""
    low = preprocessing.window_center_hu - preprocessing.window_width_hu / 2
    if preprocessing.outside_hu is not None:
        hu = torch.where(lung, hu, torch.tensor(preprocessing.outside_hu, dtype=hu.dtype, device=hu.device))
    return ((hu - low) / preprocessing.window_width_hu).clamp(0, 1)


def network_input(hu: Tensor, lung: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Input (slices, channels, rows, columns) of HU and a lung mask (slices, rows, columns).

    Either one channel with ``outside_hu`` outside the lung, or, with ``lung_channel``, the whole picture and
    the mask beside it: 1 lung, 0 none, ``UNKNOWN_LUNG`` where it isn't known.
    """
    if not preprocessing.lung_channel:
        return normalise(hu, lung > UNKNOWN_LUNG, preprocessing)[:, None]
    image = normalise(hu, torch.ones_like(lung, dtype=torch.bool), preprocessing)
    return torch.stack((image, lung.to(image.dtype)), dim=1)

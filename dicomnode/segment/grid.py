"""A coarser grid to search on: block means of the volume, and the way back to full resolution.

Lungs are looked for at 2 to 3 mm, where a chest has a few million voxels, and their borders are drawn at the
volume's own resolution afterwards. Arrays are (superior, posterior, left), lengths in mm, densities in HU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice, slice]
T = TypeVar("T", bound=np.generic)

WORK_SPACING_MM = 2.4
# Above any soft tissue, so that block means of metal and cortical bone stay finite in int16 sums.
HIGHEST_HU = 1000
LOWEST_HU = -1024


@dataclass(frozen=True)
class WorkGrid:
    """How many voxels of the volume, along each axis, make one voxel of the coarse grid."""

    full_shape: tuple[int, int, int]
    factors: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def for_volume(cls, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> WorkGrid:
        """Grid of whole-voxel blocks whose spacing comes nearest to ``WORK_SPACING_MM``; never finer."""
        factors = tuple(
            max(1, min(round(WORK_SPACING_MM / s), n)) for s, n in zip(spacing_mm, shape, strict=True)
        )
        coarse = tuple(s * f for s, f in zip(spacing_mm, factors, strict=True))
        return cls(shape, (factors[0], factors[1], factors[2]), (coarse[0], coarse[1], coarse[2]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the coarse grid; the last block of an axis may be incomplete."""
        z, y, x = (-(-n // f) for n, f in zip(self.full_shape, self.factors, strict=True))
        return z, y, x

    @property
    def voxel_ml(self) -> float:
        """Volume of one coarse voxel in mL."""
        z, y, x = self.spacing_mm
        return z * y * x / 1000.0

    def block_mean(self, hu: NDArray[np.int16]) -> NDArray[np.float32]:
        """Mean HU of each block, values clipped to [-1024, 1000] HU first."""
        fz, fy, fx = self.factors
        nz, ny, nx = self.shape
        padding = (ny * fy - self.full_shape[1], nx * fx - self.full_shape[2])
        out = np.empty(self.shape, np.float32)
        for k in range(nz):
            slab = np.clip(hu[k * fz : (k + 1) * fz], LOWEST_HU, HIGHEST_HU)
            plane = slab.sum(axis=0, dtype=np.int32)
            if any(padding):
                plane = np.pad(plane, ((0, padding[0]), (0, padding[1])), mode="edge")
            rows = plane.reshape(ny, fy, nx * fx).sum(axis=1)
            out[k] = rows.reshape(ny, nx, fx).sum(axis=2) / (len(slab) * fy * fx)
        return out

    def full_slices(self, coarse: Box) -> Box:
        """The part of the volume that a box of coarse voxels covers."""
        z, y, x = (
            slice(c.start * f, min(c.stop * f, n))
            for c, f, n in zip(coarse, self.factors, self.full_shape, strict=True)
        )
        return z, y, x

    def enlarge(self, coarse: NDArray[T], box: Box) -> NDArray[T]:
        """``coarse[box]`` at full resolution, each block filled with its value."""
        part = np.ascontiguousarray(coarse[box])
        for axis, (f, c, s) in enumerate(zip(self.factors, box, self.full_slices(box), strict=True)):
            part = np.take(part, np.arange(s.start, s.stop) // f - c.start, axis=axis)
        return part

    def enlarge_smooth(self, coarse: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
        """``coarse[box]`` at full resolution where its trilinear interpolation is at least one half.

        Blocks outside the array count as their nearest. Weights are whole numbers, so the result is exact.
        """
        margin = tuple(
            slice(max(0, c.start - 1), min(n, c.stop + 1)) for c, n in zip(box, self.shape, strict=True)
        )
        level = coarse[margin].astype(np.int32)
        for axis, (f, m, s) in enumerate(zip(self.factors, margin, self.full_slices(box), strict=True)):
            twice = 2 * np.arange(s.start, s.stop) + 1 - f
            low, weight = twice // (2 * f), twice % (2 * f)
            last = level.shape[axis] - 1
            shape = [-1 if a == axis else 1 for a in range(3)]
            upper = weight.astype(np.int32).reshape(shape)
            first = np.take(level, np.clip(low - m.start, 0, last), axis=axis)
            second = np.take(level, np.clip(low + 1 - m.start, 0, last), axis=axis)
            level = first * (2 * f - upper) + second * upper
        return np.asarray(2 * level >= 8 * int(np.prod(self.factors)))

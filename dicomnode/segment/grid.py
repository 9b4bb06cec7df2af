"""A coarser grid to search on: block means of the volume, and the way back to full resolution.

Lungs are looked for at about 2 mm, where a chest has a few million voxels, and their borders are drawn at the
volume's own resolution afterwards. Arrays are (superior, posterior, left), lengths in mm, densities in HU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

WORK_SPACING_MM = 2.1
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

    def full_slices(self, coarse: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
        """The part of the volume that a box of coarse voxels covers."""
        z, y, x = (
            slice(c.start * f, min(c.stop * f, n))
            for c, f, n in zip(coarse, self.factors, self.full_shape, strict=True)
        )
        return z, y, x

    def enlarge(
        self, coarse: NDArray[np.generic], box: tuple[slice, slice, slice], smooth: bool
    ) -> NDArray[np.generic]:
        """``coarse[box]`` at full resolution, trilinear where ``smooth``, else each block its value."""
        full = self.full_slices(box)
        part = np.ascontiguousarray(coarse[box])
        if not smooth:
            for axis, (f, c, s) in enumerate(zip(self.factors, box, full, strict=True)):
                index = np.arange(s.start, s.stop) // f - c.start
                part = np.take(part, index, axis=axis)
            return part
        image = sitk.GetImageFromArray(part.astype(np.float32))
        resampler = sitk.ResampleImageFilter()
        resampler.SetInterpolator(sitk.sitkLinear)
        resampler.SetUseNearestNeighborExtrapolator(True)
        resampler.SetSize([s.stop - s.start for s in full][::-1])
        resampler.SetOutputSpacing([1.0 / f for f in self.factors][::-1])
        resampler.SetOutputOrigin([0.5 / f - 0.5 for f in self.factors][::-1])
        return np.asarray(sitk.GetArrayFromImage(resampler.Execute(image)))

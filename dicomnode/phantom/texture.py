"""Random textures fixed to the patient, and the scanner's noise, which is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from dicomnode.phantom.fields import Coordinates, Field
from dicomnode.phantom.spec import Kernel

FIELD_LOW_MM = (-215.0, -275.0, -185.0)
FIELD_HIGH_MM = (215.0, 165.0, 195.0)

_GRAIN_MM = {Kernel.SOFT: 0.95, Kernel.STANDARD: 0.6, Kernel.SHARP: 0.3}
_POINT_SPREAD_MM = {Kernel.SOFT: 0.75, Kernel.STANDARD: 0.5, Kernel.SHARP: 0.3}


class Texture:
    """Smooth random field of mean 0 and standard deviation about 1: cubic B-splines over a random lattice.

    The lattice is laid in patient mm, so any grid samples the same field.

    Parameters
    ----------
    seed, stream:
        Which field; ``stream`` tells the fields of one patient apart.
    step_mm:
        Distance of lattice points, about the size of a blob.
    """

    def __init__(self, seed: int, stream: int, step_mm: float) -> None:
        self._step = step_mm
        size = [
            int((high - low) / step_mm) + 6 for low, high in zip(FIELD_LOW_MM, FIELD_HIGH_MM, strict=True)
        ]
        random = np.random.default_rng((seed, stream))
        # 0.47 per axis is the root of the mean sum of squared B-spline weights: it brings the deviation to 1.
        lattice = random.standard_normal((size[2], size[1], size[0]), dtype=np.float32)
        self._lattice = lattice * np.float32(1 / np.sqrt(0.4794**3))

    def _weights(self, mm: NDArray[np.float32], axis: int, count: int) -> Field:
        position = np.clip((mm.astype(np.float64) - FIELD_LOW_MM[axis]) / self._step + 1, 1, count - 3)
        first = np.floor(position).astype(np.int64)
        t = position - first
        parts = (
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        )
        weights = np.zeros((len(mm), count), np.float32)
        rows = np.arange(len(mm))
        for offset, part in enumerate(parts):
            weights[rows, first + offset - 1] = part
        return weights

    def on_grid(self, x_mm: Field, y_mm: Field, z_mm: Field) -> Field:
        """Values on the grid spanned by three axes (1D, mm); shape (len(z), len(y), len(x))."""
        nz, ny, nx = self._lattice.shape
        wz, wy, wx = self._weights(z_mm, 2, nz), self._weights(y_mm, 1, ny), self._weights(x_mm, 0, nx)
        used = np.flatnonzero(wz.any(axis=0))
        planes = np.tensordot(wz[:, used], self._lattice[used], axes=1)
        values: Field = wy @ planes @ wx.T
        return values

    def on_slice(self, at: Coordinates) -> Field:
        """Values on one slice; shape (rows, columns)."""
        return self.on_grid(at.x.ravel(), at.y.ravel(), at.z.ravel())[0]


def point_spread_sigma_mm(kernel: Kernel) -> float:
    """Standard deviation of the in-plane point spread, mm; wider for softer kernels."""
    return _POINT_SPREAD_MM[kernel]


def blur_in_plane(slice_hu: Field, sigma_mm: float, spacing_yx_mm: tuple[float, float]) -> Field:
    """Slice blurred by a Gaussian of ``sigma_mm``."""
    sigma = tuple(sigma_mm / step for step in spacing_yx_mm)
    if max(sigma) < 0.15:
        return slice_hu
    blurred: Field = gaussian_filter(slice_hu, sigma, mode="nearest", truncate=3.0)
    return blurred


class Noise:
    """Scanner noise: Gaussian, correlated within a slice as the kernel makes it, of the deviation asked for.

    Parameters
    ----------
    seed:
        Of the patient; each slice has its own stream, so slices can be made in any order.
    deviation_hu:
        Standard deviation, HU.
    kernel:
        A softer kernel has a coarser grain.
    spacing_yx_mm:
        Pixel spacing, rows then columns.
    """

    def __init__(
        self, seed: int, deviation_hu: float, kernel: Kernel, spacing_yx_mm: tuple[float, float]
    ) -> None:
        self._seed = seed
        self._deviation = deviation_hu
        self._sigma = tuple(_GRAIN_MM[kernel] / step for step in spacing_yx_mm)
        self._gain = 1.0
        for sigma in self._sigma:
            impulse = np.zeros(129)
            impulse[64] = 1
            self._gain /= float(np.sqrt((gaussian_filter1d(impulse, sigma, mode="wrap") ** 2).sum()))

    def slice(self, index: int, shape: tuple[int, int]) -> Field:
        """Noise of slice ``index``, HU."""
        if self._deviation == 0:
            return np.zeros(shape, np.float32)
        white = np.random.default_rng((self._seed, 9000, index)).standard_normal(shape, dtype=np.float32)
        grain: Field = gaussian_filter(white, self._sigma, mode="wrap")
        return grain * np.float32(self._gain * self._deviation)

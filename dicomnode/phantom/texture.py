"""Random textures fixed to the patient, and the scanner's noise, which is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.sparse import csr_array

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
        # The mean sum of squared B-spline weights is 0.4794 along each axis.
        lattice = random.standard_normal((size[2], size[1], size[0]), dtype=np.float32)
        self._lattice = lattice * np.float32(1 / np.sqrt(0.4794**3))
        self._known_weights: dict[tuple[int, int, float, float], csr_array] = {}

    def on_grid(self, x_mm: Field, y_mm: Field, z_mm: Field) -> Field:
        """Values on the grid spanned by three axes (1D, mm); shape (len(z), len(y), len(x))."""
        weights_y, weights_x = (self._weights(mm, axis) for mm, axis in ((y_mm, 1), (x_mm, 0)))
        first, parts = self._spline(z_mm, 2)
        values = np.empty((len(z_mm), len(y_mm), len(x_mm)), np.float32)
        for k in range(len(z_mm)):
            plane = sum(parts[k, i] * self._lattice[first[k] + i] for i in range(4))
            values[k] = (weights_x @ np.ascontiguousarray((weights_y @ plane).T)).T
        return values

    def _spline(self, mm: Field, axis: int) -> tuple[NDArray[np.int64], Field]:
        """First lattice index of each position and the four weights from there on."""
        count = self._lattice.shape[2 - axis]
        position = np.clip((mm.astype(np.float64) - FIELD_LOW_MM[axis]) / self._step + 1, 1, count - 3)
        whole = np.floor(position).astype(np.int64)
        t = position - whole
        parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
        return whole - 1, (np.stack(parts, axis=1) / 6).astype(np.float32)

    def _weights(self, mm: Field, axis: int) -> csr_array:
        key = (axis, len(mm), float(mm[0]), float(mm[-1]))
        if key not in self._known_weights:
            first, parts = self._spline(mm, axis)
            columns = first[:, None] + np.arange(4)
            ends = np.arange(0, 4 * len(mm) + 1, 4)
            shape = (len(mm), self._lattice.shape[2 - axis])
            self._known_weights[key] = csr_array((parts.ravel(), columns.ravel(), ends), shape=shape)
        return self._known_weights[key]

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

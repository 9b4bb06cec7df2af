"""Thin round and flat things drawn into a grid with their partial volume: vessels, bronchi, bones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.spec import PhantomSpec

FULL = 255
"""Coverage is kept as uint8, 255 for a voxel wholly inside."""


@dataclass(frozen=True, eq=False)
class Capsules:
    """Straight pieces with a radius at each end, mm.

    ``start`` and ``end`` have shape (n, 3), ``radii`` (n, 2). ``flatness`` (n,) above 1 thins a piece along
    its unit vector in ``normals`` (n, 3).
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    radii: NDArray[np.float64]
    normals: NDArray[np.float64]
    flatness: NDArray[np.float64]

    @classmethod
    def round(
        cls, start: NDArray[np.float64], end: NDArray[np.float64], radii: NDArray[np.float64]
    ) -> Capsules:
        """Pieces that are not flat."""
        return cls(start, end, radii, np.zeros_like(start), np.ones(len(start)))

    @classmethod
    def joined(cls, batches: Sequence[Capsules]) -> Capsules:
        """All pieces of several batches."""
        names = ("start", "end", "radii", "normals", "flatness")
        return cls(*(np.concatenate([getattr(batch, name) for batch in batches]) for name in names))

    def take(self, which: NDArray[np.bool_]) -> Capsules:
        """The pieces picked out."""
        return Capsules(
            self.start[which], self.end[which], self.radii[which], self.normals[which], self.flatness[which]
        )

    def thinned(self, by_mm: NDArray[np.float64] | float) -> Capsules:
        """The same pieces with each radius less ``by_mm``; pieces with nothing left are gone."""
        radii = self.radii - by_mm
        thinner = Capsules(self.start, self.end, np.maximum(radii, 0), self.normals, self.flatness)
        return thinner.take(radii.max(axis=1) > 0)


class CoverageGrid:
    """A uint8 coverage volume (z, y, x) on a phantom's grid, and the pens that draw into it."""

    def __init__(self, spec: PhantomSpec) -> None:
        self.values: NDArray[np.uint8] = np.zeros(spec.matrix, np.uint8)
        self._axes = tuple(spec.axis_mm(axis).astype(np.float32) for axis in (2, 1, 0))
        self._spacing = (spec.spacing_mm[2], spec.spacing_mm[1], spec.spacing_mm[0])
        self._pixel = float(np.sqrt(self._spacing[0] * self._spacing[1]))
        self._seed = spec.seed

    def draw(self, capsules: Capsules) -> None:
        """Draw capsules; what is thinner than the voxels keeps its volume."""
        thin = (capsules.radii.max(axis=1) < 0.55 * max(self._spacing)) & (capsules.flatness == 1)
        self._draw_resolved(capsules.take(~thin))
        if thin.any():
            self._draw_thin(capsules.take(thin))

    def _draw_resolved(self, capsules: Capsules) -> None:
        reach = capsules.radii.max(axis=1, keepdims=True) + max(self._pixel, 0.6)
        low = np.minimum(capsules.start, capsules.end) - reach
        high = np.maximum(capsules.start, capsules.end) + reach
        first = np.stack([np.searchsorted(axis, low[:, i]) for i, axis in enumerate(self._axes)], axis=1)
        last = np.stack([np.searchsorted(axis, high[:, i]) for i, axis in enumerate(self._axes)], axis=1)
        for index in np.flatnonzero((first < last).all(axis=1)):
            self._draw_one(capsules, int(index), first[index].tolist(), last[index].tolist())

    def _draw_one(self, capsules: Capsules, index: int, first: list[int], last: list[int]) -> None:
        start, end = capsules.start[index], capsules.end[index]
        radii = capsules.radii[index].tolist()
        width = np.float32(max(self._pixel, 0.6))
        box = [slice(a, b) for a, b in zip(first, last, strict=True)]
        local = [axis[part] - np.float32(s) for axis, part, s in zip(self._axes, box, start, strict=True)]
        x, y, z = local[0][None, None, :], local[1][None, :, None], local[2][:, None, None]
        dx, dy, dz = (np.float32(e - s) for s, e in zip(start, end, strict=True))
        length2 = np.float32(max(float(dx * dx + dy * dy + dz * dz), 1e-6))
        t = np.minimum(np.maximum((x * (dx / length2) + y * (dy / length2)) + z * (dz / length2), 0), 1)
        ex, ey, ez = x - t * dx, y - t * dy, z - t * dz
        square = ex * ex + ey * ey + ez * ez
        if capsules.flatness[index] != 1:
            nx, ny, nz = (np.float32(v) for v in capsules.normals[index])
            across = ex * nx + ey * ny + ez * nz
            square += np.float32(capsules.flatness[index] ** 2 - 1) * across * across
        inside = np.float32(radii[0]) + t * np.float32(radii[1] - radii[0]) - np.sqrt(square)
        covered = np.minimum(np.maximum(inside * (FULL / width) + np.float32(FULL / 2), 0), FULL)
        view = self.values[box[2], box[1], box[0]]
        np.maximum(view, covered.astype(np.uint8), out=view)

    def _draw_thin(self, capsules: Capsules) -> None:
        """Scatter each capsule's volume over the voxels it passes."""
        random = np.random.default_rng((self._seed, 77))
        start, end, radii = capsules.start, capsules.end, capsules.radii
        length = np.linalg.norm(end - start, axis=1)
        step = 0.5 * self._pixel
        ring = np.ceil(3 * (radii.max(axis=1) / self._pixel) ** 2).astype(int).clip(1, 24)
        count = np.maximum(np.ceil(length / step).astype(int), 1) * ring
        owner = np.repeat(np.arange(len(start)), count)
        t = random.random(len(owner))
        radius = radii[owner, 0] * (1 - t) + radii[owner, 1] * t
        volume = np.pi * radius**2 * length[owner] / count[owner]
        point = start[owner] * (1 - t[:, None]) + end[owner] * t[:, None]
        offset = random.standard_normal((len(owner), 3))
        offset *= (radius * np.sqrt(random.random(len(owner))) / np.linalg.norm(offset, axis=1))[:, None]
        self._scatter(point + offset, volume)

    def _scatter(self, point: NDArray[np.float64], volume_mm3: NDArray[np.float64]) -> None:
        share = volume_mm3 / float(np.prod(self._spacing))
        index = [(point[:, i] - float(self._axes[i][0])) / self._spacing[i] for i in range(3)]
        shape = self.values.shape[::-1]
        inside = np.all([(v >= 0) & (v < n - 1) for v, n in zip(index, shape, strict=True)], axis=0)
        base = [v[inside].astype(np.int64) for v in index]
        part = [v[inside] - b for v, b in zip(index, base, strict=True)]
        share = share[inside]
        if not share.size:
            return
        order = np.argsort(base[2], kind="stable")
        base, part = [b[order] for b in base], [p[order] for p in part]
        share = share[order]
        slab = 16
        edges = np.searchsorted(base[2], np.arange(0, shape[2] + slab, slab))
        carry = np.zeros(self.values.shape[1:], np.float32)
        for k, (first, last) in enumerate(pairwise(edges.tolist())):
            low = k * slab
            sums = np.zeros((min(slab, shape[2] - low) + 1, *self.values.shape[1:]), np.float32)
            sums[0] = carry
            x, y, z = (b[first:last] for b in base)
            fx, fy, fz = (p[first:last] for p in part)
            for corner in range(8):
                cx, cy, cz = corner & 1, corner >> 1 & 1, corner >> 2
                weight = np.abs(1 - cx - fx) * np.abs(1 - cy - fy) * np.abs(1 - cz - fz)
                np.add.at(
                    sums, (z - low + cz, y + cy, x + cx), (weight * share[first:last]).astype(np.float32)
                )
            carry = sums[-1].copy()
            view = self.values[low : low + slab]
            added = view + np.minimum(sums[: len(view)], 1) * FULL
            view[:] = np.minimum(added, FULL).astype(np.uint8)

"""Thin round and flat things drawn into a grid with their partial volume: vessels, bronchi, bones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.spec import PhantomSpec

FULL = 255
"""Coverage is kept as uint8, 255 for a voxel wholly inside."""


@dataclass(frozen=True)
class Capsule:
    """A straight piece with a radius at each end, mm; ``flatness`` above 1 thins it along ``flat_normal``."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    start_radius: float
    end_radius: float
    flat_normal: tuple[float, float, float] | None = None
    flatness: float = 1.0


class CoverageGrid:
    """A uint8 coverage volume (z, y, x) on a phantom's grid, and the pens that draw into it."""

    def __init__(self, spec: PhantomSpec) -> None:
        self.values: NDArray[np.uint8] = np.zeros(spec.matrix, np.uint8)
        self._axes = tuple(spec.axis_mm(axis).astype(np.float32) for axis in (2, 1, 0))
        self._spacing = (spec.spacing_mm[2], spec.spacing_mm[1], spec.spacing_mm[0])
        self._pixel = float(np.sqrt(self._spacing[0] * self._spacing[1]))
        self._seed = spec.seed

    def draw(self, capsules: Iterable[Capsule], shrink_mm: float = 0.0) -> None:
        """Draw capsules, each radius less ``shrink_mm``; what is thinner than the voxels keeps its volume."""
        thin = []
        coarsest = max(self._spacing)
        for capsule in capsules:
            radii = capsule.start_radius - shrink_mm, capsule.end_radius - shrink_mm
            if max(radii) <= 0:
                continue
            if max(radii) < 0.55 * coarsest and capsule.flatness == 1.0:
                thin.append(capsule)
            else:
                self._draw_resolved(capsule, radii)
        if thin:
            self._draw_thin(thin, shrink_mm)

    def _draw_resolved(self, capsule: Capsule, radii: tuple[float, float]) -> None:
        width = np.float32(max(self._pixel, 0.6))
        reach = max(radii) + float(width)
        box, local = [], []
        for i, axis in enumerate(self._axes):
            low = min(capsule.start[i], capsule.end[i]) - reach
            high = max(capsule.start[i], capsule.end[i]) + reach
            first, last = np.searchsorted(axis, (low, high))
            if first >= last:
                return
            box.append(slice(int(first), int(last)))
            local.append(axis[first:last] - np.float32(capsule.start[i]))
        x, y, z = local[0][None, None, :], local[1][None, :, None], local[2][:, None, None]
        dx, dy, dz = (np.float32(e - s) for s, e in zip(capsule.start, capsule.end, strict=True))
        length2 = np.float32(max(float(dx * dx + dy * dy + dz * dz), 1e-6))
        t = np.clip((x * dx + y * dy + z * dz) / length2, 0, 1)
        ex, ey, ez = x - t * dx, y - t * dy, z - t * dz
        square = ex * ex + ey * ey + ez * ez
        if capsule.flat_normal is not None:
            nx, ny, nz = (np.float32(v) for v in capsule.flat_normal)
            across = ex * nx + ey * ny + ez * nz
            square += np.float32(capsule.flatness**2 - 1) * across * across
        inside = np.float32(radii[0]) + t * np.float32(radii[1] - radii[0]) - np.sqrt(square)
        covered = np.clip(inside / width + np.float32(0.5), 0, 1) * FULL
        view = self.values[box[2], box[1], box[0]]
        np.maximum(view, covered.astype(np.uint8), out=view)

    def _draw_thin(self, capsules: list[Capsule], shrink_mm: float) -> None:
        """Scatter each capsule's volume over the voxels it passes."""
        random = np.random.default_rng((self._seed, 77))
        start = np.array([c.start for c in capsules])
        end = np.array([c.end for c in capsules])
        radii = np.maximum(np.array([(c.start_radius, c.end_radius) for c in capsules]) - shrink_mm, 0.05)
        length = np.linalg.norm(end - start, axis=1)
        step = 0.5 * self._pixel
        ring = np.ceil(3 * (radii.max(axis=1) / self._pixel) ** 2).astype(int).clip(1, 24)
        count = np.maximum(np.ceil(length / step).astype(int), 1) * ring
        owner = np.repeat(np.arange(len(capsules)), count)
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
        for k, (first, last) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            low = k * slab
            sums = np.zeros((min(slab, shape[2] - low) + 1, *self.values.shape[1:]), np.float32)
            sums[0] = carry
            x, y, z = (b[first:last] for b in base)
            fx, fy, fz = (p[first:last] for p in part)
            for corner in range(8):
                cx, cy, cz = corner & 1, corner >> 1 & 1, corner >> 2
                weight = np.abs(1 - cx - fx) * np.abs(1 - cy - fy) * np.abs(1 - cz - fz)
                np.add.at(sums, (z - low + cz, y + cy, x + cx), (weight * share[first:last]).astype(np.float32))
            carry = sums[-1].copy()
            view = self.values[low : low + slab]
            added = view + np.minimum(sums[: len(view)], 1) * FULL
            view[:] = np.minimum(added, FULL).astype(np.uint8)

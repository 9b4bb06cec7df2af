"""Continuous shapes in patient mm: implicit functions, negative inside, about the distance to the surface.

All take coordinates that broadcast: a slice gives x as a row, y as a column and z as one number;
scattered points give three vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Field: TypeAlias = NDArray[np.float32]
Point: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class Coordinates:
    """Patient mm (LPS): x to the left, y to the back, z to the head; float32, broadcastable."""

    x: Field
    y: Field
    z: Field

    @classmethod
    def of_points(cls, points: NDArray[np.float64]) -> Coordinates:
        """Scattered points, shape (n, 3)."""
        columns = np.ascontiguousarray(points.T, dtype=np.float32)
        return cls(columns[0], columns[1], columns[2])

    def crop(self, rows: slice, columns: slice) -> Coordinates:
        """Part of a slice."""
        return Coordinates(self.x[:, columns], self.y[rows], self.z)

    @classmethod
    def of_slice(cls, x_mm: NDArray[np.float64], y_mm: NDArray[np.float64], z_mm: float) -> Coordinates:
        """One axial slice; fields on it have shape (len(y), len(x))."""
        return cls(
            x_mm.astype(np.float32)[None, :], y_mm.astype(np.float32)[:, None], np.array([[z_mm]], np.float32)
        )


class Table:
    """Monotone cubic interpolation of a quantity over height z (mm); constant beyond the ends."""

    def __init__(self, heights: Sequence[float], values: Sequence[float]) -> None:
        self._low, self._high = float(heights[0]), float(heights[-1])
        self._curve = PchipInterpolator(heights, values)

    def at(self, height: float) -> float:
        """Value at one height."""
        return float(self._curve(min(max(height, self._low), self._high)))

    def __call__(self, z: Field) -> Field:
        """Value at each height, shape of ``z``."""
        value: Field = self._curve(np.clip(z, self._low, self._high)).astype(np.float32)
        return value


def coverage(field: Field, width_mm: float) -> Field:
    """Share of a voxel of ``width_mm`` that lies inside, 0 to 1: the partial volume of a smooth surface."""
    return np.minimum(np.maximum(np.float32(0.5) - field * np.float32(1.0 / width_mm), 0), 1)


def smooth_union(first: Field, second: Field, blend_mm: float) -> Field:
    """Union with the crease filled over ``blend_mm``."""
    overlap = np.maximum(np.float32(blend_mm) - np.abs(first - second), 0)
    return np.minimum(first, second) - overlap * overlap * np.float32(0.25 / blend_mm)


def smooth_intersection(first: Field, second: Field, blend_mm: float) -> Field:
    """Intersection with the edge rounded over ``blend_mm``."""
    return -smooth_union(-first, -second, blend_mm)


def superellipse(
    dx: Field,
    dy: Field,
    half_x: Field | float,
    half_y: Field | float,
    exponents: tuple[Field | float, float],
) -> Field:
    """Superellipse about the origin of ``dx``, ``dy``; the value is about the distance along the radius, mm.

    ``exponents`` are those of x and y; more than 2 is squarer. They may differ.
    """
    across = np.abs(dx / half_x) ** np.asarray(exponents[0], np.float32)
    along = np.abs(dy / half_y) ** np.float32(exponents[1])
    ratio = np.maximum((across + along) ** np.float32(1 / exponents[1]), np.float32(1e-3))
    radius = np.sqrt(dx * dx + dy * dy)
    return radius - radius / ratio


def ellipsoid(
    at: Coordinates, centre: Point, half_axes: Point, axes: NDArray[np.float64] | None = None
) -> Field:
    """Ellipsoid; rows of ``axes`` are the unit directions of ``half_axes`` (default x, y, z)."""
    x, y, z = (c - np.float32(m) for c, m in zip((at.x, at.y, at.z), centre, strict=True))
    directions = np.eye(3) if axes is None else axes
    square: Field | None = None
    for direction, half in zip(directions, half_axes, strict=True):
        a, b, c = (np.float32(v / half) for v in direction)
        part = x * a + y * b + z * c
        square = part * part if square is None else square + part * part
    assert square is not None
    return (np.sqrt(square) - 1) * np.float32(min(half_axes))


@dataclass(frozen=True)
class Tube:
    """A bent tube: capsules of linearly changing radius along a polyline. Radii in mm."""

    path: tuple[Point, ...]
    radii: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.path) != len(self.radii) or len(self.path) < 2:
            raise ValueError(f"Tube needs a radius for each of 2 or more points, got {len(self.path)}")

    def field(self, at: Coordinates, reach_mm: float = 25.0) -> Field | None:
        """Distance to the wall; ``None`` where no part comes within ``reach_mm`` of the heights asked for."""
        low, high = float(at.z.min()) - reach_mm, float(at.z.max()) + reach_mm
        nearest: Field | None = None
        for i in range(len(self.path) - 1):
            start, end = self.path[i], self.path[i + 1]
            widest = max(self.radii[i], self.radii[i + 1])
            if max(start[2], end[2]) + widest < low or min(start[2], end[2]) - widest > high:
                continue
            part = self._capsule(at, start, end, self.radii[i], self.radii[i + 1])
            nearest = part if nearest is None else np.minimum(nearest, part)
        return nearest

    @staticmethod
    def _capsule(at: Coordinates, start: Point, end: Point, r0: float, r1: float) -> Field:
        x, y, z = (c - np.float32(m) for c, m in zip((at.x, at.y, at.z), start, strict=True))
        dx, dy, dz = (np.float32(b - a) for a, b in zip(start, end, strict=True))
        length2 = max(float(dx * dx + dy * dy + dz * dz), 1e-6)
        t = x * (dx / np.float32(length2)) + (y * (dy / np.float32(length2)) + z * (dz / np.float32(length2)))
        t = np.minimum(np.maximum(t, 0), 1)
        ex, ey, ez = x - t * dx, y - t * dy, z - t * dz
        return np.sqrt(ex * ex + ey * ey + ez * ez) - (np.float32(r0) + t * np.float32(r1 - r0))


def as_point(vector: NDArray[np.float64]) -> Point:
    """A vector of three as a tuple."""
    x, y, z = (float(v) for v in vector)
    return x, y, z

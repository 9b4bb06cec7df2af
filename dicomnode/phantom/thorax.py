"""Pleura, diaphragm and fissures: where each lung and lobe lies, as continuous shapes.

Proportions follow adult CT statistics: lungs 290 mm high, right dome about 12 mm above the left, inner
width of the cage about 280 mm, volumes of the five lobes in the usual order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.fields import Coordinates, Field, Table, smooth_intersection, superellipse
from dicomnode.phantom.mediastinum import Mediastinum
from dicomnode.segment.segmentation import Lobe, Side

SIDE_SIGN = {Side.RIGHT: -1.0, Side.LEFT: 1.0}

_HEIGHTS = (-170, -140, -100, -50, 0, 50, 90, 110, 125, 138, 146, 150)
_LATERAL = Table(_HEIGHTS, (134, 137, 138, 133, 124, 115, 101, 89, 75, 57, 44, 36))
_CENTRE_X = Table(_HEIGHTS, (57, 57, 57, 56, 55, 52, 46, 43, 41, 37, 33, 31))
_FRONT = Table(_HEIGHTS, (-160, -162, -164, -162, -158, -146, -127, -107, -88, -73, -62, -54))
_BACK = Table(_HEIGHTS, (20, 22, 25, 28, 27, 16, 2, -8, -16, -28, -40, -50))

_DOME_TOP = {Side.RIGHT: -48.0, Side.LEFT: -61.0}
_DOME_FOOT = {"lateral": -136.0, "medial": -76.0, "front": -100.0, "back": -150.0}


@dataclass(frozen=True)
class Individual:
    """What differs from patient to patient, drawn from the seed."""

    width: float
    depth: float
    fissure_shift_mm: float
    dome_shift_mm: float
    phases: tuple[float, float, float, float]

    @classmethod
    def from_seed(cls, seed: int) -> Individual:
        """Deviations of a few per cent; the same seed gives the same patient."""
        random = np.random.default_rng((seed, 1))
        width, depth = random.uniform(0.97, 1.03, 2)
        fissure, dome = random.uniform(-6, 6, 2)
        phases = random.uniform(0, 2 * np.pi, 4)
        return cls(
            float(width),
            float(depth),
            float(fissure),
            float(dome),
            (float(phases[0]), float(phases[1]), float(phases[2]), float(phases[3])),
        )


@dataclass(frozen=True)
class Thorax:
    """The pleural cavities of one patient."""

    individual: Individual

    @cached_property
    def mediastinum(self) -> Mediastinum:
        """What lies between the lungs."""
        return Mediastinum()

    def cavity(self, at: Coordinates, side: Side) -> Field:
        """Inside of the rib cage on one side, diaphragm and mediastinum not yet taken away; mm."""
        lateral = _LATERAL(at.z) * np.float32(self.individual.width)
        if side is Side.RIGHT:
            lateral = lateral + np.float32(5)
        centre_x = _CENTRE_X(at.z)
        front, back = _FRONT(at.z) * np.float32(self.individual.depth), _BACK(at.z)
        centre_y = front * np.float32(0.46) + back * np.float32(0.54)
        dy = at.y - centre_y
        half_y = np.where(dy < 0, centre_y - front, back - centre_y)
        dx = at.x * np.float32(SIDE_SIGN[side]) - centre_x
        # Wider towards the midline: both cavities overlap there and the mediastinum parts them.
        half_x = np.where(dx < 0, (lateral - centre_x) * np.float32(1.06), lateral - centre_x)
        outline = superellipse(dx, dy, half_x, half_y, (np.where(dx < 0, 2.5, 2.0), 2.15))
        return np.maximum(outline, (at.z - np.float32(_HEIGHTS[-1])) * np.float32(0.8))

    def dome(self, at: Coordinates, side: Side) -> Field:
        """Height z of the diaphragm over each x, y; mm."""
        u = at.x * np.float32(SIDE_SIGN[side]) - 72
        v = at.y + np.float32(80)
        u = u / np.where(u > 0, np.float32(71 * self.individual.width), np.float32(75))
        v = v / np.where(v > 0, np.float32(104), np.float32(83 * self.individual.depth))
        u2, v2 = u * u, v * v
        square = u2 + v2
        foot_x = np.where(u > 0, _DOME_FOOT["lateral"], _DOME_FOOT["medial"])
        foot_y = np.where(v > 0, _DOME_FOOT["back"], _DOME_FOOT["front"])
        foot = (foot_x * u2 + foot_y * v2) / np.maximum(square, 1e-6)
        top = np.float32(_DOME_TOP[side] + self.individual.dome_shift_mm)
        drop = 1 - np.sqrt(1 - np.minimum(square, np.float32(0.985)) ** np.float32(1.12))
        height: Field = (top + (foot - top) * drop).astype(np.float32)
        return height

    def above_diaphragm(self, at: Coordinates, side: Side, dome: Field | None = None) -> Field:
        """Negative above the diaphragm; mm across it. ``dome`` saves its computation on slices."""
        height = self.dome(at, side) if dome is None else dome
        return (height - at.z) * np.float32(0.75)

    def pleura(
        self,
        at: Coordinates,
        side: Side,
        cavity: Field | None = None,
        dome: Field | None = None,
        mediastinum: Field | None = None,
    ) -> Field:
        """One lung; negative inside, mm. Parts already known save time."""
        inside = self.cavity(at, side) if cavity is None else cavity
        middle = self.mediastinum.outline(at) if mediastinum is None else mediastinum
        own_half = self.mediastinum.septum(at, SIDE_SIGN[side])
        inside = smooth_intersection(inside, self.above_diaphragm(at, side, dome), 3.0)
        return smooth_intersection(smooth_intersection(inside, own_half, 4.0), -middle, 5.0)

    def oblique_fissure(self, at: Coordinates, side: Side) -> Field:
        """Height above the oblique fissure, mm across it: positive in the upper (and middle) lobe."""
        a, b, _, _ = self.individual.phases
        along = at.y + np.float32(65)
        lateral = np.abs(at.x) - np.float32(65)
        base = np.float32((8.0 if side is Side.RIGHT else 13.0) + self.individual.fissure_shift_mm)
        slope = np.float32(1.02 if side is Side.RIGHT else 1.1)
        wave = 5 * np.sin(along * np.float32(0.028) + np.float32(a)) + 4 * np.sin(
            lateral * np.float32(0.045) + np.float32(b)
        )
        height = base + along * slope - lateral * np.float32(0.12) + wave
        height = height - (along * along) * np.float32(0.0009) + 2
        return ((at.z - height) * np.float32(0.70)).astype(np.float32)

    def horizontal_fissure(self, at: Coordinates) -> Field:
        """Height above the right lung's horizontal fissure, mm: positive in the upper lobe."""
        _, _, c, d = self.individual.phases
        height = (
            np.float32(22 + 0.6 * self.individual.fissure_shift_mm)
            - (at.y + 90) * np.float32(0.06)
            + (np.abs(at.x) - 70) * np.float32(-0.07)
            + 3 * np.sin(at.x * np.float32(0.05) + np.float32(c))
            + 3 * np.sin(at.y * np.float32(0.045) + np.float32(d))
        )
        return ((at.z - height) * np.float32(0.98)).astype(np.float32)

    def lobes(self, at: Coordinates, right: Field, left: Field) -> NDArray[np.uint8]:
        """Lobe of each place; ``right`` and ``left`` are :meth:`pleura`, 0 outside the lungs."""
        lobes = np.zeros(np.broadcast_shapes(right.shape, left.shape), np.uint8)
        in_right, in_left = right < 0, left < 0
        if in_right.any():
            lower = self.oblique_fissure(at, Side.RIGHT) < 0
            upper = self.horizontal_fissure(at) > 0
            kind = np.where(lower, Lobe.RIGHT_LOWER, np.where(upper, Lobe.RIGHT_UPPER, Lobe.RIGHT_MIDDLE))
            lobes[in_right] = np.broadcast_to(kind, lobes.shape)[in_right]
        if in_left.any():
            lower = self.oblique_fissure(at, Side.LEFT) < 0
            kind = np.where(lower, Lobe.LEFT_LOWER, Lobe.LEFT_UPPER)
            lobes[in_left] = np.broadcast_to(kind, lobes.shape)[in_left]
        return lobes

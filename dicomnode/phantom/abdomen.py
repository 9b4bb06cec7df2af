"""What lies under the diaphragm: liver, stomach and colon with gas, spleen, fat."""

from __future__ import annotations

import numpy as np

from dicomnode.phantom.fields import (
    Coordinates,
    Field,
    coverage,
    ellipsoid,
    smooth_intersection,
    smooth_union,
)
from dicomnode.phantom.texture import Texture
from dicomnode.phantom.wall import AIR_HU, MUSCLE_HU, blend

LIVER_HU = 58.0
SPLEEN_HU = 48.0
STOMACH_FLUID_HU = 22.0
DIAPHRAGM_MM = 2.5
HIGHEST_MM = -36.0
"""No abdomen above this height."""

_STOMACH_LEVEL_Y = -98.0
_COLON_LEVEL_Y = -121.0


class Abdomen:
    """Paints the upper abdomen of one patient."""

    def __init__(self, seed: int) -> None:
        self._shape = Texture(seed, 21, 30.0)
        self._grain = Texture(seed, 22, 5.0)

    def paint(self, hu: Field, at: Coordinates, cavity: Field, below: Field, edge_mm: float) -> Field:
        """Paint over ``hu`` where ``below`` (mm, negative under the diaphragm) and ``cavity`` hold."""
        room = smooth_intersection(cavity, below, 3)
        inside = coverage(room, edge_mm)
        shape = self._shape.on_slice(at)
        grain = self._grain.on_slice(at)
        # From outside in: the diaphragm's muscle, fat, organs.
        content = np.where(room > -DIAPHRAGM_MM, MUSCLE_HU, -100 + 6 * grain).astype(np.float32)
        under = room + np.float32(DIAPHRAGM_MM)
        content = self._spleen(content, at, under, shape, edge_mm)
        content = self._hollow(content, at, under, edge_mm)
        content = blend(content, LIVER_HU + 4 * grain, coverage(self._liver(at, under, shape), edge_mm))
        return blend(hu, content, inside)

    @staticmethod
    def _liver(at: Coordinates, under: Field, shape: Field) -> Field:
        cut = at.x * np.float32(0.85) + (at.y + 120) * np.float32(0.53) - 36 + 4 * shape
        # The left lobe thins out towards the back of the stomach.
        behind = at.y + np.float32(18) - 46 * np.clip((-at.x - 8) / 45, 0, 1)
        liver = smooth_intersection(under + np.float32(0.5), cut.astype(np.float32), 12)
        return smooth_intersection(liver, behind.astype(np.float32), 10)

    @staticmethod
    def _spleen(hu: Field, at: Coordinates, under: Field, shape: Field, edge_mm: float) -> Field:
        spleen = ellipsoid(at, (104, -30, -114), (25, 44, 38)) + 3 * shape
        return blend(hu, SPLEEN_HU, coverage(smooth_intersection(spleen, under + 1.5, 4), edge_mm))

    @staticmethod
    def _hollow(hu: Field, at: Coordinates, under: Field, edge_mm: float) -> Field:
        """Stomach and the splenic flexure of the colon: wall, fluid, and gas floating to the front."""
        stomach = smooth_union(
            ellipsoid(at, (60, -88, -104), (48, 56, 40)), ellipsoid(at, (42, -125, -136), (40, 36, 36)), 10
        )
        colon = ellipsoid(at, (112, -118, -120), (22, 28, 26))
        for organ, level, wall in ((colon, _COLON_LEVEL_Y, 2.2), (stomach, _STOMACH_LEVEL_Y, 3.5)):
            outer = smooth_intersection(organ, under + 1.0, 4)
            hu = blend(hu, 42.0, coverage(outer, edge_mm))
            gas = coverage(at.y - np.float32(level), edge_mm)
            content = blend(np.full_like(hu, STOMACH_FLUID_HU), AIR_HU + 5, gas)
            hu = blend(hu, content, coverage(outer + np.float32(wall), edge_mm))
        return hu

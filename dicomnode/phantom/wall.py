"""Skin, fat and muscle around the rib cage, and the table below: painted slice by slice in HU."""

from __future__ import annotations

import numpy as np

from dicomnode.phantom.fields import Coordinates, Field, Table, coverage, smooth_union, superellipse
from dicomnode.phantom.mediastinum import spine_centre_y
from dicomnode.phantom.texture import Texture
from dicomnode.phantom.thorax import Thorax

AIR_HU = -1000.0
FAT_HU = -102.0
MUSCLE_HU = 52.0
SKIN_HU = 15.0

_HEIGHTS = (-170, -100, -50, 0, 50, 90, 115, 140, 170)
_HALF_WIDTH = Table(_HEIGHTS, (161, 163, 163, 162, 166, 176, 190, 200, 202))
_FRONT = Table(_HEIGHTS, (-192, -195, -195, -193, -184, -170, -156, -142, -130))
_BACK = Table(_HEIGHTS, (68, 70, 70, 72, 70, 66, 62, 56, 48))


def blend(base: Field, hu: Field | float, share: Field) -> Field:
    """``hu`` laid over ``base`` where ``share`` is 1, mixed in between."""
    return base + (hu - base) * share


class BodyWall:
    """Paints air, table, skin, fat and muscle of one patient."""

    def __init__(self, thorax: Thorax, seed: int) -> None:
        self._width = np.float32(thorax.individual.width)
        self._depth = np.float32(thorax.individual.depth)
        self._shape = Texture(seed, 11, 38.0)
        self._streaks = Texture(seed, 12, 9.0)
        self._fat = Texture(seed, 13, 4.0)
        self._asymmetry = Texture(seed, 14, 60.0)

    def outline(self, at: Coordinates) -> Field:
        """Skin surface, mm."""
        front, back = _FRONT(at.z) * self._depth, _BACK(at.z)
        centre = front * np.float32(0.42) + back * np.float32(0.58)
        dy = at.y - centre
        half_y = np.where(dy < 0, centre - front, back - centre)
        field = superellipse(at.x, dy, _HALF_WIDTH(at.z) * self._width, half_y, (2.5, 2.35))
        return field + self._asymmetry.on_slice(at) * np.float32(1.8)

    def paint(self, at: Coordinates, cavity: Field, edge_mm: float) -> Field:
        """The slice without what the cage holds, HU. ``cavity`` is the union of both sides' cavities, mm."""
        skin = self.outline(at)
        hu = self._table(at, edge_mm)
        hu = blend(hu, SKIN_HU, coverage(skin, edge_mm))
        fat = FAT_HU + self._fat.on_slice(at) * np.float32(7)
        hu = blend(hu, fat, coverage(skin + 2.0, edge_mm))
        return blend(hu, self._muscle_hu(at), self._muscle(at, cavity, skin, edge_mm))

    def _muscle(self, at: Coordinates, cavity: Field, skin: Field, edge_mm: float) -> Field:
        """Share of each pixel that is muscle."""
        angle = np.degrees(np.arctan2(at.y + 60, np.abs(at.x)))
        z = float(at.z.ravel()[0])
        upper = float(np.clip((z + 20) / 70, 0, 1))
        chest = float(np.exp(-(((z - 70) / 55) ** 2)))
        thickness = (
            np.float32(13)
            + 17 * chest * np.exp(-(((angle + 42) / 22) ** 2))
            + (9 + 17 * upper) * np.exp(-(((angle - 30) / 24) ** 2))
            + 8 * np.exp(-(((angle - 75) / 18) ** 2))
            + (30 * float(np.clip((z - 85) / 45, 0, 1))) * np.exp(-(((angle - 8) / 45) ** 2))
        )
        shape = self._shape.on_slice(at)
        depth = cavity - (thickness + 2.2 * shape).astype(np.float32)
        erector = self._erector(at)
        muscle = np.minimum(smooth_union(depth.astype(np.float32), erector, 3), skin + 40)
        muscle = np.maximum(muscle, skin + np.float32(5) + 1.5 * shape)
        share = coverage(muscle, edge_mm)
        # Fat planes: between the layers, around the erector, and streaks within.
        plane = np.abs(cavity - np.float32(14) - 1.5 * shape) - np.float32(0.9)
        planes = coverage(plane, edge_mm) * (thickness > 19) + coverage(np.abs(erector) - 0.8, edge_mm)
        streaks = np.clip((np.abs(self._streaks.on_slice(at)) * -14 + 1.3), 0, 1) * (cavity > 13)
        return share * (1 - 0.8 * np.clip(planes, 0, 1)) * (1 - 0.55 * streaks)

    @staticmethod
    def _erector(at: Coordinates) -> Field:
        centre = spine_centre_y(at.z) + 47
        return superellipse(np.abs(at.x) - np.float32(29), at.y - centre, 25.0, 15.0, (2.2, 2.2))

    def _muscle_hu(self, at: Coordinates) -> Field:
        return MUSCLE_HU + self._fat.on_slice(at) * np.float32(5)

    @staticmethod
    def _table(at: Coordinates, edge_mm: float) -> Field:
        """Mattress and carbon shell as arcs under the back."""
        hu = np.full(np.broadcast_shapes(at.x.shape, at.y.shape), AIR_HU, np.float32)
        sag = (at.x * at.x) * np.float32(0.0011)
        wide = np.abs(at.x) < 205
        mattress = np.abs(at.y - (np.float32(82) - sag)) - np.float32(5)
        hu = blend(hu, -930.0, coverage(mattress, edge_mm) * wide)
        for height, thickness, value in ((88.5, 0.8, -350.0), (98.0, 1.1, -50.0), (112.0, 1.1, -50.0)):
            shell = np.abs(at.y - (np.float32(height) - sag)) - np.float32(thickness)
            hu = blend(hu, value, coverage(shell, edge_mm) * wide * min(1.0, 2 * thickness / edge_mm))
        core = np.abs(at.y - (np.float32(105) - sag)) - np.float32(6)
        return blend(hu, -960.0, coverage(core, edge_mm) * wide)

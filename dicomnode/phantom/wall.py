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
        self._known_bumps: tuple[Field, ...] | None = None
        self._known_table: Field | None = None

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
        grain = self._fat.on_slice(at)
        hu = self._table(at, edge_mm).copy()
        hu = blend(hu, SKIN_HU, coverage(skin, edge_mm))
        hu = blend(hu, FAT_HU + grain * np.float32(7), coverage(skin + 2.0, edge_mm))
        return blend(hu, MUSCLE_HU + grain * np.float32(5), self._muscle(at, cavity, skin, edge_mm))

    def _muscle(self, at: Coordinates, cavity: Field, skin: Field, edge_mm: float) -> Field:
        """Share of each pixel that is muscle."""
        z = float(at.z.ravel()[0])
        upper = float(np.clip((z + 20) / 70, 0, 1))
        chest = float(np.exp(-(((z - 70) / 55) ** 2)))
        shoulder = float(np.clip((z - 85) / 45, 0, 1))
        thickness = np.full(skin.shape, 13, np.float32)
        amounts = (17 * chest, 9 + 17 * upper, 8.0, 30 * shoulder)
        for amount, bump in zip(amounts, self._bumps(at), strict=True):
            thickness += np.float32(amount) * bump
        shape = self._shape.on_slice(at)
        erector = self._erector(at)
        muscle = smooth_union(cavity - (thickness + np.float32(2.2) * shape), erector, 3)
        # Neck and shoulder girdle: muscle everywhere but under the skin.
        muscle = smooth_union(muscle, skin + np.float32(70 - 48 * shoulder), 8) if shoulder > 0 else muscle
        muscle = np.maximum(muscle, skin + (np.float32(5) + np.float32(1.5) * shape))
        share = coverage(muscle, edge_mm)
        # Fat planes: between the layers, around the erector, and streaks within.
        plane = np.abs(cavity - (np.float32(14) + np.float32(1.5) * shape)) - np.float32(0.9)
        planes = coverage(plane, edge_mm) * (thickness > 19)
        planes += coverage(np.abs(erector) - np.float32(0.6), edge_mm) * np.clip(0.5 + shape, 0, 1)
        streaks = np.clip(np.abs(self._streaks.on_slice(at)) * np.float32(-14) + np.float32(1.3), 0, 1)
        share *= 1 - np.float32(0.75) * np.minimum(planes, 1)
        share *= 1 - np.float32(0.55) * streaks * (cavity > 13)
        return share

    def _bumps(self, at: Coordinates) -> tuple[Field, ...]:
        """Muscle groups around the cage (chest, shoulder blade, back, shoulder), 0 to 1; for all slices."""
        if self._known_bumps is None or self._known_bumps[0].shape != (at.y.size, at.x.size):
            angle = np.degrees(np.arctan2(at.y + 60, np.abs(at.x)))
            self._known_bumps = tuple(
                np.exp(-(((angle - middle) / width) ** 2)).astype(np.float32)
                for middle, width in ((-42, 22), (30, 24), (75, 18), (8, 45))
            )
        return self._known_bumps

    @staticmethod
    def _erector(at: Coordinates) -> Field:
        centre = spine_centre_y(at.z) + 47
        return superellipse(np.abs(at.x) - np.float32(29), at.y - centre, 25.0, 15.0, (2.0, 2.0))

    def _table(self, at: Coordinates, edge_mm: float) -> Field:
        """Air, and mattress and carbon shell as arcs under the back; the same for all slices."""
        if self._known_table is not None and self._known_table.shape == (at.y.size, at.x.size):
            return self._known_table
        hu = np.full(np.broadcast_shapes(at.x.shape, at.y.shape), AIR_HU, np.float32)
        sag = (at.x * at.x) * np.float32(0.0011)
        wide = np.abs(at.x) < 205
        mattress = np.abs(at.y - (np.float32(82) - sag)) - np.float32(5)
        hu = blend(hu, -930.0, coverage(mattress, edge_mm) * wide)
        for height, thickness, value in ((88.5, 0.8, -350.0), (98.0, 1.1, -50.0), (112.0, 1.1, -50.0)):
            shell = np.abs(at.y - (np.float32(height) - sag)) - np.float32(thickness)
            hu = blend(hu, value, coverage(shell, edge_mm) * wide * min(1.0, 2 * thickness / edge_mm))
        core = np.abs(at.y - (np.float32(105) - sag)) - np.float32(6)
        self._known_table = blend(hu, -960.0, coverage(core, edge_mm) * wide)
        return self._known_table

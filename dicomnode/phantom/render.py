"""One axial slice of the phantom in HU, without noise: each tissue painted over the one around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.abdomen import Abdomen
from dicomnode.phantom.fields import Coordinates, Field, coverage, smooth_union
from dicomnode.phantom.mediastinum import (
    AIRWAY_WALL_MM,
    GREAT_VESSELS,
    MAIN_BRONCHUS_LEFT,
    MAIN_BRONCHUS_RIGHT,
    OESOPHAGUS,
    TRACHEA,
    spine_centre_y,
    spine_scale,
    vertebral_body,
)
from dicomnode.phantom.skeleton import vertebral_phase
from dicomnode.phantom.spec import Kernel, LesionKind, PhantomSpec
from dicomnode.phantom.texture import Texture, blur_in_plane, point_spread_sigma_mm
from dicomnode.phantom.thorax import Thorax
from dicomnode.phantom.tubes import FULL
from dicomnode.phantom.wall import AIR_HU, BodyWall, blend
from dicomnode.segment.segmentation import Side

BLOOD_HU = 41.0
HEART_MUSCLE_HU = 48.0
VESSEL_HU = 38.0
BRONCHUS_WALL_HU = 10.0
CORTICAL_HU = 820.0
MARROW_HU = 210.0
DISC_HU = 85.0
CARTILAGE_HU = 105.0
FISSURE_HU = -120.0
FISSURE_MM = 0.55
LUNG_FRONT_HU, LUNG_BACK_HU = -880.0, -820.0
THICK_SLICE_MM = 2.6


@dataclass(frozen=True)
class SliceMaps:
    """Fields of one slice that the label maps need too, mm."""

    right: Field
    left: Field


class SliceRenderer:
    """Paints slices of one phantom.

    Parameters
    ----------
    spec, thorax:
        The phantom and its lungs.
    coverages:
        uint8 volumes (z, y, x) named bone, marrow, cartilage, vessel, wall, lumen, and one per lesion kind.
    """

    def __init__(
        self, spec: PhantomSpec, thorax: Thorax, coverages: Mapping[str, NDArray[np.uint8]]
    ) -> None:
        self._spec, self._thorax, self._coverages = spec, thorax, coverages
        self._x, self._y, self._z = spec.axis_mm(2), spec.axis_mm(1), spec.axis_mm(0)
        self._spacing_yx = spec.spacing_mm[1], spec.spacing_mm[2]
        self._edge = float(max(np.sqrt(self._spacing_yx[0] * self._spacing_yx[1]), 0.8))
        self._wall = BodyWall(thorax, spec.seed)
        self._abdomen = Abdomen(spec.seed)
        at = self.coordinates(0)
        self._domes = {side: thorax.dome(at, side) for side in (Side.RIGHT, Side.LEFT)}
        self._textures = {
            "fine": Texture(spec.seed, 2, 1.6),
            "lobule": Texture(spec.seed, 3, 6.0),
            "region": Texture(spec.seed, 4, 45.0),
            "ggo": Texture(spec.seed, 5, 3.0),
            "patch": Texture(spec.seed, 6, 11.0),
        }

    def coordinates(self, index: int, offset_mm: float = 0.0) -> Coordinates:
        """Voxel centres of slice ``index``, moved along z."""
        return Coordinates.of_slice(self._x, self._y, float(self._z[index]) + offset_mm)

    def maps(self, at: Coordinates) -> SliceMaps:
        """Both pleurae on a slice."""
        return self._maps(at, self._cavities(at), self._thorax.mediastinum.outline(at))

    def slice(self, index: int) -> Field:
        """Noise-free HU of slice ``index`` after the kernel's point spread; thick slices average several planes."""
        thickness = self._spec.spacing_mm[0]
        planes = int(np.ceil(thickness / THICK_SLICE_MM))
        offsets = ((np.arange(planes) + 0.5) / planes - 0.5) * thickness
        total = np.zeros((len(self._y), len(self._x)), np.float32)
        for offset in offsets:
            total += self._plane(index, self.coordinates(index, float(offset)))
        sigma = point_spread_sigma_mm(Kernel(self._spec.kernel))
        return blur_in_plane(total / np.float32(planes), sigma, self._spacing_yx)

    def _cavities(self, at: Coordinates) -> dict[Side, Field]:
        return {side: self._thorax.cavity(at, side) for side in (Side.RIGHT, Side.LEFT)}

    def _maps(self, at: Coordinates, cavities: dict[Side, Field], middle: Field) -> SliceMaps:
        right, left = (
            self._thorax.pleura(at, side, cavities[side], self._domes[side], middle)
            for side in (Side.RIGHT, Side.LEFT)
        )
        return SliceMaps(right, left)

    def _plane(self, index: int, at: Coordinates) -> Field:
        edge = self._edge
        cavities = self._cavities(at)
        cage = smooth_union(cavities[Side.RIGHT], cavities[Side.LEFT], 30)
        middle = self._thorax.mediastinum.outline(at)
        maps = self._maps(at, cavities, middle)
        hu = self._wall.paint(at, cage, edge)
        within = coverage(cage, edge)
        fine = self._textures["fine"].on_slice(at)
        hu = blend(hu, -95 + 6 * fine, within)
        hu = self._abdomen.paint(hu, at, cage, self._below(at), edge)
        hu = self._mediastinum(hu, at, within)
        hu = self._lungs(hu, at, index, maps, fine)
        hu = self._airways(hu, at)
        return self._bones(hu, at, index)

    def _below(self, at: Coordinates) -> Field:
        """Negative under the diaphragm, whichever side a place is on, mm."""
        right, left = (self._thorax.above_diaphragm(at, side, self._domes[side]) for side in self._domes)
        share = np.clip((at.x + 30) / 60, 0, 1)
        heart = self._thorax.mediastinum.heart(at)
        return np.maximum(-(right * (1 - share) + left * share), -heart + 4)

    def _mediastinum(self, hu: Field, at: Coordinates, within: Field) -> Field:
        edge = self._edge
        organs = self._thorax.mediastinum
        heart = organs.heart(at)
        if float(heart.min()) < 5:
            hu = blend(hu, HEART_MUSCLE_HU, coverage(heart, edge))
            hu = blend(hu, BLOOD_HU, coverage(organs.ventricle_blood(at), 3.0) * (heart < 0))
        for tube in GREAT_VESSELS.values():
            field = tube.field(at, 5.0)
            if field is not None:
                hu = blend(hu, BLOOD_HU, coverage(field, edge))
        gullet = OESOPHAGUS.field(at, 5.0)
        if gullet is not None:
            hu = blend(hu, 38.0, coverage(gullet, edge))
            trace = float(np.clip(np.sin(float(at.z.ravel()[0]) * 0.09) * 2.2 - 0.3, 0, 2.2))
            if trace > 0:
                hu = blend(hu, -700.0, coverage(gullet + np.float32(6.0 - trace), edge))
        paraspinal = vertebral_body(at) - 2
        return blend(hu, 45.0, coverage(paraspinal, edge) * within)

    def _lungs(self, hu: Field, at: Coordinates, index: int, maps: SliceMaps, fine: Field) -> Field:
        pleura = np.minimum(maps.right, maps.left)
        inside = coverage(pleura, self._edge)
        if not inside.any():
            return hu
        slope = np.clip((at.y + 150) / 170, 0, 1) * np.float32(LUNG_BACK_HU - LUNG_FRONT_HU)
        lobule, region = self._textures["lobule"].on_slice(at), self._textures["region"].on_slice(at)
        tissue = LUNG_FRONT_HU + slope + 11 * fine + 9 * lobule + 7 * region
        tissue = self._fissures(tissue, at, maps)
        patch = self._textures["patch"].on_slice(at)
        if LesionKind.GGO in self._coverages:
            grain = self._textures["ggo"].on_slice(at)
            ggo = self._spec.ggo_hu + 42 * patch + 34 * grain + 14 * fine
            tissue = blend(tissue, ggo, self._share(LesionKind.GGO, index))
        if LesionKind.CONSOLIDATION in self._coverages:
            solid = self._spec.consolidation_hu + 16 * patch + 8 * fine
            tissue = blend(tissue, solid, self._share(LesionKind.CONSOLIDATION, index))
        tissue = blend(tissue, VESSEL_HU, self._share("vessel", index))
        tissue = blend(tissue, np.maximum(tissue, BRONCHUS_WALL_HU), self._share("wall", index))
        tissue = blend(tissue, AIR_HU, self._share("lumen", index))
        return blend(hu, tissue, inside)

    def _fissures(self, tissue: Field, at: Coordinates, maps: SliceMaps) -> Field:
        """Fissures as sheets thinner than the pixels, lung at their sides a little emptier of vessels."""
        width = max(self._edge, 1.0)
        oblique_right = self._thorax.oblique_fissure(at, Side.RIGHT)
        sheets = (
            (oblique_right, maps.right < 0),
            (self._thorax.oblique_fissure(at, Side.LEFT), maps.left < 0),
            (self._thorax.horizontal_fissure(at), (maps.right < 0) & (oblique_right > 0)),
        )
        for distance, where in sheets:
            sheet = np.maximum(1 - np.abs(distance) / np.float32(width), 0) * np.float32(FISSURE_MM / width)
            tissue = blend(tissue, FISSURE_HU, sheet * where)
        return tissue

    def _airways(self, hu: Field, at: Coordinates) -> Field:
        edge = self._edge
        parts = (tube.field(at, 5.0) for tube in (TRACHEA, MAIN_BRONCHUS_RIGHT, MAIN_BRONCHUS_LEFT))
        known = [part for part in parts if part is not None]
        if not known:
            return hu
        field = known[0]
        for part in known[1:]:
            field = np.minimum(field, part)
        hu = blend(hu, 35.0, coverage(field - np.float32(AIRWAY_WALL_MM), edge))
        return blend(hu, AIR_HU, coverage(field, edge))

    def _bones(self, hu: Field, at: Coordinates, index: int) -> Field:
        edge = self._edge
        hu = blend(hu, CARTILAGE_HU, self._share("cartilage", index))
        fine, lobule = self._textures["fine"].on_slice(at), self._textures["lobule"].on_slice(at)
        marrow = MARROW_HU + 40 * fine + 25 * lobule
        hu = blend(hu, CORTICAL_HU, self._share("bone", index))
        hu = blend(hu, marrow, self._share("marrow", index))
        scale = spine_scale(at.z)
        canal_y = spine_centre_y(at.z) + 23 * scale
        canal = np.hypot(at.x, (at.y - canal_y) * np.float32(1.15)) - 8.2
        body = vertebral_body(at)
        phase = float(vertebral_phase(at.z).ravel()[0])
        if 0.1 < phase < 0.9:
            hu = blend(hu, CORTICAL_HU * 0.75, coverage(body, edge))
            endplate = phase < 0.15 or phase > 0.85
            hu = blend(hu, 430.0 if endplate else marrow, coverage(body + np.float32(1.2), edge))
        else:
            hu = blend(hu, DISC_HU, coverage(body, edge))
        hu = blend(hu, 12.0, coverage(canal, edge))
        cord = np.hypot(at.x / np.float32(1.2), at.y - canal_y) - 4.6
        return blend(hu, 36.0, coverage(cord, 2.0))

    def _share(self, name: str, index: int) -> Field:
        return self._coverages[name][index].astype(np.float32) * np.float32(1 / FULL)

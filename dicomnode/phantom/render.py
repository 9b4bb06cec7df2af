"""One axial slice of the phantom in HU, without noise: each tissue painted over the one around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.abdomen import HIGHEST_MM, Abdomen
from dicomnode.phantom.fields import Coordinates, Field, coverage, smooth_union
from dicomnode.phantom.mediastinum import (
    AIRWAY_WALL_MM,
    AIRWAYS,
    GREAT_VESSELS,
    REACH_MM,
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
FISSURE_MM = 0.4
LUNG_FRONT_HU, LUNG_BACK_HU = -880.0, -820.0
THICK_SLICE_MM = 2.6


CAGE_REACH_MM = ((-156.0, 156.0), (-176.0, 40.0))
"""x and y between which both lungs lie."""


@dataclass(frozen=True)
class Window:
    """A rectangle of the slice: the pixels that a part of the body can reach."""

    rows: slice
    columns: slice

    @classmethod
    def of(
        cls,
        reach_mm: tuple[tuple[float, float], tuple[float, float]],
        x_mm: NDArray[np.float64],
        y_mm: NDArray[np.float64],
    ) -> Window:
        """Pixels between the given x and y."""
        left, right = np.searchsorted(x_mm, reach_mm[0])
        front, back = np.searchsorted(y_mm, reach_mm[1])
        return cls(slice(int(front), int(back)), slice(int(left), int(right)))

    def of_field(self, field: Field) -> Field:
        """View of a field in this rectangle."""
        return field[self.rows, self.columns]


@dataclass(frozen=True)
class PlaneFields:
    """Fields of one plane, mm: cage whole, pleurae in the cage's window, tubes in the mediastinum's."""

    cage: Field
    right: Field
    left: Field
    tubes: Mapping[str, Field]


class SliceRenderer:
    """Paints slices of one phantom.

    Parameters
    ----------
    spec, thorax:
        The phantom and its lungs.
    coverages:
        uint8 volumes (z, y, x) named bone, marrow, cartilage, vessel, wall, lumen, and one per lesion kind.
    """

    def __init__(self, spec: PhantomSpec, thorax: Thorax, coverages: Mapping[str, NDArray[np.uint8]]) -> None:
        self._spec, self._thorax, self._coverages = spec, thorax, coverages
        self._x, self._y, self._z = spec.axis_mm(2), spec.axis_mm(1), spec.axis_mm(0)
        self.cage_window = Window.of(CAGE_REACH_MM, self._x, self._y)
        self._middle_window = Window.of(REACH_MM, self._x, self._y)
        self._spacing_yx = spec.spacing_mm[1], spec.spacing_mm[2]
        self._edge = float(max(np.sqrt(self._spacing_yx[0] * self._spacing_yx[1]), 0.8))
        self._wall = BodyWall(thorax, spec.seed)
        self._abdomen = Abdomen(spec.seed)
        at = self.coordinates(0).crop(self.cage_window.rows, self.cage_window.columns)
        self._domes = {side: thorax.dome(at, side) for side in (Side.RIGHT, Side.LEFT)}
        steps = {"fine": 2.2, "lobule": 6.0, "region": 45.0}
        if spec.lesions:
            steps |= {"ggo": 3.0, "patch": 11.0}
        self._textures = {
            name: Texture(spec.seed, 2 + i, step) for i, (name, step) in enumerate(steps.items())
        }

    def coordinates(self, index: int, offset_mm: float = 0.0) -> Coordinates:
        """Voxel centres of slice ``index``, moved along z."""
        return Coordinates.of_slice(self._x, self._y, float(self._z[index]) + offset_mm)

    def fields(self, at: Coordinates) -> PlaneFields:
        """Cage and pleurae on a plane."""
        sides = (Side.RIGHT, Side.LEFT)
        cavities = {side: self._thorax.cavity(at, side) for side in sides}
        middle_at = at.crop(self._middle_window.rows, self._middle_window.columns)
        tubes = self._thorax.mediastinum.tubes(middle_at)
        middle = np.full((at.y.size, at.x.size), 50, np.float32)
        self._middle_window.of_field(middle)[:] = self._thorax.mediastinum.outline(middle_at, tubes)
        window = self.cage_window
        cage_at = at.crop(window.rows, window.columns)
        right, left = (
            self._thorax.pleura(
                cage_at, side, window.of_field(cavities[side]), self._domes[side], window.of_field(middle)
            )
            for side in sides
        )
        cage = smooth_union(cavities[Side.RIGHT], cavities[Side.LEFT], 30)
        return PlaneFields(cage, right, left, tubes)

    def slice(self, index: int) -> Field:
        """Noise-free HU of slice ``index`` after the point spread; thick slices average several planes."""
        thickness = self._spec.spacing_mm[0]
        planes = int(np.ceil(thickness / THICK_SLICE_MM))
        offsets = ((np.arange(planes) + 0.5) / planes - 0.5) * thickness
        total = np.zeros((len(self._y), len(self._x)), np.float32)
        for offset in offsets:
            total += self._plane(index, self.coordinates(index, float(offset)))
        sigma = point_spread_sigma_mm(Kernel(self._spec.kernel))
        return blur_in_plane(total / np.float32(planes), sigma, self._spacing_yx)

    def _plane(self, index: int, at: Coordinates) -> Field:
        known = self.fields(at)
        hu = self._wall.paint(at, known.cage, self._edge)
        cage_at = at.crop(self.cage_window.rows, self.cage_window.columns)
        middle_at = at.crop(self._middle_window.rows, self._middle_window.columns)
        fine, lobule = (self._textures[name].on_slice(cage_at) for name in ("fine", "lobule"))
        caged = self.cage_window.of_field(hu)
        cage = self.cage_window.of_field(known.cage)
        caged[:] = blend(caged, -95 + 6 * fine, coverage(cage, self._edge))
        if float(at.z.ravel()[0]) < HIGHEST_MM:
            caged[:] = self._abdomen.paint(caged, cage_at, cage, self._below(cage_at), self._edge)
        middle = self._middle_window.of_field(hu)
        middle[:] = self._mediastinum(middle, middle_at, known)
        caged[:] = self._lungs(caged, cage_at, index, known, fine, lobule)
        middle[:] = self._airways(middle, known)
        hu = self._bones(hu, index, 40 * lobule)
        middle = self._middle_window.of_field(hu)
        middle[:] = self._spine(middle, middle_at)
        return hu

    def _below(self, at: Coordinates) -> Field:
        """Negative under the diaphragm, whichever side a place is on, mm."""
        right, left = (self._thorax.above_diaphragm(at, side, self._domes[side]) for side in self._domes)
        share = np.clip((at.x + 30) / 60, 0, 1)
        heart = self._thorax.mediastinum.heart(at)
        return np.maximum(-(right * (1 - share) + left * share), -heart + 4)

    def _mediastinum(self, hu: Field, at: Coordinates, known: PlaneFields) -> Field:
        edge = self._edge
        organs = self._thorax.mediastinum
        z = float(at.z.ravel()[0])
        if -95 < z < 70:
            heart = organs.heart(at)
            hu = blend(hu, HEART_MUSCLE_HU, coverage(heart, edge))
            hu = blend(hu, BLOOD_HU, coverage(organs.ventricle_blood(at), 3.0) * (heart < 0))
        for name in GREAT_VESSELS:
            if name in known.tubes:
                hu = blend(hu, BLOOD_HU, coverage(known.tubes[name], edge))
        gullet = known.tubes.get("oesophagus")
        if gullet is not None:
            hu = blend(hu, 38.0, coverage(gullet, edge))
            trace = float(np.clip(np.sin(z * 0.09) * 2.2 - 0.3, 0, 2.2))
            if trace > 0:
                hu = blend(hu, -700.0, coverage(gullet + np.float32(6.0 - trace), edge))
        within = coverage(self._middle_window.of_field(known.cage), edge)
        paraspinal = smooth_union(vertebral_body(at) - 2, organs.rib_necks(at) + 3, 8)
        return blend(hu, 45.0, coverage(paraspinal, edge) * within)

    def _lungs(
        self, hu: Field, at: Coordinates, index: int, known: PlaneFields, fine: Field, lobule: Field
    ) -> Field:
        inside = coverage(np.minimum(known.right, known.left), self._edge)
        if not inside.any():
            return hu
        slope = np.clip((at.y + 150) / 170, 0, 1) * np.float32(LUNG_BACK_HU - LUNG_FRONT_HU)
        region = self._textures["region"].on_slice(at)
        tissue = (LUNG_FRONT_HU + slope) + (11 * fine + 9 * lobule + 7 * region)
        tissue = self._fissures(tissue, at)
        for kind in LesionKind:
            share = self._caged_share(kind, index)
            if share is not None:
                tissue = blend(tissue, self._lesion_hu(kind, at, fine), share)
        vessel, wall, lumen = (self._caged_share(name, index) for name in ("vessel", "wall", "lumen"))
        if vessel is not None:
            tissue = blend(tissue, VESSEL_HU, vessel)
        if wall is not None:
            tissue = blend(tissue, np.maximum(tissue, BRONCHUS_WALL_HU), wall)
        if lumen is not None:
            tissue = blend(tissue, AIR_HU, lumen)
        return blend(hu, tissue, inside)

    def _lesion_hu(self, kind: LesionKind, at: Coordinates, fine: Field) -> Field:
        patch = self._textures["patch"].on_slice(at)
        if kind is LesionKind.GGO:
            return self._spec.ggo_hu + (42 * patch + 34 * self._textures["ggo"].on_slice(at) + 14 * fine)
        return self._spec.consolidation_hu + (16 * patch + 8 * fine)

    def _fissures(self, tissue: Field, at: Coordinates) -> Field:
        """Fissures as sheets thinner than a voxel; the horizontal one is blurred by the slice it lies in."""
        oblique_right = self._thorax.oblique_fissure(at, Side.RIGHT)
        oblique_left = self._thorax.oblique_fissure(at, Side.LEFT)
        width = max(self._edge, 1.0)
        sheet = _sheet(np.where(at.x < 0, oblique_right, oblique_left), width)
        horizontal = _sheet(self._thorax.horizontal_fissure(at), max(width, self._spec.spacing_mm[0]))
        sheet = np.maximum(sheet, horizontal * ((at.x < 0) & (oblique_right > 0)))
        return blend(tissue, FISSURE_HU, sheet)

    def _airways(self, hu: Field, known: PlaneFields) -> Field:
        parts = [known.tubes[name] for name in AIRWAYS if name in known.tubes]
        if not parts:
            return hu
        field = parts[0]
        for part in parts[1:]:
            field = np.minimum(field, part)
        hu = blend(hu, 35.0, coverage(field - np.float32(AIRWAY_WALL_MM), self._edge))
        return blend(hu, AIR_HU, coverage(field, self._edge))

    def _bones(self, hu: Field, index: int, grain: Field) -> Field:
        marrow_hu = np.full_like(hu, MARROW_HU)
        self.cage_window.of_field(marrow_hu)[:] += grain
        painted: tuple[tuple[str, Field | float], ...] = (
            ("cartilage", CARTILAGE_HU),
            ("bone", CORTICAL_HU),
            ("marrow", marrow_hu),
        )
        for name, value in painted:
            share = self._share(name, index)
            if share is not None:
                hu = blend(hu, value, share)
        return hu

    def _spine(self, hu: Field, at: Coordinates) -> Field:
        edge = self._edge
        fine, lobule = (self._textures[name].on_slice(at) for name in ("fine", "lobule"))
        body = vertebral_body(at)
        phase = float(vertebral_phase(at.z).ravel()[0])
        if 0.1 < phase < 0.9:
            inner = 430.0 if phase < 0.15 or phase > 0.85 else MARROW_HU + 40 * fine + 25 * lobule
            hu = blend(hu, CORTICAL_HU * 0.75, coverage(body, edge))
            hu = blend(hu, inner, coverage(body + np.float32(1.2), edge))
        else:
            hu = blend(hu, DISC_HU, coverage(body, edge))
        canal_y = spine_centre_y(at.z) + 23 * spine_scale(at.z)
        canal = np.hypot(at.x, (at.y - canal_y) * np.float32(1.15)) - np.float32(8.2)
        hu = blend(hu, 12.0, coverage(canal, edge))
        cord = np.hypot(at.x / np.float32(1.2), at.y - canal_y) - np.float32(4.6)
        return blend(hu, 36.0, coverage(cord, 2.0))

    def _share(self, name: str, index: int) -> Field | None:
        """Coverage of slice ``index``, 0 to 1; ``None`` where there is none."""
        coverage_volume = self._coverages.get(name)
        if coverage_volume is None or not coverage_volume[index].any():
            return None
        return coverage_volume[index].astype(np.float32) * np.float32(1 / FULL)

    def _caged_share(self, name: str, index: int) -> Field | None:
        share = self._share(name, index)
        return None if share is None else self.cage_window.of_field(share)


def _sheet(distance: Field, width_mm: float) -> Field:
    """Share of a sheet of FISSURE_MM in what a voxel ``width_mm`` wide sees of it; ``distance`` in mm."""
    width = np.float32(width_mm)
    return np.maximum(1 - np.abs(distance) / width, 0) * (np.float32(FISSURE_MM) / width)

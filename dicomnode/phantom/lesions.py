"""Ground glass and consolidation: irregular shapes grown in a lobe to the volume asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.fields import Coordinates, Field, as_point
from dicomnode.phantom.spec import LesionKind, LesionSpec, PhantomError, PhantomSpec, Place
from dicomnode.phantom.texture import Texture
from dicomnode.phantom.thorax import Thorax
from dicomnode.phantom.tree import LOBE_SIDE, sample_lobes
from dicomnode.phantom.tubes import FULL
from dicomnode.segment.segmentation import Label, Lobe, Side

LABEL_OF_KIND = {LesionKind.GGO: Label.GROUND_GLASS, LesionKind.CONSOLIDATION: Label.CONSOLIDATION}
EDGE_MM = {LesionKind.GGO: 5.0, LesionKind.CONSOLIDATION: 2.0}
_IRREGULARITY = 0.42
_SUBPLEURAL_MM = 7.0


@dataclass(frozen=True)
class Seat:
    """Centre of a lesion and the direction of the nearest pleura, patient mm."""

    lobe: Lobe
    centre: tuple[float, float, float]
    outward: NDArray[np.float64]


class LesionGrower:
    """Grows the lesions of a spec into its label map.

    Parameters
    ----------
    spec, thorax:
        The phantom and its lungs.
    labels, lobes:
        uint8 maps (z, y, x); ``labels`` holds normal lung and is changed in place.
    """

    def __init__(
        self, spec: PhantomSpec, thorax: Thorax, labels: NDArray[np.uint8], lobes: NDArray[np.uint8]
    ) -> None:
        self._spec, self._thorax = spec, thorax
        self._labels, self._lobes = labels, lobes
        self._axes = tuple(spec.axis_mm(axis).astype(np.float32) for axis in (2, 1, 0))
        self.weights = {kind: np.zeros(spec.matrix, np.uint8) for kind in self._kinds()}
        self._clouds = sample_lobes(thorax, spec.seed) if spec.lesions else {}

    def _kinds(self) -> set[LesionKind]:
        return {LesionKind(lesion.kind) for lesion in self._spec.lesions}

    def grow(self, index: int) -> None:
        """Grow lesion number ``index`` of the spec.

        Raises
        ------
        PhantomError
            If its lobe has no room for it, or its centre lies outside the lung.
        """
        lesion = self._spec.lesions[index]
        seat = self._seat(lesion, index)
        wanted = max(1, round(lesion.volume_ml / self._spec.voxel_ml))
        radius = (3000 * lesion.volume_ml / (4 * np.pi)) ** (1 / 3)
        for reach in (2.6 * radius + 15, 5 * radius + 30, 1000.0):
            box = self._box(seat.centre, reach)
            metric = self._metric(box, seat, radius, index)
            room = (self._labels[box] == Label.NORMAL_LUNG) & (self._lobes[box] == seat.lobe)
            candidates = metric[room]
            if candidates.size <= wanted and reach < 1000:
                continue
            if candidates.size < wanted:
                raise PhantomError(
                    f"lesion {index + 1} of {lesion.volume_ml:g} mL does not fit: "
                    f"{candidates.size * self._spec.voxel_ml:.1f} mL are free in its lobe"
                )
            limit = float(np.partition(candidates, wanted - 1)[wanted - 1])
            if limit < 0.85 * reach or reach >= 1000:
                break
        self._mark(box, room, metric, wanted, limit, lesion, seat)

    def _mark(
        self,
        box: tuple[slice, slice, slice],
        room: NDArray[np.bool_],
        metric: Field,
        wanted: int,
        limit: float,
        lesion: LesionSpec,
        seat: Seat,
    ) -> None:
        kind = LesionKind(lesion.kind)
        taken = self._labels[box] > Label.NORMAL_LUNG
        order = np.flatnonzero(room & (metric <= limit))
        order = order[np.argsort(metric.ravel()[order], kind="stable")][:wanted]
        labels = self._labels[box]
        labels[np.unravel_index(order, labels.shape)] = LABEL_OF_KIND[kind]
        # Past the pleura too, where the lung's own partial volume fades it; not past the fissure.
        lobes = self._lobes[box]
        share = np.clip((np.float32(limit) - metric) / np.float32(EDGE_MM[kind]) + 0.5, 0, 1)
        share = share * share * (3 - 2 * share) * ((lobes == seat.lobe) | (lobes == Lobe.NONE)) * ~taken
        view = self.weights[kind][box]
        np.maximum(view, (share * FULL).astype(np.uint8), out=view)

    def _box(self, centre: tuple[float, float, float], reach: float) -> tuple[slice, slice, slice]:
        spans = []
        for axis, middle in zip(self._axes, centre, strict=True):
            first, last = np.searchsorted(axis, (middle - reach, middle + reach))
            spans.append(slice(int(first), int(last)))
        return spans[2], spans[1], spans[0]

    def _metric(self, box: tuple[slice, slice, slice], seat: Seat, radius: float, index: int) -> Field:
        """Noise-perturbed ellipsoidal distance from the centre, mm; flat along the pleura."""
        x, y, z = (axis[part] for axis, part in zip(self._axes, box[::-1], strict=True))
        dx = (x - np.float32(seat.centre[0]))[None, None, :]
        dy = (y - np.float32(seat.centre[1]))[None, :, None]
        dz = (z - np.float32(seat.centre[2]))[:, None, None]
        nx, ny, nz = (np.float32(v) for v in seat.outward)
        outward = dx * nx + dy * ny + dz * nz
        square = dx * dx + dy * dy + np.float32(0.8) * dz * dz + np.float32(1.1) * outward * outward
        blob = Texture(self._spec.seed, 500 + 2 * index, float(np.clip(0.75 * radius, 5, 25)))
        frill = Texture(self._spec.seed, 501 + 2 * index, float(np.clip(0.3 * radius, 3, 7)))
        rough = blob.on_grid(x, y, z) + np.float32(0.45) * frill.on_grid(x, y, z)
        return np.sqrt(square) + np.float32(_IRREGULARITY * radius) * rough

    def _seat(self, lesion: LesionSpec, index: int) -> Seat:
        if lesion.centre_mm is not None:
            return self._explicit_seat(lesion, index)
        cloud = self._clouds[lesion.lobe]
        side = LOBE_SIDE[lesion.lobe]
        depth = -self._thorax.pleura(Coordinates.of_points(cloud), side)
        random = np.random.default_rng((self._spec.seed, 61, index))
        if lesion.place is Place.PERIPHERAL:
            wall = -self._thorax.cavity(Coordinates.of_points(cloud), side)
            cloud = cloud[(depth < _SUBPLEURAL_MM) & (wall < _SUBPLEURAL_MM + 2)]
            backmost = cloud[np.argsort(-cloud[:, 1], kind="stable")]
            choice = backmost[: max(1, len(backmost) // 3)]
        else:
            choice = cloud[np.argsort(-depth, kind="stable")][: max(1, len(cloud) // 20)]
        centre = as_point(choice[random.integers(len(choice))])
        return Seat(lesion.lobe, centre, self._outward(centre, side, lesion.place is Place.PERIPHERAL))

    def _explicit_seat(self, lesion: LesionSpec, index: int) -> Seat:
        assert lesion.centre_mm is not None
        at = Coordinates.of_points(np.array([lesion.centre_mm]))
        right, left = self._thorax.pleura(at, Side.RIGHT), self._thorax.pleura(at, Side.LEFT)
        lobe = Lobe(int(self._thorax.lobes(at, right, left)[0]))
        if lobe is Lobe.NONE:
            raise PhantomError(f"lesion {index + 1}: its centre {lesion.centre_mm} mm lies outside the lungs")
        if lesion.lobe not in (Lobe.NONE, lobe):
            raise PhantomError(
                f"lesion {index + 1}: its centre lies in {lobe.name.lower()}, not {lesion.lobe.name.lower()}"
            )
        side = LOBE_SIDE[lobe]
        near = float((right if side is Side.RIGHT else left)[0]) > -15
        return Seat(lobe, lesion.centre_mm, self._outward(lesion.centre_mm, side, near))

    def _outward(self, centre: tuple[float, float, float], side: Side, near: bool) -> NDArray[np.float64]:
        if not near:
            return np.zeros(3)
        steps = np.vstack([np.eye(3), -np.eye(3)]) * 2.0
        value = self._thorax.pleura(Coordinates.of_points(np.array(centre) + steps), side).astype(np.float64)
        gradient = value[:3] - value[3:]
        length = float(np.linalg.norm(gradient))
        return gradient / length if length > 0 else np.zeros(3)

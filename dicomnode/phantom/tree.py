"""Bronchi, pulmonary arteries and veins: trees that branch into every part of their lobe.

Each tree is grown from its root towards a cloud of end points: a branch runs part of the way to the middle of
its points, which then part into two groups. Radii follow Murray's law with the exponent 2.8 of lung vessels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.fields import Coordinates
from dicomnode.phantom.thorax import SIDE_SIGN, Thorax
from dicomnode.phantom.tubes import Capsules
from dicomnode.segment.segmentation import Lobe, Side

LOBE_SIDE = {
    Lobe.RIGHT_UPPER: Side.RIGHT,
    Lobe.RIGHT_MIDDLE: Side.RIGHT,
    Lobe.RIGHT_LOWER: Side.RIGHT,
    Lobe.LEFT_UPPER: Side.LEFT,
    Lobe.LEFT_LOWER: Side.LEFT,
}
_ENDS = {
    Lobe.RIGHT_UPPER: 460,
    Lobe.RIGHT_MIDDLE: 250,
    Lobe.RIGHT_LOWER: 660,
    Lobe.LEFT_UPPER: 580,
    Lobe.LEFT_LOWER: 640,
}
_BRONCHUS_ROOTS = {
    Lobe.RIGHT_UPPER: ((-29, -61, 39), (-44, -63, 44)),
    Lobe.RIGHT_MIDDLE: ((-37, -62, 24), (-43, -72, 8)),
    Lobe.RIGHT_LOWER: ((-37, -62, 24), (-42, -53, 4)),
    Lobe.LEFT_UPPER: ((38, -57, 27), (48, -68, 30)),
    Lobe.LEFT_LOWER: ((40, -57, 26), (44, -47, 8)),
}
_VEIN_ROOTS = {
    Lobe.RIGHT_UPPER: ((-38, -73, 2), (-50, -80, 20)),
    Lobe.RIGHT_MIDDLE: ((-38, -73, 2), (-52, -88, -4)),
    Lobe.RIGHT_LOWER: ((-32, -55, -13), (-46, -44, -22)),
    Lobe.LEFT_UPPER: ((37, -73, 9), (50, -84, 24)),
    Lobe.LEFT_LOWER: ((32, -53, -11), (46, -42, -22)),
}
_END_RADIUS_MM = {"artery": 0.48, "vein": 0.45}
_BRONCHUS_TO_ARTERY = 1.0
_MURRAY = 1 / 2.8
_SMALLEST_BRONCHUS = 14
"""Ends a branch must feed for its bronchus to be seen on CT (lumen radius about 0.8 mm)."""


@dataclass(frozen=True, eq=False)
class Branches:
    """Branches from ``start`` to ``end``, entered along ``heading``, (n, 3), mm; ``ends`` hang on each."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    heading: NDArray[np.float64]
    parent_ends: NDArray[np.int64]
    ends: NDArray[np.int64]


@dataclass(frozen=True)
class Trees:
    """All vessels and bronchi inside the lungs."""

    vessels: Capsules
    lumens: Capsules
    walls: Capsules


def sample_lobes(
    thorax: Thorax, seed: int, count: int = 26000, depth_mm: float = 2.5
) -> dict[Lobe, NDArray[np.float64]]:
    """Random points in every lobe, at least ``depth_mm`` below the pleura; the same for any grid."""
    random = np.random.default_rng((seed, 31))
    points = random.uniform((-150, -172, -145), (150, 35, 152), (count, 3))
    at = Coordinates.of_points(points)
    middle = thorax.mediastinum.outline(at)
    right = thorax.pleura(at, Side.RIGHT, mediastinum=middle)
    left = thorax.pleura(at, Side.LEFT, mediastinum=middle)
    lobes = thorax.lobes(at, right + np.float32(depth_mm), left + np.float32(depth_mm))
    return {lobe: points[lobes == lobe] for lobe in LOBE_SIDE}


@lru_cache(maxsize=2)
def grow_trees(thorax: Thorax, seed: int) -> Trees:
    """Grow the bronchovascular and venous trees of one patient."""
    clouds = sample_lobes(thorax, seed)
    vessels: list[Capsules] = []
    walls: list[Capsules] = []
    for lobe, side in LOBE_SIDE.items():
        random = np.random.default_rng((seed, 41, int(lobe)))
        cloud = random.permutation(clouds[lobe])
        ends = min(_ENDS[lobe], len(cloud) // 2)
        beside = np.array((0.35 * SIDE_SIGN[side], 0.25, 0.9))
        beside /= np.linalg.norm(beside)
        airways = _grow(_BRONCHUS_ROOTS[lobe], cloud[:ends], random)
        vessels += _pieces(airways, _END_RADIUS_MM["artery"], beside)
        seen = airways.ends >= _SMALLEST_BRONCHUS
        bronchi = Branches(*(getattr(airways, f.name)[seen] for f in fields(Branches)))
        walls += _pieces(bronchi, _BRONCHUS_TO_ARTERY * _END_RADIUS_MM["artery"], None)
        veins = _grow(_VEIN_ROOTS[lobe], cloud[ends : 2 * ends], random)
        vessels += _pieces(veins, _END_RADIUS_MM["vein"], None)
    wall = Capsules.joined(walls)
    lumen = wall.thinned(np.maximum(0.4, 0.2 * wall.radii))
    return Trees(Capsules.joined(vessels), lumen, wall)


def _grow(
    root: tuple[tuple[int, int, int], tuple[int, int, int]],
    cloud: NDArray[np.float64],
    random: np.random.Generator,
) -> Branches:
    """Grow one tree, a generation at a time: the groups of points are runs of one array."""
    start, first = np.array([root[0]], float), np.array([root[1]], float)
    size = np.array([len(cloud)])
    grown = [Branches(start, first, _unit(first - start), size, size)]
    points, origin, heading = cloud, first, grown[0].heading
    while len(size):
        points, half = _split(points, size, random)
        parts = np.stack([half, size - half], axis=1).ravel()
        parent, origin, heading = (
            np.repeat(size, 2),
            np.repeat(origin, 2, axis=0),
            np.repeat(heading, 2, axis=0),
        )
        begin = np.cumsum(parts) - parts
        way = np.add.reduceat(points, begin) / parts[:, None] - origin
        share = np.where(parts == 1, 1.0, random.uniform(0.36, 0.54, len(parts)))[:, None]
        sway = random.normal(0, 0.06, (len(parts), 3)) * np.linalg.norm(way, axis=1, keepdims=True)
        end = origin + way * share + sway * (parts > 1)[:, None]
        grown.append(Branches(origin, end, heading, parent, parts))
        goes_on = parts > 1
        points = points[np.repeat(goes_on, parts)]
        size, heading, origin = parts[goes_on], _unit(end - origin)[goes_on], end[goes_on]
    return Branches(*(np.concatenate([getattr(g, f.name) for g in grown]) for f in fields(Branches)))


def _split(
    points: NDArray[np.float64], size: NDArray[np.int64], random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Order each run of points along its longest axis; also where to cut each run in two."""
    begin = np.cumsum(size) - size
    group = np.repeat(np.arange(len(size)), size)
    centred = points - (np.add.reduceat(points, begin) / size[:, None])[group]
    scatter = np.add.reduceat(centred[:, :, None] * centred[:, None, :], begin)
    longest = np.linalg.eigh(scatter)[1][:, :, 2]
    order = np.lexsort(((centred * longest[group]).sum(axis=1), group))
    half = np.rint(size * random.uniform(0.33, 0.67, len(size))).astype(np.int64)
    return points[order], np.clip(half, 1, size - 1)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return unit


def _pieces(branches: Branches, end_radius_mm: float, beside: NDArray[np.float64] | None) -> list[Capsules]:
    """The branches as short capsules along curves; arteries run ``beside`` their bronchus."""
    length = np.linalg.norm(branches.end - branches.start, axis=1)
    count = np.clip(length // 6, 1, 6).astype(np.int64) + (length > 4)
    return [
        _curves(
            Branches(*(getattr(branches, f.name)[count == n] for f in fields(Branches))),
            n,
            end_radius_mm,
            beside,
        )
        for n in np.unique(count).tolist()
    ]


def _curves(
    branches: Branches, count: int, end_radius_mm: float, beside: NDArray[np.float64] | None
) -> Capsules:
    """Each branch as ``count`` capsules along a Hermite curve that leaves along its heading."""
    way = (branches.end - branches.start)[:, None]
    bend = 0.55 * np.linalg.norm(way, axis=2, keepdims=True) * branches.heading[:, None]
    t = np.linspace(0, 1, count + 1, dtype=np.float64)[None, :, None]
    curve: NDArray[Any] = (2 * t**3 - 3 * t**2 + 1) * branches.start[:, None] + (t**3 - 2 * t**2 + t) * bend
    curve = curve + (3 * t**2 - 2 * t**3) * branches.end[:, None] + (t**3 - t**2) * way
    start_radius = end_radius_mm * np.minimum(branches.parent_ends, branches.ends * 1.6) ** _MURRAY
    end_radius = end_radius_mm * branches.ends**_MURRAY
    radii = start_radius[:, None] * (1 - t[:, :, 0]) + end_radius[:, None] * t[:, :, 0]
    if beside is not None:
        gap_start, gap_end = (_gap(end_radius_mm, n) for n in (branches.parent_ends, branches.ends))
        gap = gap_start[:, None, None] * (1 - t) + gap_end[:, None, None] * t
        curve += gap * beside
    ends = np.stack([radii[:, :-1], radii[:, 1:]], axis=2)
    return Capsules.round(curve[:, :-1].reshape(-1, 3), curve[:, 1:].reshape(-1, 3), ends.reshape(-1, 2))


def _gap(end_radius_mm: float, ends: NDArray[np.int64]) -> NDArray[np.float64]:
    grown = np.minimum(1.0, (ends - 1) / 8)
    gap: NDArray[Any] = 2.1 * end_radius_mm * ends**_MURRAY * grown
    return gap

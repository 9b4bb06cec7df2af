"""Bronchi, pulmonary arteries and veins: trees that branch into every part of their lobe.

Each tree is grown from its root towards a cloud of end points: a branch runs part of the way to the middle of
its points, which then part into two groups. Radii follow Murray's law with the exponent 2.8 of lung vessels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.fields import Coordinates
from dicomnode.phantom.thorax import SIDE_SIGN, Thorax
from dicomnode.phantom.tubes import Capsule
from dicomnode.segment.segmentation import Lobe, Side

LOBE_SIDE = {
    Lobe.RIGHT_UPPER: Side.RIGHT,
    Lobe.RIGHT_MIDDLE: Side.RIGHT,
    Lobe.RIGHT_LOWER: Side.RIGHT,
    Lobe.LEFT_UPPER: Side.LEFT,
    Lobe.LEFT_LOWER: Side.LEFT,
}
_ENDS = {
    Lobe.RIGHT_UPPER: 230,
    Lobe.RIGHT_MIDDLE: 130,
    Lobe.RIGHT_LOWER: 340,
    Lobe.LEFT_UPPER: 300,
    Lobe.LEFT_LOWER: 340,
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
_END_RADIUS_MM = {"artery": 0.5, "vein": 0.47}
_MURRAY = 1 / 2.8
_SMALLEST_BRONCHUS = 7
"""Ends a branch must feed for its bronchus to be seen on CT (lumen radius about 0.8 mm)."""


@dataclass(frozen=True)
class Branch:
    """A branch from ``start`` to ``end`` (mm), entered along ``heading``, that feeds ``ends`` end points."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    heading: NDArray[np.float64]
    parent_ends: int
    ends: int


@dataclass(frozen=True)
class Trees:
    """All vessels and bronchi inside the lungs."""

    vessels: tuple[Capsule, ...]
    lumens: tuple[Capsule, ...]
    walls: tuple[Capsule, ...]


def sample_lobes(thorax: Thorax, seed: int, count: int, depth_mm: float) -> dict[Lobe, NDArray[np.float64]]:
    """Random points in every lobe, at least ``depth_mm`` below the pleura; the same for any grid."""
    random = np.random.default_rng((seed, 31))
    points = random.uniform((-150, -172, -145), (150, 35, 152), (count, 3))
    at = Coordinates.of_points(points)
    middle = thorax.mediastinum.outline(at)
    right = thorax.pleura(at, Side.RIGHT, mediastinum=middle)
    left = thorax.pleura(at, Side.LEFT, mediastinum=middle)
    lobes = thorax.lobes(at, right + np.float32(depth_mm), left + np.float32(depth_mm))
    return {lobe: points[lobes == lobe] for lobe in LOBE_SIDE}


def grow_trees(thorax: Thorax, seed: int) -> Trees:
    """Grow the bronchovascular and venous trees of one patient."""
    clouds = sample_lobes(thorax, seed, 26000, 2.5)
    vessels: list[Capsule] = []
    lumens: list[Capsule] = []
    walls: list[Capsule] = []
    for lobe, side in LOBE_SIDE.items():
        random = np.random.default_rng((seed, 41, int(lobe)))
        cloud = random.permutation(clouds[lobe])
        ends = min(_ENDS[lobe], len(cloud) // 2)
        beside = np.array((0.35 * SIDE_SIGN[side], 0.25, 0.9))
        beside /= np.linalg.norm(beside)
        for branch in _grow(_BRONCHUS_ROOTS[lobe], cloud[:ends], random):
            vessels += _pieces(branch, _END_RADIUS_MM["artery"], beside)
            if branch.ends >= _SMALLEST_BRONCHUS:
                outer = _pieces(branch, 1.16 * _END_RADIUS_MM["artery"], None)
                walls += outer
                lumens += [_narrowed(piece) for piece in outer]
        for branch in _grow(_VEIN_ROOTS[lobe], cloud[ends : 2 * ends], random):
            vessels += _pieces(branch, _END_RADIUS_MM["vein"], None)
    return Trees(tuple(vessels), tuple(lumens), tuple(walls))


def _narrowed(wall: Capsule) -> Capsule:
    def lumen(outer: float) -> float:
        return outer - max(0.45, 0.22 * outer)

    return Capsule(wall.start, wall.end, lumen(wall.start_radius), lumen(wall.end_radius))


def _grow(
    root: tuple[tuple[int, int, int], tuple[int, int, int]],
    cloud: NDArray[np.float64],
    random: np.random.Generator,
) -> list[Branch]:
    start, first = np.array(root[0], float), np.array(root[1], float)
    heading = (first - start) / np.linalg.norm(first - start)
    branches = [Branch(start, first, heading, len(cloud), len(cloud))]
    waiting = [(first, heading, cloud, len(cloud))]
    while waiting:
        origin, heading, points, parent_ends = waiting.pop()
        if len(points) == 1:
            branches.append(Branch(origin, points[0], heading, parent_ends, 1))
            continue
        for group in _split(points, random):
            way = group.mean(axis=0) - origin
            share = 1.0 if len(group) == 1 else random.uniform(0.36, 0.54)
            end = origin + way * share
            if len(group) > 1:
                end = end + random.normal(0, 0.06, 3) * np.linalg.norm(way)
            branches.append(Branch(origin, end, heading, parent_ends, len(group)))
            if len(group) > 1:
                step = end - origin
                waiting.append((end, step / max(float(np.linalg.norm(step)), 1e-6), group, len(group)))
    return branches


def _split(points: NDArray[np.float64], random: np.random.Generator) -> list[NDArray[np.float64]]:
    centred = points - points.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    order = np.argsort(centred @ directions[0], kind="stable")
    cut = int(np.clip(round(len(points) * random.uniform(0.33, 0.67)), 1, len(points) - 1))
    return [points[order[:cut]], points[order[cut:]]]


def _pieces(branch: Branch, end_radius_mm: float, beside: NDArray[np.float64] | None) -> list[Capsule]:
    """The branch as short capsules along a curve; an artery runs ``beside`` its bronchus."""
    way = branch.end - branch.start
    length = float(np.linalg.norm(way))
    count = int(np.clip(length // 6, 1, 6)) + (1 if length > 4 else 0)
    t = np.linspace(0, 1, count + 1)[:, None]
    bend = 0.55 * length * branch.heading
    hermite = (2 * t**3 - 3 * t**2 + 1) * branch.start + (t**3 - 2 * t**2 + t) * bend
    curve = hermite + (3 * t**2 - 2 * t**3) * branch.end + (t**3 - t**2) * way
    start_radius = end_radius_mm * min(branch.parent_ends, branch.ends * 1.6) ** _MURRAY
    end_radius = end_radius_mm * branch.ends**_MURRAY
    radii = start_radius + (end_radius - start_radius) * t[:, 0]
    if beside is not None:
        gap_start = _gap(end_radius_mm, branch.parent_ends)
        gap = gap_start + (_gap(end_radius_mm, branch.ends) - gap_start) * t
        curve = curve + gap * beside
    points = [(float(x), float(y), float(z)) for x, y, z in curve]
    return [
        Capsule(points[i], points[i + 1], float(radii[i]), float(radii[i + 1])) for i in range(len(points) - 1)
    ]


def _gap(end_radius_mm: float, ends: int) -> float:
    return 2.2 * end_radius_mm * float(ends) ** _MURRAY * min(1.0, (ends - 1) / 8)

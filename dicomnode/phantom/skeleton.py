"""Ribs, breastbone, shoulder blades, collarbones and the arches of the spine as capsules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dicomnode.phantom.fields import Coordinates, Field, Point, Table, as_point
from dicomnode.phantom.mediastinum import spine_centre_y_at
from dicomnode.phantom.thorax import SIDE_SIGN, Thorax
from dicomnode.phantom.tubes import Capsules
from dicomnode.segment.segmentation import Side

# Height of each rib's head and front end (mm), and the angle about the cage's axis at which bone ends.
_RIB_NUMBERS = tuple(range(1, 13))
_HEAD_Z = (156, 142, 127, 105, 82, 59, 35, 10, -15, -44, -74, -106)
_END_Z = (112, 88, 60, 22, -14, -48, -82, -108, -130, -150, -172, -178)
_END_ANGLE = (-62, -66, -68, -68, -66, -60, -52, -44, -36, -20, 5, 32)
_STERNUM_Z = (114, 94, 74, 52, 30, 8, -12, None, None, None, None, None)
_STERNUM_Y = Table((-40, -25, 75, 95, 118), (-171, -171, -155, -146, -130))
_VERTEBRA_Z = (-176, -146, -113, -82, -54, -26, 0, 25, 48, 70, 92, 116, 140, 162)


@dataclass(frozen=True)
class Capsule:
    """A straight piece with a radius at each end, mm; ``flatness`` above 1 thins it along ``flat_normal``."""

    start: Point
    end: Point
    start_radius: float
    end_radius: float
    flat_normal: Point = (0.0, 0.0, 0.0)
    flatness: float = 1.0


@dataclass(frozen=True)
class Skeleton:
    """All bones but the vertebral bodies, and the rib cartilages."""

    bones: Capsules
    cartilages: Capsules


@lru_cache(maxsize=2)
def build_skeleton(thorax: Thorax) -> Skeleton:
    """Bones that fit the cage of one patient."""
    bones: list[Capsule] = [*_sternum(), *_arches()]
    cartilages: list[Capsule] = []
    for side in (Side.RIGHT, Side.LEFT):
        ends = []
        for i in range(len(_RIB_NUMBERS)):
            rib = _rib(thorax, side, i)
            bones += rib
            ends.append(rib[-1].end)
        cartilages += _cartilages(side, ends)
        bones += _shoulder(side)
    return Skeleton(_batch(bones), _batch(cartilages))


def _batch(pieces: list[Capsule]) -> Capsules:
    return Capsules(
        np.array([piece.start for piece in pieces], float),
        np.array([piece.end for piece in pieces], float),
        np.array([(piece.start_radius, piece.end_radius) for piece in pieces], float),
        np.array([piece.flat_normal for piece in pieces], float),
        np.array([piece.flatness for piece in pieces], float),
    )


def vertebral_phase(z: Field) -> Field:
    """Position within a vertebra at each height: 0 in the middle of a disc, 0.5 in the middle of a body."""
    middles = np.array(_VERTEBRA_Z, float)
    edges = (middles[1:] + middles[:-1]) / 2
    phase: Field = np.asarray(np.interp(z, edges, np.arange(len(edges))) % 1.0, np.float32)
    return phase


def _rib(thorax: Thorax, side: Side, index: int) -> list[Capsule]:
    """One rib, head to front end, along the outside of the pleura."""
    sign = SIDE_SIGN[side]
    head, end = _HEAD_Z[index], _END_Z[index]
    angles = np.radians(np.linspace(70, _END_ANGLE[index], 27))
    t = np.linspace(0, 1, len(angles))
    heights = head + (end - head) * (0.3 * t + 0.7 * t**1.5) - (4 if index > 0 else 0)
    centre_y = -60.0 if index > 1 else -52.0
    wall = 6.5 + (1.5 if index > 3 else 0)
    radii = _radii(thorax, side, angles, heights, centre_y) + wall
    outline = np.stack([sign * radii * np.cos(angles), centre_y + radii * np.sin(angles), heights], axis=1)
    joint_y = spine_centre_y_at(head) + 14
    neck = [
        (sign * 19.0, joint_y - 3, head + 2.0),
        (sign * 32.0, joint_y + 13 if index else joint_y + 8, head + 1.0),
    ]
    points = [np.array(p, float) for p in [*neck, *outline[1:]]]
    radius = 6.2 if 0 < index < 10 else 5.0
    pieces = []
    for start, stop in pairwise(points):
        along = (stop - start) / np.linalg.norm(stop - start)
        middle = (start + stop) / 2
        normal = np.array((middle[0] - sign * 30, middle[1] - centre_y, 0.0))
        if index == 0:
            normal = np.array((0.2 * sign, 0.0, 1.0))
        normal -= along * (normal @ along)
        normal /= np.linalg.norm(normal)
        pieces.append(Capsule(as_point(start), as_point(stop), radius, radius, as_point(normal), 1.75))
    return pieces


def _radii(
    thorax: Thorax,
    side: Side,
    angles: NDArray[np.float64],
    heights: NDArray[np.float64],
    centre_y: float,
) -> NDArray[np.float64]:
    """Distance from the cage's axis at which each ray leaves the pleura, mm."""
    steps = np.arange(12, 190, 0.6)
    x = SIDE_SIGN[side] * np.outer(np.cos(angles), steps)
    y = centre_y + np.outer(np.sin(angles), steps)
    z = np.broadcast_to(np.minimum(heights, 141.0)[:, None], x.shape)
    points = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    inside = (thorax.cavity(Coordinates.of_points(points), side) < 0).reshape(x.shape)
    last = len(steps) - 1 - inside[:, ::-1].argmax(axis=1)
    radii: NDArray[np.float64] = np.where(inside.any(axis=1), steps[last], 25.0)
    return radii


def _cartilages(side: Side, ends: list[Point]) -> list[Capsule]:
    sign = SIDE_SIGN[side]
    pieces = []
    for index, end in enumerate(ends[:10]):
        goal_z = _STERNUM_Z[index]
        if goal_z is not None:
            goal = (sign * 17.0, _STERNUM_Y.at(goal_z), float(goal_z))
        else:
            above = ends[index - 1]
            goal = (above[0] * 0.8, above[1] - 6, above[2] + 5)
        middle = (
            end[0] * 0.5 + goal[0] * 0.5,
            end[1] * 0.5 + goal[1] * 0.5 - 7,
            min(end[2], goal[2]) * 0.75 + max(end[2], goal[2]) * 0.25,
        )
        pieces += [Capsule(end, middle, 6.5, 6.0), Capsule(middle, goal, 6.0, 6.0)]
    return pieces


def _sternum() -> list[Capsule]:
    """Manubrium, body and xiphoid: flat bars whose rounded ends stay short."""
    bars = (
        ((112.0, 17.0), (98.0, 19.0)),
        ((98.0, 19.0), (86.0, 12.0)),
        ((72.0, 12.0), (40.0, 14.0)),
        ((40.0, 14.0), (2.0, 16.5)),
        ((2.0, 16.5), (-14.0, 9.0)),
        ((-24.0, 6.0), (-34.0, 4.0)),
    )
    pieces = []
    for (top, top_radius), (bottom, bottom_radius) in bars:
        start, end = ((0.0, _STERNUM_Y.at(z), z) for z in (top, bottom))
        dy, dz = end[1] - start[1], end[2] - start[2]
        length = float(np.hypot(dy, dz))
        normal = (0.0, dz / length, -dy / length)
        pieces.append(Capsule(start, end, top_radius, bottom_radius, normal, 2.6))
    return pieces


def _arches() -> list[Capsule]:
    """Pedicles, transverse processes, laminae and spines of the vertebrae."""
    pieces = []
    for z in _VERTEBRA_Z:
        y = spine_centre_y_at(z)
        top = z + 4.0
        for sign in (-1.0, 1.0):
            joint = (sign * 13.0, y + 24, top - 2)
            pieces += [
                Capsule((sign * 11.0, y + 10, top), joint, 4.6, 5.2),
                Capsule(joint, (sign * 33.0, y + 33, top + 2), 5.5, 4.5),
                Capsule(joint, (0.0, y + 33, top - 7), 3.8, 4.0),
                Capsule((sign * 12.0, y + 25, top - 3), (sign * 11.0, y + 26, top - 19), 4.0, 3.4),
            ]
        pieces += [
            Capsule((0.0, y + 33, top - 6), (0.0, y + 47, top - 22), 4.2, 3.2, (1.0, 0.0, 0.0), 1.4),
            Capsule((0.0, y + 47, top - 22), (0.0, y + 56, top - 34), 3.2, 3.8),
        ]
    return pieces


def _shoulder(side: Side) -> list[Capsule]:
    """Shoulder blade as a sheet of bars, its rim and spine; the collarbone."""
    s = SIDE_SIGN[side]
    pieces = []
    heights = np.arange(-8.0, 132.0, 3.0)
    for z in heights:
        t = (z + 8) / 140
        medial = (s * (112 - 34 * t + 22 * t**3), 30.0 - 6 * t - 16 * t**2, z)
        lateral = (s * (119 + 38 * t), 22.0 - 52 * t, z)
        pieces += [
            Capsule(medial, lateral, 1.9, 2.4),
            Capsule(
                (lateral[0], lateral[1], z),
                (s * (119 + 38 * (t + 0.02)), 22.0 - 52 * (t + 0.02), z + 3),
                4.0,
                4.2,
            ),
        ]
    pieces += [
        Capsule((s * 90, 16, 104), (s * 128, 12, 122), 3.0, 5.0),
        Capsule((s * 128, 12, 122), (s * 166, -8, 146), 5.0, 6.5),
        Capsule((s * 157, -30, 118), (s * 162, -34, 140), 13.0, 13.0),
        Capsule((s * 186, -44, 132), (s * 190, -50, 165), 23.0, 23.0),
        Capsule((s * 14, -124, 116), (s * 42, -120, 130), 8.5, 6.5),
        Capsule((s * 42, -120, 130), (s * 82, -92, 143), 6.5, 6.0),
        Capsule((s * 82, -92, 143), (s * 132, -52, 158), 6.0, 7.0),
    ]
    return pieces

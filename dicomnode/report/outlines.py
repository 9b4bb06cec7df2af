"""Outlines of masks as closed polygons along the edges of pixels."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int]
Polygon = list[Point]

_TURNS = {(1, 0): (0, 1), (0, 1): (-1, 0), (-1, 0): (0, -1), (0, -1): (1, 0)}
"""From a direction (column, row) to the one on its right."""


def outlines(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Polygons around the pixels of a 2D mask, holes as polygons of their own; the first point ends each.

    A point is (column, row) of a pixel's corner: (0, 0) is the upper left corner of the first pixel, as in
    PIXEL units of a presentation state (PS3.3 C.10.5.1.2). Only corners at which the outline turns are in
    it. Pixels that meet at a corner only are outlined apart.
    """
    leaving = _edges(mask)
    polygons = []
    for start in sorted(leaving):
        while leaving[start]:
            polygons.append(_follow(leaving, start))
    return polygons


def _edges(mask: NDArray[np.bool_]) -> dict[Point, list[Point]]:
    """Directions in which the outline leaves each corner, the mask to its right."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    leaving: dict[Point, list[Point]] = defaultdict(list)
    for outside, corner, direction in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (0, 1)),
        (padded[2:, 1:-1], (1, 1), (-1, 0)),
        (padded[1:-1, :-2], (0, 1), (0, -1)),
    ):
        rows, columns = np.nonzero(inside & ~outside)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            leaving[column + corner[0], row + corner[1]].append(direction)
    return leaving


def _follow(leaving: dict[Point, list[Point]], start: Point) -> Polygon:
    """One outline, taken out of ``leaving``; it turns right wherever it can."""
    direction = leaving[start].pop()
    polygon, here = [start], start
    while True:
        here = here[0] + direction[0], here[1] + direction[1]
        if here == start:
            return [*polygon, start]
        ways = leaving[here]
        right = _TURNS[direction]
        way = right if right in ways else ways[0]
        ways.remove(way)
        if way != direction:
            polygon.append(here)
        direction = way

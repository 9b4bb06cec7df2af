"""The lungs from both sides, each lobe in the colour of its involvement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dicomnode.report.canvas import PANEL, Rgb
from dicomnode.report.lung_grid import LungGrid
from dicomnode.report.rendering import View, facing, lit, view_spacing
from dicomnode.segment.segmentation import Side

EXTENT_RGB: tuple[tuple[float, Rgb], ...] = (
    (0, (74, 96, 116)),
    (5, (232, 208, 128)),
    (25, (244, 150, 60)),
    (50, (228, 72, 66)),
    (75, (156, 24, 84)),
)
"""Colour of a lesion extent in %, in between linear; the places are the bounds of the CT score."""

VIEWS: tuple[tuple[Side, View], ...] = ((Side.RIGHT, "right"), (Side.LEFT, "left"))
_SEAM = 0.55


@dataclass(frozen=True, eq=False)
class LobeView:
    """One lung from its side.

    ``places`` are where each part's name fits best, as (column, row) and the pixels free around it; a part
    that can't be seen has none.
    """

    side: Side
    image: Image.Image
    places: Mapping[int, tuple[float, float, float]]


def extent_colour(percent: float) -> Rgb:
    """Colour of an extent."""
    bounds = [bound for bound, _ in EXTENT_RGB]
    red, green, blue = (
        round(float(np.interp(percent, bounds, [rgb[i] for _, rgb in EXTENT_RGB]))) for i in range(3)
    )
    return red, green, blue


def draw_lobes(
    grid: LungGrid, side: Side, view: View, colours: Mapping[int, Rgb], size: tuple[int, int]
) -> LobeView | None:
    """One lung within ``size`` (width, height) pixels; ``None`` where there is none.

    ``colours`` are by the number of the part (lobe or side) as in :class:`LungGrid`.
    """
    own = np.where(grid.sides == side, grid.parts, 0)
    box = ndimage.find_objects((own > 0).astype(np.uint8))
    if not box:
        return None
    parts = facing(np.pad(own[box[0]], 2), view)
    step_mm, row_mm, column_mm = view_spacing(grid, view)
    rows, columns = parts.shape[1:]
    scale = min(size[0] / (columns * column_mm), size[1] / (rows * row_mm))
    target = max(1, round(columns * column_mm * scale)), max(1, round(rows * row_mm * scale))
    depth = np.argmax(parts > 0, axis=0)
    first = np.take_along_axis(parts, depth[None], axis=0)[0]
    slope, light = lit(depth.astype(np.float32) * step_mm, first > 0, (row_mm, column_mm), 1.5)
    numbers = [int(number) for number in np.unique(first) if number]
    coverage = np.stack([_enlarged((first == number) * 1.0, target) for number in (0, *numbers)])
    seen = np.array([0, *numbers])[np.argmax(coverage, axis=0)]
    shade = _enlarged(0.45 + 0.55 * light - 0.25 * (1 - slope) ** 2, target)
    return LobeView(side, _painted(seen, shade, coverage[0], colours), _places(seen, numbers))


def _enlarged(plane: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    image = Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image)


def _painted(
    seen: NDArray[np.int_],
    shade: NDArray[np.float32],
    outside: NDArray[np.float32],
    colours: Mapping[int, Rgb],
) -> Image.Image:
    """Colours with their light, dark seams where lobes meet, and a smooth outer edge."""
    palette = np.zeros((int(seen.max()) + 1, 3), np.float32)
    for number, rgb in colours.items():
        if number < len(palette):
            palette[number] = rgb
    picture = palette[seen] * shade[..., None]
    smallest, largest = ndimage.minimum_filter(seen, 3), ndimage.maximum_filter(seen, 3)
    seam = (smallest != largest) & (smallest > 0)
    seams = ndimage.uniform_filter(seam.astype(np.float32), 3)
    picture *= 1 - _SEAM * seams[..., None]
    filled = ndimage.maximum_filter(np.where(seen[..., None] > 0, picture, 0), (3, 3, 1))
    inside = np.clip(1 - outside, 0, 1)[..., None]
    mixed = np.where(seen[..., None] > 0, picture, filled) * inside + np.array(PANEL) * (1 - inside)
    return Image.fromarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))


def _places(seen: NDArray[np.int_], numbers: list[int]) -> dict[int, tuple[float, float, float]]:
    """The middle of the largest circle in each part."""
    places = {}
    for number in numbers:
        room = ndimage.distance_transform_edt(np.pad(seen == number, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(np.argmax(room)), room.shape)
        places[number] = (float(column), float(row), float(room.max()))
    return places

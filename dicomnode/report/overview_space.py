"""The lungs in space on the overview: lesions by density, lobes by involvement, each with its scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from dicomnode.measure.measurements import Measurements, RegionMeasurements
from dicomnode.report.canvas import MUTED, TEXT, Align, Canvas
from dicomnode.report.lobe_map import EXTENT_RGB, VIEWS, LobeView, draw_lobes, extent_colour
from dicomnode.report.lung_grid import DENSITY_HIGH_HU, DENSITY_LOW_HU, LungGrid
from dicomnode.report.overview_layout import (
    LOWER_HEIGHT,
    LOWER_TOP,
    MIDDLE_HEIGHT,
    MIDDLE_TOP,
    PADDING,
    panel_box,
)
from dicomnode.report.rendering import MARKS, View, density_colours, render_lungs, view_spacing
from dicomnode.segment.segmentation import Lobe, Side

LOBE_NAMES = {
    Lobe.RIGHT_UPPER: "RUL",
    Lobe.RIGHT_MIDDLE: "RML",
    Lobe.RIGHT_LOWER: "RLL",
    Lobe.LEFT_UPPER: "LUL",
    Lobe.LEFT_LOWER: "LLL",
}
SIDE_NAMES = {Side.RIGHT: "Right", Side.LEFT: "Left"}
VIEW_NAMES: dict[View, str] = {"front": "Front", "left": "From the left", "right": "From the right"}
DENSITY_TICKS = (-850, -600, -350, -100, 150)
LEAST_ROOM = 20
SCALE_WIDTH, SCALE_HEIGHT = 12, 10


def draw_density(canvas: Canvas, grid: LungGrid, measurements: Measurements) -> None:
    """Both lungs as glass from the front and from the side with more lesion, lesions by density."""
    left, top, right, bottom = panel_box(2, 3, MIDDLE_TOP, MIDDLE_HEIGHT)
    side: View = "left" if _lesion(measurements, "left") > _lesion(measurements, "right") else "right"
    front, sideways = (_extent_mm(grid, view) for view in ("front", side))
    scale_room, mark_room = 118, 34
    width = right - left - scale_room - 4 * mark_room
    height = bottom - top - 62
    pixels_per_mm = min(width / (front[0] + sideways[0]), height / max(front[1], sideways[1]))
    spare = (width - (front[0] + sideways[0]) * pixels_per_mm) / 2
    x = left + mark_room + spare / 2
    views: tuple[View, View] = ("front", side)
    for view, (across, upward) in zip(views, (front, sideways), strict=True):
        y = top + 34 + (height - upward * pixels_per_mm) / 2
        picture = render_lungs(grid, view, pixels_per_mm)
        canvas.picture(picture, round(x), round(y), radius=0)
        middle, end = top + MIDDLE_HEIGHT / 2 + 7, x + across * pixels_per_mm
        canvas.text(x - 12, middle, MARKS[view][0], 20, TEXT, "right")
        canvas.text(end + 12, middle, MARKS[view][1], 20, TEXT)
        canvas.text(x + across * pixels_per_mm / 2, bottom - 12, VIEW_NAMES[view], 15, MUTED, "center")
        x = end + 2 * mark_room + spare / 2
    canvas.text(left + 14, top + 30, "Lesions by density", 20)
    _draw_density_scale(canvas, right - scale_room + 30, top + 70, bottom - 40)


def _draw_density_scale(canvas: Canvas, x: int, top: int, bottom: int) -> None:
    colours = np.repeat(density_colours()[::-1, None], SCALE_WIDTH, axis=1)
    strip = Image.fromarray(np.ascontiguousarray(colours)).resize((SCALE_WIDTH, bottom - top))
    canvas.picture(strip, x, top, radius=4)
    canvas.text(x, top - 14, "HU", 14, MUTED)
    for hu in DENSITY_TICKS:
        y = bottom - (bottom - top) * (hu - DENSITY_LOW_HU) / (DENSITY_HIGH_HU - DENSITY_LOW_HU)
        canvas.text(x + SCALE_WIDTH + 10, y + 5, str(hu), 14, MUTED)


def draw_involvement(canvas: Canvas, grid: LungGrid, measurements: Measurements) -> None:
    """Each lung from its side, its lobes in the colour of their extent; without lobes the whole lung."""
    left, top, right, bottom = panel_box(0, 0, LOWER_TOP, LOWER_HEIGHT)
    canvas.panel((left, top, right, bottom))
    regions = _regions(measurements)
    canvas.text(
        left + PADDING, top + 34, "Lesion extent of " + ("lobes" if measurements.lobes else "lungs"), 18
    )
    colours = {number: extent_colour(region.lesion_extent_percent) for number, (_, region) in regions.items()}
    width, height = (right - left - 2 * PADDING - 14) // 2, LOWER_HEIGHT - 150
    drawn = [draw_lobes(grid, side, view, colours, (width, height)) for side, view in VIEWS]
    lungs = [lung for lung in drawn if lung is not None]
    for number, lung in enumerate(lungs):
        middle = left + (right - left) * (2 * number + 1) / (2 * len(lungs))
        x, y = round(middle - lung.image.width / 2), round(top + 58 + (height - lung.image.height) / 2)
        canvas.picture(lung.image, x, y, radius=0)
        _name_parts(canvas, lung, x, y, regions)
        said = f"{SIDE_NAMES[lung.side]} lung, from the {SIDE_NAMES[lung.side].lower()}"
        canvas.text(middle, bottom - 70, said, 15, MUTED, "center")
    _draw_extent_scale(canvas, left + PADDING, right - PADDING, bottom - 46)


def _name_parts(
    canvas: Canvas, lung: LobeView, x: int, y: int, regions: dict[int, tuple[str, RegionMeasurements]]
) -> None:
    """Name and extent in each part that has room for them."""
    for number, (column, row, room) in lung.places.items():
        if number in regions and room >= LEAST_ROOM:
            name, region = regions[number]
            extent = f"{region.lesion_extent_percent:.1f} %"
            canvas.label(x + column, y + row - 3, name, 14, "center")
            canvas.label(x + column, y + row + 17, extent, 18, "center")


def _draw_extent_scale(canvas: Canvas, left: int, right: int, y: int) -> None:
    """The colours from 0 to the last bound and beyond, evenly spaced between the bounds."""
    right -= 24
    step = (right - left) / (len(EXTENT_RGB) - 1)
    bounds = [bound for bound, _ in EXTENT_RGB]
    places = np.linspace(0, len(bounds) - 1, right - left)
    row = [extent_colour(float(np.interp(place, range(len(bounds)), bounds))) for place in places]
    strip = np.repeat(np.array(row, np.uint8)[None], SCALE_HEIGHT, axis=0)
    canvas.picture(Image.fromarray(np.ascontiguousarray(strip)), left, y, radius=4)
    for number, bound in enumerate(bounds):
        align: Align = "left" if number == 0 else "center"
        words = f"{bound:g} %" if number < len(bounds) - 1 else f"{bound:g} % +"
        canvas.text(left + number * step, y + 28, words, 14, MUTED, align)


def _regions(measurements: Measurements) -> dict[int, tuple[str, RegionMeasurements]]:
    """Short name and measurements by the number of the part on the grid."""
    names: Mapping[Lobe, str] | Mapping[Side, str] = LOBE_NAMES if measurements.lobes else SIDE_NAMES
    measured = measurements.lobes or measurements.sides
    found = [(int(part), name, measured.get(part.name.lower())) for part, name in names.items()]
    return {number: (name, region) for number, name, region in found if region is not None}


def _lesion(measurements: Measurements, side: str) -> float:
    region = measurements.sides.get(side)
    return region.lesion_volume_ml if region else 0.0


def _extent_mm(grid: LungGrid, view: View) -> tuple[float, float]:
    """Width and height of a view."""
    _, row_mm, column_mm = view_spacing(grid, view)
    superior, posterior, left = grid.lung.shape
    return (left if view == "front" else posterior) * column_mm, superior * row_mm

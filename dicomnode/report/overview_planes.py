"""The planes on the overview: axial key slices, coronal and sagittal, with marks, names and scale bars."""

from __future__ import annotations

from dicomnode.report.canvas import Canvas
from dicomnode.report.overview_layout import (
    AXIAL_HEIGHT,
    AXIAL_TOP,
    COLUMN,
    MIDDLE_HEIGHT,
    MIDDLE_TOP,
    column_left,
)
from dicomnode.report.planes import Crop, PatientView, Plane, crop_to, draw_plane

SCALE_BAR_MM = 50.0
LEAST_BETWEEN_NUMBERS = 18


def draw_axial(canvas: Canvas, view: PatientView, slices: list[int]) -> None:
    """The key slices from head to feet, numbered, all at one scale."""
    _, posterior, left = view.box
    size = COLUMN, AXIAL_HEIGHT
    crop = crop_to(posterior, left, view.spacing_mm[1:], size)
    for number, index in enumerate(slices, start=1):
        x, plane = column_left(number - 1), view.axial(index)
        _draw_tile(canvas, plane, crop, size, (x, AXIAL_TOP))
        canvas.label(x + 14, AXIAL_TOP + 32, str(number), 26)
        canvas.label(x + 38, AXIAL_TOP + 24, f"z {plane.position_mm:.0f} mm", 15)
        canvas.label(x + 38, AXIAL_TOP + 44, f"lesion {plane.lesion_percent:.0f} % of lung", 15)


def draw_reformats(canvas: Canvas, view: PatientView, slices: list[int]) -> None:
    """Coronal and sagittal plane with the most lesion, the key slices marked on them."""
    superior, posterior, left = view.box
    count, size = view.slices, (COLUMN, MIDDLE_HEIGHT)
    rows = (count - superior[1], count - superior[0])
    for column, (title, plane, across, spacing) in enumerate(
        (
            ("Coronal", view.coronal(view.best(1)), left, view.spacing_mm[2]),
            ("Sagittal", view.sagittal(view.best(2)), posterior, view.spacing_mm[1]),
        )
    ):
        x = column_left(column)
        crop = crop_to(rows, across, (view.spacing_mm[0], spacing), size)
        _draw_tile(canvas, plane, crop, size, (x, MIDDLE_TOP))
        canvas.label(x + 14, MIDDLE_TOP + 30, title, 20)
        free_from = 0.0
        for number, index in enumerate(slices, start=1):
            offset = (count - 1 - index + 0.5 - crop.row) * view.spacing_mm[0] * crop.pixels_per_mm
            y = MIDDLE_TOP + MIDDLE_HEIGHT / 2 + offset
            canvas.rimmed_line((x + 32, y), (x + 46, y))
            if y >= free_from:
                canvas.label(x + 54, y + 6, str(number), 16)
                free_from = y + LEAST_BETWEEN_NUMBERS


def _draw_tile(
    canvas: Canvas, plane: Plane, crop: Crop, size: tuple[int, int], corner: tuple[int, int]
) -> None:
    x, y = corner
    canvas.picture(draw_plane(plane, crop, size), x, y)
    left, right, top = plane.marks
    middle = y + size[1] / 2 + 7
    canvas.label(x + 10, middle, left, 20)
    canvas.label(x + size[0] - 10, middle, right, 20, "right")
    canvas.label(x + size[0] / 2, y + 26, top, 20, "center")
    length = SCALE_BAR_MM * crop.pixels_per_mm
    end, bottom = x + size[0] - 16, y + size[1] - 14
    canvas.rimmed_line((end - length, bottom), (end, bottom))
    canvas.label(end - length / 2, bottom - 8, f"{SCALE_BAR_MM / 10:.0f} cm", 14, "center")

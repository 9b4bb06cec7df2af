"""One picture of a result: key slices, the lungs in space, the numbers, and what to know of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dicomnode.assemble.volume import Volume
from dicomnode.measure.course import Course
from dicomnode.measure.measurements import Measurements
from dicomnode.report.canvas import Canvas, Page
from dicomnode.report.course import COURSE_HEIGHT, draw_alarm, draw_course
from dicomnode.report.lung_grid import LungGrid
from dicomnode.report.overview_header import draw_footer, draw_header
from dicomnode.report.overview_layout import BOTTOM, EDGE, GAP, HEIGHT, RIGHT, WIDTH, column_left
from dicomnode.report.overview_planes import draw_axial, draw_reformats
from dicomnode.report.overview_space import draw_density, draw_involvement
from dicomnode.report.overview_table import draw_profile_and_flags, draw_table
from dicomnode.report.planes import AXIAL_COUNT, PatientView
from dicomnode.segment.segmentation import Segmentation


def write_overview(
    volume: Volume,
    segmentation: Segmentation,
    measurements: Measurements,
    path: Path,
    course: Course | None = None,
    *,
    is_corrected: bool = False,
) -> Page:
    """Write a PNG of 1920 x 1358 pixels without any patient data, and hand back what was drawn.

    With earlier results in ``course`` it is 330 pixels higher and shows the patient's curve.

    Axial slices are seen from the feet (the patient's right at the left edge), the coronal from the front and
    the sagittal from the left. Needs no display and no font files.
    """
    lower = COURSE_HEIGHT if course and course.changes else 0
    canvas = Canvas(WIDTH, HEIGHT + lower)
    draw_header(canvas, volume, segmentation, measurements, is_corrected=is_corrected)
    with ThreadPoolExecutor(1) as beside:
        in_space = beside.submit(LungGrid.of, volume, segmentation)
        view = PatientView(volume, segmentation)
        slices = view.key_slices(AXIAL_COUNT)
        draw_axial(canvas, view, slices)
        draw_reformats(canvas, view, slices)
        grid = in_space.result()
    if grid is not None:
        draw_density(canvas, grid, measurements)
        draw_involvement(canvas, grid, measurements)
    draw_table(canvas, measurements)
    draw_profile_and_flags(canvas, view, slices, measurements)
    if course and lower:
        draw_course(canvas, course, EDGE, BOTTOM + GAP, RIGHT)
    draw_footer(canvas, measurements, BOTTOM + lower)
    if course:
        draw_alarm(canvas, course, RIGHT, BOTTOM + lower + 30, RIGHT - column_left(2))
    partial = path.with_name(path.name + ".partial")
    canvas.image.save(partial, format="PNG", compress_level=1)  # level 6: three times as long, 12 % less
    partial.replace(path)
    return canvas.page()

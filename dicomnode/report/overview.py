"""One picture of a result: key slices with their masks, the numbers, and what to know of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dicomnode.assemble.volume import Volume
from dicomnode.measure.measurements import Measurements, RegionMeasurements
from dicomnode.measure.priors import Course
from dicomnode.measure.scores import Scores
from dicomnode.report.canvas import MUTED, RULE, TEXT, WARNING, Canvas, Page, Rgb
from dicomnode.report.certainty_text import short_interval, short_score_interval
from dicomnode.report.course import COURSE_HEIGHT, draw_alarm, draw_course
from dicomnode.report.header import RESEARCH_USE
from dicomnode.report.planes import (
    AXIAL_COUNT,
    LABEL_RGB,
    WINDOW_CENTER_HU,
    WINDOW_WIDTH_HU,
    Crop,
    PatientView,
    Plane,
    crop_to,
    draw_plane,
)
from dicomnode.report.quality_text import flag_sentence, image_quality
from dicomnode.report.record import measurements_record
from dicomnode.report.text import ascii_text
from dicomnode.segment.segmentation import Label, Segmentation

WIDTH, HEIGHT = 1920, 1150
EDGE = 32
GAP = 14
AXIAL_TOP = 132
AXIAL_SIZE = ((WIDTH - 2 * EDGE - (AXIAL_COUNT - 1) * GAP) // AXIAL_COUNT, 392)
LOWER_TOP = AXIAL_TOP + AXIAL_SIZE[1] + GAP
LOWER_SIZE = (AXIAL_SIZE[0], 486)
TABLE_LEFT = EDGE + 2 * (AXIAL_SIZE[0] + GAP)
NUMBERS_TOP = LOWER_TOP + LOWER_SIZE[1] - 96
LEAST_PROFILE_HEIGHT = 130
SCALE_BAR_MM = 50.0
GGO_RGB = LABEL_RGB[Label.GROUND_GLASS]
CONSOLIDATION_RGB = LABEL_RGB[Label.CONSOLIDATION]
REGION_NAMES = {
    "right": "Right lung",
    "right_upper": "Upper lobe",
    "right_middle": "Middle lobe",
    "right_lower": "Lower lobe",
    "left": "Left lung",
    "left_upper": "Upper lobe",
    "left_lower": "Lower lobe",
}
COLUMNS = (
    ("Volume mL", 282),
    ("GGO mL", 378),
    ("Consol. mL", 486),
    ("Lesion mL", 588),
    ("Lesion %", 678),
    ("CT score", 768),
)
BAR_LEFT = 790
SCORES_LEFT = 1110
SCORE_WIDTH = 150


def write_overview(
    volume: Volume,
    segmentation: Segmentation,
    measurements: Measurements,
    path: Path,
    course: Course | None = None,
    *,
    is_corrected: bool = False,
) -> Page:
    """Write a PNG of 1920 x 1150 pixels without any patient data, and hand back what was drawn.

    With earlier results in ``course`` it is 330 pixels higher and shows the patient's curve.

    Axial slices are seen from the feet (the patient's right at the left edge), the coronal from the front and
    the sagittal from the left. Needs no display and no font files.
    """
    lower = COURSE_HEIGHT if course and course.changes else 0
    canvas = Canvas(WIDTH, HEIGHT + lower)
    view = PatientView(volume, segmentation)
    _draw_header(canvas, volume, segmentation, measurements, is_corrected=is_corrected)
    slices = view.key_slices(AXIAL_COUNT)
    _, posterior, left = view.box
    crop = crop_to(posterior, left, view.spacing_mm[1:], AXIAL_SIZE)
    for number, index in enumerate(slices, start=1):
        x = EDGE + (number - 1) * (AXIAL_SIZE[0] + GAP)
        plane = view.axial(index)
        _draw_tile(canvas, plane, crop, AXIAL_SIZE, (x, AXIAL_TOP))
        _caption(canvas, x, AXIAL_TOP, str(number), f"z {plane.position_mm:.0f} mm", plane)
    _draw_reformats(canvas, view, slices)
    below = _draw_table(canvas, measurements)
    if NUMBERS_TOP - below > LEAST_PROFILE_HEIGHT:
        _draw_profile(canvas, view, slices, below)
    if course and lower:
        draw_course(canvas, course, EDGE, LOWER_TOP + LOWER_SIZE[1] + GAP, WIDTH - EDGE)
    _draw_footer(canvas, measurements, lower)
    if course:
        draw_alarm(canvas, course, WIDTH - EDGE, HEIGHT - 14, WIDTH - 2 * EDGE)
    partial = path.with_name(path.name + ".partial")
    canvas.image.save(partial, format="PNG", optimize=False)
    partial.replace(path)
    return canvas.page()


def _draw_header(
    canvas: Canvas,
    volume: Volume,
    segmentation: Segmentation,
    measurements: Measurements,
    *,
    is_corrected: bool,
) -> None:
    canvas.text(EDGE, 62, "Lung opacities on chest CT", 36, bold=True)
    model = ascii_text(f"{segmentation.model.name} {segmentation.model.version}", 60)
    rows, columns = volume.hu.shape[1:]
    facts = f"{len(volume.instances)} slices of {rows} x {columns}, {image_quality(measurements.quality)}"
    masks = f"masks of model {model}, corrected by a person" if is_corrected else f"model {model}"
    line = canvas.shortened(f"{facts}   |   {masks}", 18, SCORES_LEFT - EDGE - 20)
    canvas.text(EDGE, 96, line, 18, MUTED)
    record = measurements_record(measurements)
    _draw_scores(canvas, measurements.scores, record)
    total = measurements.total
    right = WIDTH - EDGE
    canvas.text(right, 66, f"{total.lesion_extent_percent:.1f} %", 54, align="right", bold=True)
    number_width = canvas.width(f"{total.lesion_extent_percent:.1f} %", 54)
    canvas.text(right - number_width - 18, 44, "of the lungs", 18, MUTED, align="right")
    canvas.text(right - number_width - 18, 66, "GGO or consolidation", 18, MUTED, align="right")
    bar_left = right - 460
    canvas.shares((bar_left, 86, right, 98), _parts(total))
    interval = short_interval(record) or "no interval: the error of these masks was not measured"
    canvas.text(right, 118, interval, 16, MUTED, align="right")


def _draw_scores(canvas: Canvas, scores: Scores | None, record: dict[str, Any]) -> None:
    """CT score and CT-SS where there are lobes, in the colour of a warning where those are uncertain."""
    if scores is None:
        return
    for index, (name, key, value, highest) in enumerate(
        (("CT score", "ct_score", scores.ct_score, 25), ("CT-SS", "ct_ss", scores.ct_ss, 40))
    ):
        x = SCORES_LEFT + index * SCORE_WIDTH
        canvas.text(x, 44, name, 18, MUTED)
        given = f"{value} / {highest}" if value is not None else "not given"
        canvas.text(x, 78, given, 28, WARNING if scores.are_uncertain else TEXT)
        if interval := short_score_interval(key, record):
            canvas.text(x, 98, interval, 15, MUTED)
    if scores.are_uncertain:
        canvas.text(SCORES_LEFT, 118, "lobes uncertain", 15, WARNING)


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
    end = x + size[0] - 16
    bottom = y + size[1] - 14
    canvas.rimmed_line((end - length, bottom), (end, bottom))
    canvas.label(end - length / 2, bottom - 8, f"{SCALE_BAR_MM / 10:.0f} cm", 14, "center")


def _caption(canvas: Canvas, x: int, y: int, title: str, place: str, plane: Plane) -> None:
    canvas.label(x + 14, y + 32, title, 26)
    canvas.label(x + 38, y + 24, place, 15)
    canvas.label(x + 38, y + 44, f"lesion {plane.lesion_percent:.0f} % of lung", 15)


def _draw_reformats(canvas: Canvas, view: PatientView, slices: list[int]) -> None:
    superior, posterior, left = view.box
    count = view.slices
    rows = (count - superior[1], count - superior[0])
    for column, (title, plane, across, spacing) in enumerate(
        (
            ("Coronal", view.coronal(view.best(1)), left, view.spacing_mm[2]),
            ("Sagittal", view.sagittal(view.best(2)), posterior, view.spacing_mm[1]),
        )
    ):
        x = EDGE + column * (LOWER_SIZE[0] + GAP)
        crop = crop_to(rows, across, (view.spacing_mm[0], spacing), LOWER_SIZE)
        _draw_tile(canvas, plane, crop, LOWER_SIZE, (x, LOWER_TOP))
        canvas.label(x + 14, LOWER_TOP + 30, title, 20)
        for number, index in enumerate(slices, start=1):
            offset = (count - 1 - index + 0.5 - crop.row) * view.spacing_mm[0] * crop.pixels_per_mm
            y = LOWER_TOP + LOWER_SIZE[1] / 2 + offset
            canvas.rimmed_line((x + 32, y), (x + 46, y))
            canvas.label(x + 54, y + 6, str(number), 16)


def _draw_table(canvas: Canvas, measurements: Measurements) -> int:
    """The regions' rows and the single numbers; returns where the rows end."""
    left, top = TABLE_LEFT, LOWER_TOP
    right = WIDTH - EDGE
    canvas.panel((left, top, right, top + LOWER_SIZE[1]))
    y = top + 38
    canvas.text(left + 22, y, "Region", 16, MUTED)
    columns = COLUMNS if measurements.scores else COLUMNS[:-1]
    for name, offset in columns:
        canvas.text(left + offset, y, name, 16, MUTED, "right")
    canvas.line((left + 22, y + 12), (right - 22, y + 12))
    regions = _regions(measurements)
    step = min(40, (NUMBERS_TOP - y - 24) // len(regions))
    y += 14
    for name, indent, region, score in regions:
        y += step
        strong = indent == 0
        canvas.text(left + 22 + 20 * indent, y, name, 19, TEXT if strong else MUTED, bold=strong)
        values = (
            f"{region.volume_ml:,.0f}",
            f"{region.ggo_volume_ml:,.1f}",
            f"{region.consolidation_volume_ml:,.1f}",
            f"{region.lesion_volume_ml:,.1f}",
            f"{region.lesion_extent_percent:.1f}",
            score,
        )
        for (_, offset), value in zip(columns, values, strict=False):
            canvas.text(left + offset, y, value, 19, TEXT, "right")
        canvas.shares((left + BAR_LEFT, y - 11, right - 22, y - 2), _parts(region))
    _draw_numbers(canvas, measurements, left, right)
    return y + step // 2


def _draw_numbers(canvas: Canvas, measurements: Measurements, left: int, right: int) -> None:
    total, top = measurements.total, NUMBERS_TOP
    canvas.line((left + 22, top), (right - 22, top))
    lesions, spread = measurements.lesions, measurements.distribution
    peripheral = lesions.peripheral_percent
    entries = (
        ("Lesion weight", f"{total.lesion_weight_g:,.1f} g"),
        ("Lesions", f"{lesions.sizable_count:,}"),
        ("In outer third", "-" if peripheral is None else f"{peripheral:.0f} %"),
        ("Mean HU of lesions", "-" if total.lesion_mean_hu is None else f"{total.lesion_mean_hu:.0f}"),
        ("Mean HU of lungs", "-" if total.mean_hu is None else f"{total.mean_hu:.0f}"),
        ("Hellinger, IoU", f"{spread.hellinger_distance:.2f}, {spread.histogram_iou:.2f}"),
    )
    step = (right - left - 44) / len(entries)
    for index, (name, value) in enumerate(entries):
        x = left + 22 + index * step
        canvas.text(x, top + 34, name, 15, MUTED)
        canvas.text(x, top + 68, value, 26, TEXT)


def _draw_profile(canvas: Canvas, view: PatientView, slices: list[int], top: int) -> None:
    """Lung area of each slice from head (left) to feet (right), GGO and consolidation within it."""
    left, right, base = TABLE_LEFT + 22, WIDTH - EDGE - 22, NUMBERS_TOP - 34
    start, end = view.box[0]
    ggo, lesion, lung = (area[start:end][::-1].astype(float) for area in view.profile())
    across = (right - left) / max(len(lung) - 1, 1)
    upward = (base - top - 40) / max(lung.max(), 1.0)
    canvas.text(left, top + 22, "Area by slice, head to feet", 15, MUTED)
    for area, rgb in ((lung, RULE), (lesion, CONSOLIDATION_RGB), (ggo, GGO_RGB)):
        curve = [(left + index * across, base - value * upward) for index, value in enumerate(area)]
        canvas.area([(left, base), *curve, (right, base)], rgb)
    canvas.line((left, base), (right, base), MUTED)
    for number, index in enumerate(slices, start=1):
        x = left + (end - 1 - index) * across
        canvas.line((x, base), (x, base + 6), TEXT)
        canvas.text(x, base + 22, str(number), 15, TEXT, "center")


def _draw_footer(canvas: Canvas, measurements: Measurements, lower: int) -> None:
    y = LOWER_TOP + LOWER_SIZE[1] + 40 + lower
    x: float = EDGE
    for rgb, name in ((GGO_RGB, "Ground glass opacity"), (CONSOLIDATION_RGB, "Consolidation")):
        x = _legend(canvas, x, y, rgb, name)
    if measurements.total.effusion_volume_ml is not None:
        x = _legend(canvas, x, y, LABEL_RGB[Label.EFFUSION], "Effusion")
    canvas.text(x, y, f"Window {WINDOW_CENTER_HU} / {WINDOW_WIDTH_HU} HU", 16, MUTED)
    flags = measurements.quality.flags
    if flags:
        sentence = "   ".join(flag_sentence(flag) for flag in flags)
        canvas.text(TABLE_LEFT, y, canvas.shortened(sentence, 16, WIDTH - EDGE - TABLE_LEFT), 16, WARNING)
    else:
        canvas.text(TABLE_LEFT, y, "No quality flags.", 16, MUTED)
    canvas.line((EDGE, y + 20), (WIDTH - EDGE, y + 20), RULE)
    canvas.text(EDGE, y + 50, RESEARCH_USE, 18, TEXT, bold=True)
    remark = "Computed by dicomnode; numbers as in the structured report."
    canvas.text(WIDTH - EDGE, y + 50, remark, 16, MUTED, "right")


def _legend(canvas: Canvas, x: float, y: float, rgb: Rgb, name: str) -> float:
    canvas.panel((int(x), int(y) - 14, int(x) + 18, int(y) + 2), rgb, radius=4)
    return x + 28 + canvas.text(x + 28, y, name, 16, TEXT) + 30


def _regions(measurements: Measurements) -> list[tuple[str, int, RegionMeasurements, str]]:
    """Both lungs, then each side with its lobes: name, indentation, measurements, CT score."""
    scores = measurements.scores.lobes if measurements.scores else {}
    rows = [("Both lungs", 0, measurements.total, "")]
    for side in ("right", "left"):
        if side in measurements.sides:
            rows.append((REGION_NAMES[side], 0, measurements.sides[side], ""))
        rows.extend(
            (REGION_NAMES[lobe], 1, region, str(scores.get(lobe, "")))
            for lobe, region in measurements.lobes.items()
            if lobe.startswith(side)
        )
    return rows


def _parts(region: RegionMeasurements) -> list[tuple[float, Rgb]]:
    return [
        (region.ggo_extent_percent, GGO_RGB),
        (region.consolidation_extent_percent, CONSOLIDATION_RGB),
    ]

"""The numbers on the overview: a row a region, single numbers, area by slice, and the quality flags."""

from __future__ import annotations

from dicomnode.measure.measurements import Measurements, RegionMeasurements
from dicomnode.report.canvas import MUTED, RULE, TEXT, WARNING, Canvas
from dicomnode.report.overview_layout import (
    CONSOLIDATION_RGB,
    GGO_RGB,
    LOWER_HEIGHT,
    LOWER_TOP,
    PADDING,
    panel_box,
    parts_of,
)
from dicomnode.report.planes import PatientView
from dicomnode.report.quality_text import flag_sentence

NUMBERS_TOP = LOWER_TOP + LOWER_HEIGHT - 88
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
MOST_FLAG_LINES, FLAG_LINE, FLAG_SIZE = 12, 17, 14


def draw_table(canvas: Canvas, measurements: Measurements) -> None:
    """Panel with a row for both lungs, each side and lobe, and the single numbers below."""
    left, top, right, bottom = panel_box(1, 2, LOWER_TOP, LOWER_HEIGHT)
    canvas.panel((left, top, right, bottom))
    y = top + 34
    canvas.text(left + PADDING, y, "Region", 16, MUTED)
    columns = COLUMNS if measurements.scores else COLUMNS[:-1]
    for name, offset in columns:
        canvas.text(left + offset, y, name, 16, MUTED, "right")
    canvas.line((left + PADDING, y + 12), (right - PADDING, y + 12))
    regions = _regions(measurements)
    step = min(44, (NUMBERS_TOP - y - 22) // len(regions))
    y += 10
    for name, indent, region, score in regions:
        y += step
        strong = indent == 0
        canvas.text(left + PADDING + 20 * indent, y, name, 18, TEXT if strong else MUTED, bold=strong)
        values = (
            f"{region.volume_ml:,.0f}",
            f"{region.ggo_volume_ml:,.1f}",
            f"{region.consolidation_volume_ml:,.1f}",
            f"{region.lesion_volume_ml:,.1f}",
            f"{region.lesion_extent_percent:.1f}",
            score,
        )
        for (_, offset), value in zip(columns, values, strict=False):
            canvas.text(left + offset, y, value, 18, TEXT, "right")
        canvas.shares((left + BAR_LEFT, y - 11, right - PADDING, y - 2), parts_of(region))
    _draw_numbers(canvas, measurements, left, right)


def _draw_numbers(canvas: Canvas, measurements: Measurements, left: int, right: int) -> None:
    total, top = measurements.total, NUMBERS_TOP
    canvas.line((left + PADDING, top), (right - PADDING, top))
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
    step = (right - left - 2 * PADDING) / len(entries)
    for index, (name, value) in enumerate(entries):
        x = left + PADDING + index * step
        canvas.text(x, top + 30, name, 15, MUTED)
        canvas.text(x, top + 63, value, 26, TEXT)


def draw_profile_and_flags(
    canvas: Canvas, view: PatientView, slices: list[int], measurements: Measurements
) -> None:
    """Panel with the area by slice and, below, what flags say; many flags take room from the curve."""
    left, top, right, bottom = panel_box(3, 3, LOWER_TOP, LOWER_HEIGHT)
    canvas.panel((left, top, right, bottom))
    lines = _flag_lines(canvas, measurements.quality.flags, right - left - 2 * PADDING)
    y = bottom - 18 - FLAG_LINE * (len(lines) - 1)
    _draw_profile(canvas, view, slices, (left + PADDING, top, right - PADDING, y - 66))
    canvas.line((left + PADDING, y - 28), (right - PADDING, y - 28))
    for number, line in enumerate(lines):
        rgb = WARNING if measurements.quality.flags else MUTED
        canvas.text(left + PADDING, y + FLAG_LINE * number, line, FLAG_SIZE, rgb)


def _flag_lines(canvas: Canvas, flags: tuple[str, ...], width: int) -> list[str]:
    """The flags' sentences as lines; those without room are counted."""
    if not flags:
        return ["No quality flags."]
    lines: list[str] = []
    for number, flag in enumerate(flags):
        more = canvas.wrapped(flag_sentence(flag), FLAG_SIZE, width, MOST_FLAG_LINES)
        is_last = number == len(flags) - 1
        if len(lines) + len(more) + (not is_last) > MOST_FLAG_LINES:
            count = len(flags) - number
            return [*lines, f"And {count} more quality flag{'s' * (count > 1)}: see the report."]
        lines += more
    return lines


def _draw_profile(
    canvas: Canvas, view: PatientView, slices: list[int], box: tuple[int, int, int, int]
) -> None:
    """Lung area of each slice from head (left) to feet (right), GGO and consolidation within it."""
    left, top, right, base = box
    start, end = view.box[0]
    ggo, lesion, lung = (area[start:end][::-1].astype(float) for area in view.profile())
    across = (right - left) / max(len(lung) - 1, 1)
    upward = (base - top - 56) / max(lung.max(), 1.0)
    canvas.text(left, top + 34, "Area by slice, head to feet", 18)
    for area, rgb in ((lung, RULE), (lesion, CONSOLIDATION_RGB), (ggo, GGO_RGB)):
        curve = [(left + index * across, base - value * upward) for index, value in enumerate(area)]
        canvas.area([(left, base), *curve, (right, base)], rgb)
    canvas.line((left, base), (right, base), MUTED)
    free_from = 0.0
    for number, index in enumerate(slices, start=1):
        x = left + (end - 1 - index) * across
        canvas.line((x, base), (x, base + 6), TEXT)
        if x >= free_from:
            canvas.text(x, base + 22, str(number), 15, TEXT, "center")
            free_from = x + 14


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

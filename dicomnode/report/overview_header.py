"""Head and foot of the overview: what was measured, the first numbers, the legend and the disclaimer."""

from __future__ import annotations

from typing import Any

from dicomnode.assemble.volume import Volume
from dicomnode.measure.measurements import Measurements
from dicomnode.measure.scores import Scores
from dicomnode.report.canvas import MUTED, RULE, TEXT, WARNING, Canvas, Rgb
from dicomnode.report.certainty_text import short_interval, short_score_interval
from dicomnode.report.header import RESEARCH_USE
from dicomnode.report.overview_layout import CONSOLIDATION_RGB, EDGE, GGO_RGB, RIGHT, parts_of
from dicomnode.report.planes import LABEL_RGB, LUNG_RGB, WINDOW_CENTER_HU, WINDOW_WIDTH_HU
from dicomnode.report.quality_text import image_quality
from dicomnode.report.record import measurements_record
from dicomnode.report.text import ascii_text
from dicomnode.segment.segmentation import Label, Segmentation

TITLE = "Lung opacities on chest CT"
SCORES_LEFT = 1110
SCORE_WIDTH = 150


def draw_header(
    canvas: Canvas,
    volume: Volume,
    segmentation: Segmentation,
    measurements: Measurements,
    *,
    is_corrected: bool,
) -> None:
    """Title, image and model at the left; scores and extent at the right."""
    canvas.text(EDGE, 54, TITLE, 36, bold=True)
    rows, columns = volume.hu.shape[1:]
    facts = f"{len(volume.instances)} slices of {rows} x {columns}, {image_quality(measurements.quality)}"
    model = ascii_text(f"{segmentation.model.name} {segmentation.model.version}", 120)
    masks = f"Masks of model {model}, corrected by a person" if is_corrected else f"Model {model}"
    for y, line in ((87, facts), (113, masks)):
        room = SCORES_LEFT - EDGE - 30
        size = next((size for size in (17, 16, 15) if canvas.width(line, size) <= room), 14)
        canvas.text(EDGE, y, canvas.shortened(line, size, room), size, MUTED)
    record = measurements_record(measurements)
    _draw_scores(canvas, measurements.scores, record)
    total = measurements.total
    extent = f"{total.lesion_extent_percent:.1f} %"
    canvas.text(RIGHT, 66, extent, 54, align="right", bold=True)
    left_of_it = RIGHT - canvas.width(extent, 54) - 18
    canvas.text(left_of_it, 44, "of the lungs", 18, MUTED, align="right")
    canvas.text(left_of_it, 66, "GGO or consolidation", 18, MUTED, align="right")
    canvas.shares((RIGHT - 460, 84, RIGHT, 96), parts_of(total))
    interval = short_interval(record) or "no interval: the error of these masks was not measured"
    canvas.text(RIGHT, 118, interval, 16, MUTED, align="right")


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
        canvas.text(x, 77, given, 28, WARNING if scores.are_uncertain else TEXT)
        if interval := short_score_interval(key, record):
            canvas.text(x, 98, interval, 15, MUTED)
    if scores.are_uncertain:
        canvas.text(SCORES_LEFT, 118, "lobes uncertain", 15, WARNING)


def draw_footer(canvas: Canvas, measurements: Measurements, top: int) -> None:
    """Legend, disclaimer and maker below ``top``."""
    y, x = top + 30, float(EDGE)
    x = _legend(canvas, x, y, GGO_RGB, "Ground glass opacity")
    x = _legend(canvas, x, y, CONSOLIDATION_RGB, "Consolidation")
    if measurements.total.effusion_volume_ml is not None:
        x = _legend(canvas, x, y, LABEL_RGB[Label.EFFUSION], "Effusion")
    canvas.line((x, y - 6), (x + 18, y - 6), LUNG_RGB, 2)
    x += 28 + canvas.text(x + 28, y, "Lung", 16, TEXT) + 30
    canvas.text(x, y, f"Window {WINDOW_CENTER_HU} / {WINDOW_WIDTH_HU} HU", 16, MUTED)
    canvas.line((EDGE, y + 16), (RIGHT, y + 16), RULE)
    canvas.text(EDGE, y + 40, RESEARCH_USE, 18, TEXT, bold=True)
    remark = "Computed by dicomnode; numbers as in the structured report."
    canvas.text(RIGHT, y + 40, remark, 16, MUTED, "right")


def _legend(canvas: Canvas, x: float, y: float, rgb: Rgb, name: str) -> float:
    canvas.panel((int(x), int(y) - 14, int(x) + 18, int(y) + 2), rgb, radius=4)
    return x + 28 + canvas.text(x + 28, y, name, 16, TEXT) + 30

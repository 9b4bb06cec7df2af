"""The patient's course as a strip of the overview: two curves over time, and the changes as numbers.

Published courses are cubic fits over days since symptom onset (Pan et al. 2020, 465 scans of 95 patients).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from dicomnode.measure.course import Course
from dicomnode.measure.priors import Scan
from dicomnode.report.canvas import MUTED, RULE, TEXT, WARNING, Canvas, Rgb
from dicomnode.report.prior_text import ALARMING, DOUBTS, REMARKS

COURSE_HEIGHT = 330
MODERATE_RGB: Rgb = (96, 180, 220)
SEVERE_RGB: Rgb = (232, 120, 96)
FIT_DAYS = 40
"""Published fits are drawn so far; a cubic means nothing beyond the days that it was fitted to."""

PUBLISHED = {
    "lesion_extent_percent": {
        "moderate": (0.413, -0.0148, 0.000127),
        "severe": (2.89, -0.0912, 0.000794),
    },
    "ct_score": {
        "moderate": (0.460, -0.0156, 0.000128),
        "severe": (1.41, -0.0448, 0.000389),
    },
}
"""Coefficients of x, x^2 and x^3 with x in days since onset (Pan et al. 2020)."""

_RGB = {"moderate": MODERATE_RGB, "severe": SEVERE_RGB}
_PLOTS = (("lesion_extent_percent", "Lesion extent, %"), ("ct_score", "CT score, 0 to 25"))
_PLOT_WIDTH, _PLOT_GAP = 440, 30
_ROWS = (
    ("lesion_volume_ml", "Lesion mL", 1),
    ("lesion_extent_percent", "Extent, points", 1),
    ("lesion_weight_g", "Weight g", 1),
    ("ct_score", "CT score", 0),
    ("ct_ss", "CT-SS", 0),
)
_MOST_ROWS = 6
_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class _Frame:
    """A plot's place on the canvas and its scales."""

    left: int
    top: int
    right: int
    bottom: int
    days: float
    highest: float

    def x(self, day: float) -> float:
        return self.left + (self.right - self.left) * day / self.days

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * value / self.highest


def published_course(name: str, group: str, day: float) -> float:
    """The fit of a measurement for the group "moderate" or "severe", not below 0."""
    first, second, third = PUBLISHED[name][group]
    return max(0.0, first * day + second * day**2 + third * day**3)


def draw_course(canvas: Canvas, course: Course, left: int, top: int, right: int) -> None:
    """Draw the strip of :data:`COURSE_HEIGHT` pixels below ``top``, without any date."""
    canvas.panel((left, top, right, top + COURSE_HEIGHT - 14))
    x = left + 22
    onset = _days_from_onset(course)
    for name, title in _PLOTS:
        points = _points(course, name, onset)
        if points:
            _draw_plot(canvas, name, title, points, onset is not None, x, top)
            x += _PLOT_WIDTH + _PLOT_GAP
    _draw_changes(canvas, course, x + 10, top, right - 22)


def _days_from_onset(course: Course) -> float | None:
    """Days from onset to the first scan, by the newest scan that says it."""
    scans = [scan for scan, _ in course.scans]
    for scan in reversed(scans):
        if scan.onset_day is not None:
            return scan.onset_day - (scan.study_date - scans[0].study_date).days
    return None


def _points(course: Course, name: str, onset: float | None) -> list[tuple[float, float]]:
    scans = course.scans
    return [
        (_days(scans[0][0], scan) + (onset or 0.0), float(values[name]))
        for scan, values in scans
        if name in values
    ]


def _days(first: Scan, scan: Scan) -> int:
    return (scan.study_date - first.study_date).days


def _draw_plot(
    canvas: Canvas,
    name: str,
    title: str,
    points: list[tuple[float, float]],
    from_onset: bool,
    left: int,
    top: int,
) -> None:
    highest = max(*(value for _, value in points), _peak(name))
    last = max(*(day for day, _ in points), FIT_DAYS)
    step, across = _step(highest / 4), _step(last / 5)
    frame = _Frame(
        left + 34, top + 62, left + _PLOT_WIDTH, top + COURSE_HEIGHT - 88, last * 1.02, highest * 1.08
    )
    canvas.text(left, top + 34, title, 16, TEXT)
    for value in range(0, int(frame.highest) + 1, step):
        canvas.line((frame.left, frame.y(value)), (frame.right, frame.y(value)))
        canvas.text(frame.left - 8, frame.y(value) + 5, str(value), 14, MUTED, "right")
    for day in range(0, int(frame.days) + 1, across):
        canvas.line((frame.x(day), frame.bottom), (frame.x(day), frame.bottom + 5), MUTED)
        canvas.text(frame.x(day), frame.bottom + 20, str(day), 14, MUTED, "center")
    for group in PUBLISHED[name]:
        fit = [(day / 2, published_course(name, group, day / 2)) for day in range(2 * FIT_DAYS + 1)]
        _dashes(canvas, [(frame.x(day), frame.y(value)) for day, value in fit], _RGB[group])
    curve = [(frame.x(day), frame.y(value)) for day, value in points]
    for start, end in pairwise(curve):
        canvas.line(start, end, TEXT, 2)
    for x, y in curve:
        canvas.panel((round(x) - 5, round(y) - 5, round(x) + 5, round(y) + 5), TEXT, radius=5)
    axis = "days since symptom onset" if from_onset else "patient: days since first scan"
    canvas.text(frame.left, frame.bottom + 42, axis, 14, MUTED)
    _draw_legend(canvas, frame, from_onset)


def _draw_legend(canvas: Canvas, frame: _Frame, from_onset: bool) -> None:
    """Below the axis; without a known onset the published days are others than the patient's."""
    x, y = float(frame.left), frame.bottom + 61
    words = "published" if from_onset else "published, days since onset"
    for group, rgb in _RGB.items():
        _dashes(canvas, [(x + step, y - 5) for step in range(0, 27, 2)], rgb)
        x += 34 + canvas.text(x + 32, y, group, 14, rgb) + 12
    canvas.text(x, y, f"({words})", 14, MUTED)


def _dashes(canvas: Canvas, points: list[tuple[float, float]], rgb: Rgb) -> None:
    for index in range(0, len(points) - 2, 3):
        canvas.line(points[index], points[index + 1], rgb, 2)
        canvas.line(points[index + 1], points[index + 2], rgb, 2)


def _draw_changes(canvas: Canvas, course: Course, left: int, top: int, right: int) -> None:
    """A row for each earlier scan, the newest first."""
    canvas.text(left, top + 34, "Change since", 16, MUTED)
    names = [row for row in _ROWS if any(row[0] in change.difference for change in course.changes)]
    across = (right - left - 110) / max(len(names), 1)
    for index, (_, title, _) in enumerate(names, 1):
        canvas.text(left + 110 + index * across, top + 34, title, 16, MUTED, "right")
    canvas.line((left, top + 44), (right, top + 44), RULE)
    y = top + 46
    for change in list(reversed(course.changes))[:_MOST_ROWS]:
        y += 32
        canvas.text(left, y, f"{change.days} days ago", 17, WARNING if change.doubts else TEXT)
        for index, (name, _, decimals) in enumerate(names, 1):
            x = left + 110 + index * across
            canvas.text(x, y, _signed(change.difference, name, decimals), 18, TEXT, "right")
    doubts = dict.fromkeys(doubt for change in course.changes for doubt in change.doubts)
    said = "; ".join(DOUBTS[doubt] for doubt in doubts)
    bottom = top + COURSE_HEIGHT - 30
    lines = canvas.wrapped(f"Yellow: {said}.", 14, right - left, 2) if said else []
    for index, line in enumerate(lines):
        canvas.text(left, bottom - 18 * (len(lines) - 1 - index), line, 14, WARNING)


def draw_alarm(canvas: Canvas, course: Course, right: int, y: int, width: float) -> None:
    """What stops a comparison, in one line that ends at ``right``."""
    said = [REMARKS[remark] for remark in course.findings.remarks if remark in ALARMING]
    if said:
        canvas.text(right, y, canvas.shortened(" ".join(said), 16, width), 16, WARNING, "right")


def _signed(values: Mapping[str, float], name: str, decimals: int) -> str:
    return f"{values[name]:+,.{decimals}f}" if name in values else "-"


def _peak(name: str) -> float:
    return max(published_course(name, group, day) for group in PUBLISHED[name] for day in range(FIT_DAYS + 1))


def _step(least: float) -> int:
    return next((step for step in _STEPS if step >= least), _STEPS[-1])

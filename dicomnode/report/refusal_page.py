"""The page that says why a series was not measured, for destinations that take pictures only."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from dicomnode.report.canvas import MUTED, PANEL, RULE, TEXT, WARNING, Canvas
from dicomnode.report.header import RESEARCH_USE
from dicomnode.report.text import ascii_text

WIDTH, HEIGHT = 1280, 800
EDGE = 56
INNER = EDGE + 36
GAP = 18
FOOTER_TOP = HEIGHT - 64
TEXT_SIZE = 30
LINE_HEIGHT = 40
EXPLANATION_LINES = 5
"""More than any reason takes; the SR has the whole of it anyway."""


def draw_refusal_page(
    reason: str, explanation: str, what_to_do: str, series: Sequence[str], images: int
) -> Image.Image:
    """An RGB picture of 1280 x 800 pixels without patient data.

    Parameters
    ----------
    reason:
        The reason code.
    explanation, what_to_do:
        Sentences for a person.
    series, images:
        Series Instance UIDs and the number of images of what was refused.
    """
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.panel((EDGE, 56, EDGE + 10, 146), WARNING, radius=5)
    canvas.text(INNER, 98, "CT series not measured", 46, bold=True)
    canvas.text(INNER, 140, f"Reason: {ascii_text(reason, 64)}", 24, WARNING)
    below = _panel(canvas, 182, "Why", explanation, EXPLANATION_LINES)
    below = _panel(canvas, below + GAP, "What to do", what_to_do, 2)
    canvas.text(INNER, below + 44, f"{images} source image{'' if images == 1 else 's'}", 20, MUTED)
    canvas.text(INNER, below + 74, _names(series), 20, MUTED)
    canvas.line((EDGE, FOOTER_TOP), (WIDTH - EDGE, FOOTER_TOP), RULE)
    canvas.text(EDGE, FOOTER_TOP + 34, RESEARCH_USE, 20, TEXT, bold=True)
    canvas.text(WIDTH - EDGE, FOOTER_TOP + 34, "Made by dicomnode", 18, MUTED, "right")
    return canvas.image


def _panel(canvas: Canvas, top: int, title: str, content: str, most_lines: int) -> int:
    """A titled panel as high as its text; returns where it ends."""
    lines = canvas.wrapped(ascii_text(content), TEXT_SIZE, WIDTH - 2 * INNER, most_lines)
    bottom = top + 70 + LINE_HEIGHT * len(lines)
    canvas.panel((EDGE, top, WIDTH - EDGE, bottom), PANEL)
    canvas.text(INNER, top + 38, title, 20, MUTED)
    for number, line in enumerate(lines):
        canvas.text(INNER, top + 82 + LINE_HEIGHT * number, line, TEXT_SIZE)
    return bottom


def _names(series: Sequence[str]) -> str:
    if not series:
        return "Without a Series Instance UID"
    more = f" and {len(series) - 1} more" if len(series) > 1 else ""
    return ascii_text(f"Series {series[0]}{more}", 90)

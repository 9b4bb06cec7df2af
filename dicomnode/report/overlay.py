"""CT slices with the masks burnt in and a legend: what a viewer without segmentations shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicomnode.report.canvas import BACKGROUND, MUTED, TEXT, Canvas
from dicomnode.report.header import RESEARCH_USE
from dicomnode.report.planes import (
    FILL_OPACITY,
    LABEL_RGB,
    LUNG_OUTLINE_OPACITY,
    LUNG_RGB,
    OUTLINE_OPACITY,
    WINDOW_CENTER_HU,
    WINDOW_WIDTH_HU,
)
from dicomnode.segment.segmentation import Label

Pixels = NDArray[np.uint8]

LEGEND_NAMES = {
    Label.GROUND_GLASS: "Ground glass",
    Label.CONSOLIDATION: "Consolidation",
    Label.EFFUSION: "Effusion",
}
LEGEND_OPACITY = 0.8
SMALLEST_TEXT, ROWS_A_TEXT_PIXEL = 9, 42
OUTLINE = len(Label)
"""Added to a label: the pixels at its rim."""


class OverlayPainter:
    """Paints slices of one series.

    Parameters
    ----------
    rows, columns:
        Size of a slice; the picture has the same, so that viewers scroll both together.
    labels:
        The lesions that the legend explains.
    """

    def __init__(self, rows: int, columns: int, labels: tuple[Label, ...]) -> None:
        self._gray = _window_table()
        self._colours = _colour_table()
        legend = _draw_legend(rows, columns, labels)
        self._legend = None if legend is None else np.asarray(legend, np.uint16)

    def paint(self, hu: NDArray[np.int16], labels: Pixels) -> Pixels:
        """One slice (rows, columns) in the lung window as RGB (rows, columns, 3), masks and legend in it."""
        gray = self._gray[np.ascontiguousarray(hu).view(np.uint16)]
        picture = self._colours[_classes(labels).astype(np.uint16) * 256 + gray]
        if self._legend is not None:
            height, width = self._legend.shape[:2]
            corner = picture[-height:, :width]
            share = round(LEGEND_OPACITY * 256)
            ink = self._legend.max(axis=2, keepdims=True) > max(BACKGROUND)
            mixed = (self._legend * share + corner.astype(np.uint16) * (256 - share)) >> 8
            corner[:] = np.where(ink, self._legend, mixed)
        return picture


def _window_table() -> Pixels:
    """Gray of each HU, addressed by the bits of an int16."""
    hu = np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.float64)
    low = WINDOW_CENTER_HU - WINDOW_WIDTH_HU / 2
    return np.clip(np.rint((hu - low) * (255.0 / WINDOW_WIDTH_HU)), 0, 255).astype(np.uint8)


def _colour_table() -> Pixels:
    """RGB of each class and gray value: labels as they are, then their outlines."""
    gray = np.repeat(np.arange(256.0)[:, None], 3, axis=1)
    table = np.repeat(gray[None], 2 * OUTLINE, axis=0)
    for label, rgb in LABEL_RGB.items():
        for code, opacity in ((label, FILL_OPACITY[label]), (label + OUTLINE, OUTLINE_OPACITY)):
            table[code] = gray * (1 - opacity) + np.array(rgb) * opacity
    table[Label.NORMAL_LUNG + OUTLINE] = (
        gray * (1 - LUNG_OUTLINE_OPACITY) + np.array(LUNG_RGB) * LUNG_OUTLINE_OPACITY
    )
    return np.rint(table).astype(np.uint8).reshape(-1, 3)


def _classes(labels: Pixels) -> Pixels:
    """Labels, with :data:`OUTLINE` added where a lesion meets anything else or lung meets what is none."""
    rim = np.zeros(labels.shape, np.bool_)
    for one, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        for here, there in ((one, other), (other, one)):
            mine, neighbour = labels[here], labels[there]
            rim[here] |= (mine != neighbour) & ((mine > Label.NORMAL_LUNG) | (neighbour == Label.BACKGROUND))
    return np.where(rim & (labels > 0), labels + np.uint8(OUTLINE), labels).astype(np.uint8)


def _draw_legend(rows: int, columns: int, labels: tuple[Label, ...]) -> Image.Image | None:
    """A strip for the lower left corner; ``None`` where the slice is too small for words."""
    for size in range(max(SMALLEST_TEXT, rows // ROWS_A_TEXT_PIXEL), SMALLEST_TEXT - 1, -1):
        canvas = Canvas(columns, rows)
        x, line = 0.6 * size, 1.7 * size
        for rgb, name in [(LABEL_RGB[label], LEGEND_NAMES[label]) for label in labels]:
            canvas.panel((int(x), int(0.5 * size), int(x + 0.8 * size), int(1.3 * size)), rgb, radius=1)
            x += 1.2 * size
            x += canvas.text(x, 1.25 * size, name, size, TEXT) + size
        words = max(x, canvas.text(0.6 * size, 1.25 * size + line, RESEARCH_USE, size, MUTED) + 1.2 * size)
        width, height = int(words), int(2 * line)
        if width <= columns and 5 * height <= rows:
            return canvas.image.crop((0, 0, width, height))
    return None

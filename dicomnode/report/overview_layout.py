"""Where things stand on the overview, and the colours that mean something on it."""

from __future__ import annotations

from dicomnode.measure.measurements import RegionMeasurements
from dicomnode.report.canvas import Box, Rgb
from dicomnode.report.planes import AXIAL_COUNT, LABEL_RGB
from dicomnode.segment.segmentation import Label

WIDTH, HEIGHT = 1920, 1358
"""Landscape A4, so that the page fills a sheet."""

EDGE = 32
GAP = 14
COLUMN = (WIDTH - 2 * EDGE - (AXIAL_COUNT - 1) * GAP) // AXIAL_COUNT
RIGHT = EDGE + AXIAL_COUNT * COLUMN + (AXIAL_COUNT - 1) * GAP
AXIAL_TOP, AXIAL_HEIGHT = 132, 346
MIDDLE_TOP, MIDDLE_HEIGHT = AXIAL_TOP + AXIAL_HEIGHT + GAP, 376
LOWER_TOP, LOWER_HEIGHT = MIDDLE_TOP + MIDDLE_HEIGHT + GAP, 388
BOTTOM = LOWER_TOP + LOWER_HEIGHT
PADDING = 22
GGO_RGB = LABEL_RGB[Label.GROUND_GLASS]
CONSOLIDATION_RGB = LABEL_RGB[Label.CONSOLIDATION]


def column_left(number: int) -> int:
    """Left edge of a column, from 0."""
    return EDGE + number * (COLUMN + GAP)


def panel_box(first: int, last: int, top: int, height: int) -> Box:
    """Box over columns ``first`` to ``last``."""
    return column_left(first), top, column_left(last) + COLUMN, top + height


def parts_of(region: RegionMeasurements) -> list[tuple[float, Rgb]]:
    """Shares of a region as a bar shows them, in %."""
    return [
        (region.ggo_extent_percent, GGO_RGB),
        (region.consolidation_extent_percent, CONSOLIDATION_RGB),
    ]

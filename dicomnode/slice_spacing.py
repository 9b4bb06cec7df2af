"""How far neighbouring slices may be from evenly spaced: the same for who waits and for who measures.

Positions are written with few digits (spacings of 1.599 and 1.6 mm, 0.6 and 0.7 mm for 0.625), so neighbours
may differ from the median spacing by 0.2 mm, or by 10 % where that is more; never by half a spacing, since a
missing slice differs by a whole one.
"""

from __future__ import annotations

SPACING_TOLERANCE_MM = 0.2
SPACING_TOLERANCE_SHARE = 0.1
SPACING_TOLERANCE_AT_MOST = 0.5

# Small differences add up: a slice may lie this share of the spacing from its place on the regular grid.
GRID_TOLERANCE_SHARE = 0.5


def spacing_tolerance_mm(usual_mm: float) -> float:
    """How far the distance of two neighbours may be from the median distance ``usual_mm``."""
    tolerance = max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_SHARE * usual_mm)
    return min(tolerance, SPACING_TOLERANCE_AT_MOST * usual_mm)

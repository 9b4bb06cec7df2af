"""Segments and colours of the pictures; the words and numbers of the report room, which is slow to import."""

from __future__ import annotations

from itertools import pairwise

GGO, CONSOLIDATION, EFFUSION, LUNGS = "Ground glass opacity", "Consolidation", "Effusion", "Lungs"

FINDINGS: tuple[tuple[str, tuple[int, int, int, int]], ...] = (
    (GGO, (250, 190, 60, 120)),
    (CONSOLIDATION, (225, 60, 70, 150)),
    (EFFUSION, (70, 130, 230, 130)),
)

LOBES = {
    "right_upper": "Right upper lobe",
    "right_middle": "Right middle lobe",
    "right_lower": "Right lower lobe",
    "left_upper": "Left upper lobe",
    "left_lower": "Left lower lobe",
}
SIDES = {"right": "Right lung", "left": "Left lung"}
LOBE_ALPHA = 110

EXTENT_RGB: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (0, (74, 96, 116)),
    (5, (232, 208, 128)),
    (25, (244, 150, 60)),
    (50, (228, 72, 66)),
    (75, (156, 24, 84)),
)
"""Colour of a lesion extent in %, in between linear; the places are the bounds of the CT score."""

WINDOWS = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0)}
"""Centre and width in HU."""


def extent_colour(percent: float) -> tuple[int, int, int]:
    """Colour of an extent."""
    if percent <= EXTENT_RGB[0][0]:
        return EXTENT_RGB[0][1]
    for (low, one), (high, other) in pairwise(EXTENT_RGB):
        if percent <= high:
            share = (percent - low) / (high - low)
            red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
            return red, green, blue
    return EXTENT_RGB[-1][1]


def hexadecimal(rgb: tuple[int, int, int]) -> str:
    """As SVG writes it."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)

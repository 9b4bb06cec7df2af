"""The largest separate lesions in the SR: their volumes coded by place, and a line on each.

They have no segments of their own, so they can't have groups of TID 1411; groups of TID 1501 beside those of
TID 1411 are taken for faulty ones by a validator that hospitals use (PixelMed).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dicomnode.report import codes
from dicomnode.report.content import MODIFIER, code, number
from dicomnode.report.content_item import ContentItem
from dicomnode.report.segments import LOBES, LUNGS, Segment

SITES = {segment.key: segment for segment in (*LUNGS, *LOBES)}


def lesion_volumes(lesions: Iterable[dict[str, Any]]) -> list[ContentItem]:
    """A NUM item for each lesion of the record, with its lobe or lung as Finding Site (TID 1419)."""
    return [
        number(
            codes.SEPARATE_LESION_VOLUME,
            lesion["volume_ml"],
            codes.MILLILITER,
            _finding_site(SITES[lesion["lobe"] or lesion["side"]]),
        )
        for lesion in lesions
    ]


def lesion_sentence(lesion: dict[str, Any]) -> str:
    """All that the record says of a lesion."""
    site = SITES[lesion["lobe"] or lesion["side"]].label.lower()
    x, y, z = lesion["centroid_mm"]
    distance = lesion["pleura_distance_mm"]
    parts = (
        f"{lesion['volume_ml']} mL",
        f"mean {lesion['mean_hu']} HU",
        "distance to the pleura not known" if distance is None else f"{distance} mm from the pleura",
        f"{lesion['peripheral_percent']} % in the outer third",
        f"centroid at {x}, {y}, {z} mm (LPS)",
    )
    return f"{lesion['number']}, {site}: {', '.join(parts)}"


def _finding_site(site: Segment) -> ContentItem:
    laterality = [code(codes.LATERALITY, site.laterality, MODIFIER)] if site.laterality else []
    return code(codes.FINDING_SITE, site.kind, MODIFIER, *laterality)

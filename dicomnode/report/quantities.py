"""Which measurements stand in which group of the SR: name, concept and unit; most important first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydicom.sr.coding import Code

from dicomnode.report import codes
from dicomnode.report.content import MODIFIER, bound, code, number
from dicomnode.report.content_item import ContentItem
from dicomnode.report.segments import LOBES, SIDES, Segment
from dicomnode.segment.segmentation import REGIONS_OF_LOBE, Lobe

Quantity = tuple[Code, Code, bool]
"""Concept name, unit, and whether the value is a mean."""

ML, PERCENT, GRAM, HU = codes.MILLILITER, codes.PERCENT, codes.GRAM, codes.HOUNSFIELD_UNIT
ONE = codes.NO_UNITS

REGION_QUANTITIES: dict[str, Quantity] = {
    "volume_ml": (codes.VOLUME, ML, False),
    "lesion_extent_percent": (codes.LESION_EXTENT, PERCENT, False),
    "lesion_volume_ml": (codes.LESION_VOLUME, ML, False),
    "lesion_weight_g": (codes.LESION_WEIGHT, GRAM, False),
    "lesion_mean_hu": (codes.LESION_MEAN_HU, HU, True),
    "ggo_volume_ml": (codes.GGO_VOLUME, ML, False),
    "ggo_extent_percent": (codes.GGO_EXTENT, PERCENT, False),
    "consolidation_volume_ml": (codes.CONSOLIDATION_VOLUME, ML, False),
    "consolidation_extent_percent": (codes.CONSOLIDATION_EXTENT, PERCENT, False),
    "effusion_volume_ml": (codes.EFFUSION_VOLUME, ML, False),
    "high_opacity_volume_ml": (codes.HIGH_OPACITY_VOLUME, ML, False),
    "high_opacity_extent_percent": (codes.HIGH_OPACITY_EXTENT, PERCENT, False),
    "normal_lung_volume_ml": (codes.NORMAL_LUNG_VOLUME, ML, False),
    "mean_hu": (codes.ATTENUATION, HU, True),
}
"""Of both lungs or a side."""

LUNG_QUANTITIES: dict[str, Quantity] = {
    "volume_ml": REGION_QUANTITIES["volume_ml"],
    "lesion_extent_percent": REGION_QUANTITIES["lesion_extent_percent"],
    "lesion_volume_ml": REGION_QUANTITIES["lesion_volume_ml"],
    "lesion_weight_g": REGION_QUANTITIES["lesion_weight_g"],
    "ct_score": (codes.CT_SCORE, codes.range_unit(25), False),
    "ct_score_probability": (codes.CT_SCORE_PROBABILITY, ONE, False),
    "involved_lobes": (codes.INVOLVED_LOBES, codes.range_unit(5), False),
    "ct_ss": (codes.CT_SS, codes.range_unit(40), False),
    "ct_ss_probability": (codes.CT_SS_PROBABILITY, ONE, False),
    **REGION_QUANTITIES,
    "lesion_count": (codes.NUMBER_OF_LESIONS, ONE, False),
    "sizable_lesion_count": (codes.SIZABLE_LESIONS, ONE, False),
    "peripheral_percent": (codes.PERIPHERAL_SHARE, PERCENT, False),
    "hellinger_distance": (codes.HELLINGER_DISTANCE, ONE, False),
    "histogram_iou": (codes.HISTOGRAM_IOU, ONE, False),
    "emphysema_percent": (codes.EMPHYSEMA, PERCENT, False),
    "low_attenuation_percent": (codes.LOW_ATTENUATION, PERCENT, False),
    "lung_p05_hu": (codes.PERCENTILES[5], HU, False),
    "lung_p15_hu": (codes.PERCENTILES[15], HU, False),
    "lung_p50_hu": (codes.MEDIAN_ATTENUATION, HU, False),
    "lung_p85_hu": (codes.PERCENTILES[85], HU, False),
    "lung_p95_hu": (codes.PERCENTILES[95], HU, False),
    "lung_sd_hu": (codes.SD_ATTENUATION, HU, False),
    "lung_skewness": (codes.SKEWNESS, ONE, False),
    "lung_kurtosis": (codes.KURTOSIS, ONE, False),
}
"""Of both lungs; what a reader looks for first comes first."""

LOBE_QUANTITIES: dict[str, Quantity] = {
    "volume_ml": REGION_QUANTITIES["volume_ml"],
    "ct_score": (codes.LOBE_SCORE, codes.range_unit(5), False),
    **{
        name: quantity
        for name, quantity in REGION_QUANTITIES.items()
        if name.startswith(("lesion_", "ggo_volume", "consolidation_volume", "effusion_"))
    },
}
"""Of a lobe; ``measurements.json`` has all of :data:`REGION_QUANTITIES` of it."""

FINDING_QUANTITIES: dict[str, dict[str, Quantity]] = {
    "lesion": {
        "lesion_volume_ml": (codes.VOLUME, ML, False),
        "lesion_extent_percent": (codes.LESION_EXTENT, PERCENT, False),
        "lesion_weight_g": (codes.MASS, GRAM, False),
        "lesion_mean_hu": (codes.ATTENUATION, HU, True),
    },
    "ggo": {
        "ggo_volume_ml": (codes.VOLUME, ML, False),
        "ggo_extent_percent": (codes.GGO_EXTENT, PERCENT, False),
    },
    "consolidation": {
        "consolidation_volume_ml": (codes.VOLUME, ML, False),
        "consolidation_extent_percent": (codes.CONSOLIDATION_EXTENT, PERCENT, False),
    },
    "effusion": {"effusion_volume_ml": (codes.VOLUME, ML, False)},
}


def quantities_of(segment: Segment) -> dict[str, Quantity]:
    """The quantities of a segment's group."""
    if segment.finding:
        return FINDING_QUANTITIES[segment.key]
    if segment in LOBES:
        return LOBE_QUANTITIES
    return REGION_QUANTITIES if segment in SIDES else LUNG_QUANTITIES


def numbers_of(quantities: Mapping[str, Quantity], values: Mapping[str, Any]) -> list[ContentItem]:
    """A NUM item for each quantity that has a value, with its 95 % interval where there is one."""
    items: list[ContentItem] = []
    for name, (concept, unit, is_mean) in quantities.items():
        value = values.get(name)
        if isinstance(value, int | float):
            modifiers = [code(codes.DERIVATION, codes.MEAN, MODIFIER)] if is_mean else []
            bounds = _bounds(value, unit, interval_of(name, values.get("uncertainty", {})))
            items.append(number(concept, value, unit, *modifiers, *bounds))
    return items


def interval_of(name: str, uncertainty: Mapping[str, Any]) -> tuple[float, float] | None:
    """The 95 % bounds of the measure ``name`` in the record's ``uncertainty``, if it has some."""
    measure, _, unit = name.rpartition("_")
    for low, high in ((f"{name}_low", f"{name}_high"), (f"{measure}_low_{unit}", f"{measure}_high_{unit}")):
        if low in uncertainty:
            return uncertainty[low], uncertainty[high]
    return None


def _bounds(value: float, unit: Code, interval: tuple[float, float] | None) -> list[ContentItem]:
    """By how much the true value may be larger and smaller (TID 310)."""
    if interval is None:
        return []
    low, high = interval
    return [
        bound(codes.UPPER_UNCERTAINTY, round(high - value, 3), unit),
        bound(codes.LOWER_UNCERTAINTY, round(value - low, 3), unit),
    ]


def region_scores(segment: Segment, values: Mapping[str, Any]) -> list[ContentItem]:
    """A NUM item with the CT-SS of each region of a lobe; nothing for other segments."""
    if segment not in LOBES:
        return []
    scores = {
        region: values["regions"][region.name.lower()]["ct_ss"]
        for region in REGIONS_OF_LOBE[Lobe[segment.key.upper()]]
        if region.name.lower() in values["regions"]
    }
    return [
        number(codes.REGION_SCORES[region], score, codes.range_unit(2)) for region, score in scores.items()
    ]

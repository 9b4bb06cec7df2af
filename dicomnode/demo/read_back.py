"""Reads results as a stranger would: from the DICOM objects alone, without the code that made them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicomnode.assemble.volume import Volume
from dicomnode.segment.segmentation import Label, Lobe, ModelIdentity, Region, Segmentation, Side

LUNG, GROUND_GLASS, CONSOLIDATION, EFFUSION = "39607008", "112120", "95436008", "60046008"
UPPER_LOBE, MIDDLE_LOBE, LOWER_LOBE = "45653009", "72481006", "90572001"
RIGHT, LEFT = "24028007", "7771000"
MEASUREMENT_GROUP, TRACKING_IDENTIFIER = "125007", "112039"
FINDING, FINDING_SITE, LATERALITY = "121071", "363698007", "272741003"
LESION = "52988006"
VOLUME, ATTENUATION, MASS = "118565006", "112031", "118538004"

LOBES = {
    (UPPER_LOBE, RIGHT): Lobe.RIGHT_UPPER,
    (MIDDLE_LOBE, ""): Lobe.RIGHT_MIDDLE,
    (LOWER_LOBE, RIGHT): Lobe.RIGHT_LOWER,
    (UPPER_LOBE, LEFT): Lobe.LEFT_UPPER,
    (LOWER_LOBE, LEFT): Lobe.LEFT_LOWER,
}
REGIONS = {
    (LUNG, RIGHT): ("sides", "right"),
    (LUNG, LEFT): ("sides", "left"),
    **{kind: ("lobes", lobe.name.lower()) for kind, lobe in LOBES.items()},
}
REGION_NAMES = {
    VOLUME: "volume_ml",
    ATTENUATION: "mean_hu",
    "NORMAL_VOLUME": "normal_lung_volume_ml",
    "LESION_VOLUME": "lesion_volume_ml",
    "GGO_VOLUME": "ggo_volume_ml",
    "CONSOL_VOLUME": "consolidation_volume_ml",
    "EFFUSION_VOLUME": "effusion_volume_ml",
    "HIGH_OPAC_VOLUME": "high_opacity_volume_ml",
    "LESION_EXTENT": "lesion_extent_percent",
    "GGO_EXTENT": "ggo_extent_percent",
    "CONSOL_EXTENT": "consolidation_extent_percent",
    "HIGH_OPAC_EXTENT": "high_opacity_extent_percent",
    "LESION_WEIGHT": "lesion_weight_g",
    "LESION_MEAN_HU": "lesion_mean_hu",
    "LOBE_SCORE": "ct_score",
}
LUNG_NAMES = REGION_NAMES | {
    VOLUME: "lung_volume_ml",
    ATTENUATION: "lung_mean_hu",
    "CT_SCORE": "ct_score",
    "INVOLVED_LOBES": "involved_lobes",
    "CT_SS": "ct_ss",
    "246206008": "lesion_count",
    "SIZABLE_LESIONS": "sizable_lesion_count",
    "PERIPHERAL_SHARE": "peripheral_percent",
    "HELLINGER_DIST": "hellinger_distance",
    "HISTOGRAM_IOU": "histogram_iou",
    "LAA_950": "emphysema_percent",
    "LAA_910": "low_attenuation_percent",
    "HU_PERCENTILE_05": "lung_p05_hu",
    "HU_PERCENTILE_15": "lung_p15_hu",
    "112182": "lung_p50_hu",
    "HU_PERCENTILE_85": "lung_p85_hu",
    "HU_PERCENTILE_95": "lung_p95_hu",
    "112183": "lung_sd_hu",
    "126051": "lung_skewness",
    "126052": "lung_kurtosis",
}
TOTAL_NAMES = {
    LUNG: LUNG_NAMES,
    LESION: REGION_NAMES
    | {VOLUME: "lesion_volume_ml", ATTENUATION: "lesion_mean_hu", MASS: "lesion_weight_g"},
    GROUND_GLASS: REGION_NAMES | {VOLUME: "ggo_volume_ml"},
    CONSOLIDATION: REGION_NAMES | {VOLUME: "consolidation_volume_ml"},
    EFFUSION: {VOLUME: "effusion_volume_ml"},
}
REGION_SCORES = {
    f"CT_SS_REGION_{int(region):02}": ("regions", region.name.lower(), "ct_ss") for region in Region
}
PROBABILITIES = {
    "CT_SCORE_PROB": ("uncertainty", "ct_score_probability"),
    "CT_SS_PROB": ("uncertainty", "ct_ss_probability"),
}
SEPARATE_LESION = "SEPARATE_LESION"

ON_THE_SLICE_MM = 0.1
BESIDE_THE_GRID_MM = 1.0


@dataclass(frozen=True)
class ReportedValue:
    """One measurement of a structured report.

    ``group`` is its group's Tracking Identifier; ``finding``, ``laterality`` and ``concept`` are code values;
    ``repeated`` counts earlier measurements of the same concept in the group.
    """

    group: str
    finding: str
    laterality: str
    concept: str
    name: str
    value: float
    unit: str
    repeated: int = 0

    @property
    def contract_path(self) -> tuple[str | int, ...]:
        """Where ``measurements.json`` has the same number; empty for one it doesn't have."""
        if self.concept == SEPARATE_LESION:
            return "lesions", self.repeated, "volume_ml"
        if self.concept in PROBABILITIES:
            return PROBABILITIES[self.concept]
        if self.concept in REGION_SCORES:
            return REGION_SCORES[self.concept]
        region = REGIONS.get((self.finding, self.laterality), ())
        names = REGION_NAMES if region else TOTAL_NAMES.get(self.finding, {})
        name = names.get(self.concept)
        return (*region, name) if name else ()


def segment_masks(seg: Dataset, volume: Volume) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """Masks of a binary SEG on the volume's grid, by property type code and laterality code.

    Frames are placed by their own Image Position (Patient), not by their number or their references.

    Raises
    ------
    ValueError
        If a frame lies on no slice of the volume.
    """
    frames = _frames(seg)
    kinds = {int(item.SegmentNumber): _kind(item) for item in seg.SegmentSequence}
    masks = {kind: np.zeros(volume.hu.shape, np.bool_) for kind in kinds.values()}
    origin, normal = volume.affine[:3, 3], volume.affine[:3, 2] / volume.spacing_mm[0]
    for frame, functional_group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(functional_group.PlanePositionSequence[0].ImagePositionPatient, np.float64)
        index = float((position - origin) @ normal) / volume.spacing_mm[0]
        beside = np.linalg.norm(position - origin - index * volume.spacing_mm[0] * normal)
        if abs(index - round(index)) * volume.spacing_mm[0] > ON_THE_SLICE_MM or beside > BESIDE_THE_GRID_MM:
            raise ValueError(f"a SEG frame lies at slice {index:.3f}, {beside:.3f} mm beside the grid")
        number = int(functional_group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        masks[kinds[number]][round(index)] |= frame
    return masks


def segmentation_from(seg: Dataset, volume: Volume) -> Segmentation:
    """The label, side and lobe maps that a SEG holds; no lobes if it has no such segments."""
    masks = segment_masks(seg, volume)
    sides = np.zeros(volume.hu.shape, np.uint8)
    sides[masks[LUNG, RIGHT]] = Side.RIGHT
    sides[masks[LUNG, LEFT]] = Side.LEFT
    labels = np.where(sides > 0, np.uint8(Label.NORMAL_LUNG), np.uint8(Label.BACKGROUND))
    labels[masks[GROUND_GLASS, ""]] = Label.GROUND_GLASS
    labels[masks[CONSOLIDATION, ""]] = Label.CONSOLIDATION
    lobes = np.zeros_like(labels)
    for kind, lobe in LOBES.items():
        if kind in masks:
            lobes[masks[kind]] = lobe
    algorithm = seg.SegmentSequence[0].SegmentAlgorithmName
    return Segmentation(labels, sides, lobes, ModelIdentity(str(algorithm), "", ""))


def reported_values(sr: Dataset) -> list[ReportedValue]:
    """Every measurement of a TID 1500 report with the group it stands in."""
    return [value for group in _groups(sr) for value in _values(group)]


def _frames(seg: Dataset) -> NDArray[np.bool_]:
    """Frames of a SEG with SegmentationType BINARY: bits, the first pixel in the lowest (PS3.5 8.2)."""
    rows, columns, count = int(seg.Rows), int(seg.Columns), int(seg.NumberOfFrames)
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    return bits[: count * rows * columns].reshape(count, rows, columns).astype(np.bool_)


def _kind(segment: Dataset) -> tuple[str, str]:
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    modifiers = kind.get("SegmentedPropertyTypeModifierCodeSequence") or [Dataset()]
    return str(kind.CodeValue), str(modifiers[0].get("CodeValue", ""))


def _groups(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        if child.ValueType == "CONTAINER":
            if _concept(child) == MEASUREMENT_GROUP:
                yield child
            else:
                yield from _groups(child)


def _values(group: Dataset) -> Iterator[ReportedValue]:
    items = {str(item.ConceptNameCodeSequence[0].CodeValue): item for item in group.ContentSequence}
    site = items[FINDING_SITE]
    laterality = next((_code(i) for i in site.get("ContentSequence", []) if _concept(i) == LATERALITY), "")
    seen: Counter[str] = Counter()
    for item in group.ContentSequence:
        if item.ValueType == "NUM" and item.get("MeasuredValueSequence"):
            measured = item.MeasuredValueSequence[0]
            yield ReportedValue(
                group=str(items[TRACKING_IDENTIFIER].TextValue),
                finding=_code(items[FINDING]),
                laterality=laterality,
                concept=_concept(item),
                name=str(item.ConceptNameCodeSequence[0].CodeMeaning),
                value=float(measured.NumericValue),
                unit=str(measured.MeasurementUnitsCodeSequence[0].CodeValue),
                repeated=seen[_concept(item)],
            )
            seen[_concept(item)] += 1


def _concept(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def _code(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue)

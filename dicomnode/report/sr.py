"""The measurements as a Comprehensive 3D SR: TID 1500, one TID 1411 group a segment (PS3.16)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from highdicom.sr.value_types import ContentItem
from pydicom.sr.coding import Code

from dicomnode.measure.measurements import Measurements
from dicomnode.report import codes
from dicomnode.report.content import (
    CONTEXT,
    MODIFIER,
    code,
    complete_document,
    container,
    language_and_observer,
    number,
    segment_reference,
    text,
    uid,
)
from dicomnode.report.header import RESEARCH_USE, ObjectUids, SeriesReference, evidence, new_object
from dicomnode.report.identity import Identity
from dicomnode.report.part10 import write_part10
from dicomnode.report.provenance import Provenance
from dicomnode.report.quality_text import flag_sentence, image_quality
from dicomnode.report.record import measurements_record
from dicomnode.report.result_set import DocumentReference
from dicomnode.report.segments import LOBES, Segment

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
METHOD = (
    "A voxel belongs to one region and one label; its volume is that of the grid cell. Extent is the volume "
    "of the label divided by that of the region. Weight is the sum over lesion voxels of volume times "
    "density, with density in g/mL = (HU + 1000) / 1000, not below 0. Hellinger distance and overlap compare "
    "the histogram of HU in both lungs with that of normal lungs: 0 and 1 mean alike."
)

Quantity = tuple[Code, Code, bool]
"""Concept name, unit, and whether the value is a mean."""

LUNG_QUANTITIES: dict[str, Quantity] = {
    "volume_ml": (codes.VOLUME, codes.MILLILITER, False),
    "mean_hu": (codes.ATTENUATION, codes.HOUNSFIELD_UNIT, True),
    "lesion_volume_ml": (codes.LESION_VOLUME, codes.MILLILITER, False),
    "ggo_volume_ml": (codes.GGO_VOLUME, codes.MILLILITER, False),
    "consolidation_volume_ml": (codes.CONSOLIDATION_VOLUME, codes.MILLILITER, False),
    "effusion_volume_ml": (codes.EFFUSION_VOLUME, codes.MILLILITER, False),
    "high_opacity_volume_ml": (codes.HIGH_OPACITY_VOLUME, codes.MILLILITER, False),
    "lesion_extent_percent": (codes.LESION_EXTENT, codes.PERCENT, False),
    "ggo_extent_percent": (codes.GGO_EXTENT, codes.PERCENT, False),
    "consolidation_extent_percent": (codes.CONSOLIDATION_EXTENT, codes.PERCENT, False),
    "lesion_weight_g": (codes.LESION_WEIGHT, codes.GRAM, False),
    "lesion_mean_hu": (codes.LESION_MEAN_HU, codes.HOUNSFIELD_UNIT, True),
    "hellinger_distance": (codes.HELLINGER_DISTANCE, codes.NO_UNITS, False),
    "histogram_iou": (codes.HISTOGRAM_IOU, codes.NO_UNITS, False),
}
FINDING_QUANTITIES: dict[str, dict[str, Quantity]] = {
    "lesion": {
        "lesion_volume_ml": (codes.VOLUME, codes.MILLILITER, False),
        "lesion_extent_percent": (codes.LESION_EXTENT, codes.PERCENT, False),
        "lesion_weight_g": (codes.MASS, codes.GRAM, False),
        "lesion_mean_hu": (codes.ATTENUATION, codes.HOUNSFIELD_UNIT, True),
    },
    "ggo": {
        "ggo_volume_ml": (codes.VOLUME, codes.MILLILITER, False),
        "ggo_extent_percent": (codes.GGO_EXTENT, codes.PERCENT, False),
    },
    "consolidation": {
        "consolidation_volume_ml": (codes.VOLUME, codes.MILLILITER, False),
        "consolidation_extent_percent": (codes.CONSOLIDATION_EXTENT, codes.PERCENT, False),
    },
    "effusion": {"effusion_volume_ml": (codes.VOLUME, codes.MILLILITER, False)},
}


def write_sr(
    path: Path,
    measurements: Measurements,
    segments: Sequence[Segment],
    *,
    uids: ObjectUids,
    seg: ObjectUids,
    tracking: Sequence[str],
    source: SeriesReference,
    identity: Identity,
    provenance: Provenance,
    software: Sequence[str],
    predecessor: DocumentReference | None = None,
) -> None:
    """Write the report that measures the segments of ``seg``, each number as ``measurements.json`` has it."""
    record = measurements_record(measurements)
    groups = [
        _group(index, segment, tracking_uid, _values(segment, record), seg, source)
        for index, (segment, tracking_uid) in enumerate(zip(segments, tracking, strict=True), start=1)
    ]
    root = container(
        codes.IMAGING_MEASUREMENT_REPORT,
        [
            *language_and_observer(),
            code(codes.PROCEDURE_REPORTED, codes.CT_UNSPECIFIED, MODIFIER),
            container(codes.IMAGING_MEASUREMENTS, [*_algorithm(provenance), *groups]),
            container(codes.QUALITATIVE_EVALUATIONS, _remarks(measurements)),
        ],
        template="1500",
        relationship=None,
    )
    dataset = new_object(
        uids, identity, kind="sr", modality="SR", description="dicomnode lung measurements", software=software
    )
    references = [
        SeriesReference(seg.series_instance_uid, ((seg.sop_class_uid, seg.sop_instance_uid),)),
        source,
    ]
    complete_document(dataset, root, evidence(identity.study_instance_uid, references), predecessor)
    write_part10(path, dataset, identity.elements)


def _values(segment: Segment, record: dict[str, Any]) -> dict[str, Any]:
    """The part of the record that belongs to the segment, under the names of a region."""
    if segment in LOBES or segment.key in ("right", "left"):
        regions = record["sides"] | record.get("lobes", {})
        return dict(regions.get(segment.key, {}))
    return record | {"volume_ml": record["lung_volume_ml"], "mean_hu": record["lung_mean_hu"]}


def _group(
    segment_number: int,
    segment: Segment,
    tracking_uid: str,
    values: dict[str, Any],
    seg: ObjectUids,
    source: SeriesReference,
) -> ContentItem:
    quantities = FINDING_QUANTITIES[segment.key] if segment.finding else LUNG_QUANTITIES
    numbers: list[ContentItem] = []
    for name, (concept, unit, is_mean) in quantities.items():
        value = values.get(name)
        if isinstance(value, float):
            modifiers = [code(codes.DERIVATION, codes.MEAN, MODIFIER)] if is_mean else []
            numbers.append(number(concept, value, unit, *modifiers))
    presence: list[ContentItem] = []
    if segment.finding:
        volume = values[next(iter(quantities))]
        presence = [code(codes.PRESENCE, codes.PRESENT if volume else codes.ABSENT)]
    laterality = [code(codes.LATERALITY, segment.laterality, MODIFIER)] if segment.laterality else []
    site = codes.LUNG if segment.finding else segment.kind
    return container(
        codes.MEASUREMENT_GROUP,
        [
            text(codes.TRACKING_IDENTIFIER, segment.label, CONTEXT),
            uid(codes.TRACKING_UID, tracking_uid, CONTEXT),
            code(codes.FINDING_CATEGORY, segment.category),
            code(codes.FINDING, segment.kind),
            segment_reference(seg, segment_number),
            uid(codes.SOURCE_SERIES, source.series_instance_uid),
            code(codes.FINDING_SITE, site, MODIFIER, *laterality),
            *numbers,
            *presence,
        ],
        template="1411",
    )


def _algorithm(provenance: Provenance) -> list[ContentItem]:
    """TID 4019, once for all groups."""
    parameters = (
        *provenance.parameters,
        f"weights_sha256={provenance.weights_sha256}",
        f"config_sha256={provenance.config_sha256}",
        f"input_sha256={provenance.input_sha256}",
    )
    return [
        text(codes.ALGORITHM_NAME, provenance.model, MODIFIER),
        text(codes.ALGORITHM_VERSION, provenance.model_version, MODIFIER),
        *(text(codes.ALGORITHM_PARAMETERS, parameter, MODIFIER) for parameter in parameters),
        code(codes.ALGORITHM_FAMILY, codes.ARTIFICIAL_INTELLIGENCE, MODIFIER),
    ]


def _remarks(measurements: Measurements) -> list[ContentItem]:
    quality = measurements.quality
    flags = [f"{flag}: {flag_sentence(flag)}" for flag in quality.flags] or ["none"]
    return [
        text(codes.INTENDED_USE, RESEARCH_USE),
        *(text(codes.QUALITY_FLAG, flag) for flag in flags),
        text(codes.IMAGE_QUALITY, image_quality(quality)),
        text(codes.METHOD, METHOD),
    ]

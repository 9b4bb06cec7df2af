"""The measurements as a Comprehensive 3D SR: TID 1500, one TID 1411 group a segment (PS3.16)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.sr.coding import Code

from dicomnode.measure.course import Course
from dicomnode.measure.measurements import Measurements
from dicomnode.report import codes
from dicomnode.report.content import (
    CONTEXT,
    MODIFIER,
    code,
    complete_document,
    container,
    language_and_observer,
    segment_reference,
    text,
    uid,
    write_document,
)
from dicomnode.report.content_item import ContentItem
from dicomnode.report.correction_text import correction_remarks, edited_series
from dicomnode.report.header import ObjectUids, SeriesReference, evidence, new_object
from dicomnode.report.identity import Identity
from dicomnode.report.language import Language
from dicomnode.report.prior_content import comparison, earlier_reports
from dicomnode.report.provenance import Provenance
from dicomnode.report.quantities import numbers_of, quantities_of, region_scores
from dicomnode.report.record import measurements_record
from dicomnode.report.remarks import remarks
from dicomnode.report.result_set import DocumentReference
from dicomnode.report.segments import LOBES, SIDES, Segment
from dicomnode.report.separate_lesions import lesion_volumes

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"


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
    course: Course | None = None,
    about: Sequence[tuple[Code, str]] = (),
    words: Language | None = None,
) -> None:
    """Write the report that measures the segments of ``seg``, each number as ``measurements.json`` has it.

    ``about`` is said of the source series, name and text. ``words`` are its labels, English without; then the
    elements of ``identity`` must be in UTF-8.
    """
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
            container(
                codes.IMAGING_MEASUREMENTS,
                [*_algorithm(provenance), *groups],
            ),
            container(
                codes.QUALITATIVE_EVALUATIONS,
                [
                    *correction_remarks(provenance.correction),
                    *remarks(measurements, record),
                    *(text(name, value) for name, value in about),
                ],
            ),
            *([comparison(course)] if course else []),
        ],
        template="1500",
        relationship=None,
    )
    dataset = new_object(
        uids,
        identity,
        kind="sr",
        modality="SR",
        description="dicomnode lung measurements" + (", corrected" if provenance.correction else ""),
        software=software,
    )
    references = [
        SeriesReference(seg.series_instance_uid, ((seg.sop_class_uid, seg.sop_instance_uid),)),
        source,
        *edited_series(provenance.correction),
    ]
    complete_document(dataset, evidence(identity.study_instance_uid, references), predecessor)
    if course and course.changes:
        dataset.PertinentOtherEvidenceSequence = earlier_reports(course)
    write_document(path, dataset, root, identity, words)


def _values(segment: Segment, record: dict[str, Any]) -> dict[str, Any]:
    """The part of the record that belongs to the segment, under the names of a region."""
    if segment in LOBES:
        of_both = {name: record[name] for name in ("regions", "scores_uncertain")}
        return record["lobes"].get(segment.key, {}) | of_both
    if segment in SIDES:
        return dict(record["sides"].get(segment.key, {}))
    probabilities = {
        name: value for name, value in record["uncertainty"].items() if name.endswith("_probability")
    }
    return record | probabilities | {"volume_ml": record["lung_volume_ml"], "mean_hu": record["lung_mean_hu"]}


def _group(
    segment_number: int,
    segment: Segment,
    tracking_uid: str,
    values: dict[str, Any],
    seg: ObjectUids,
    source: SeriesReference,
) -> ContentItem:
    quantities = quantities_of(segment)
    evaluation: list[ContentItem] = []
    if segment.finding:
        volume = values[next(iter(quantities))]
        evaluation = [code(codes.PRESENCE, codes.PRESENT if volume else codes.ABSENT)]
    elif values.get("scores_uncertain"):
        evaluation = [code(codes.SCORE_CERTAINTY, codes.UNCERTAIN)]
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
            *numbers_of(quantities, values),
            *region_scores(segment, values),
            *(lesion_volumes(values["lesions"]) if segment.key == "lesion" else []),
            *evaluation,
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

"""A person's correction in the report: what was edited, in words, and the segmentations as evidence."""

from __future__ import annotations

from dicomnode.report import codes
from dicomnode.report.content import text
from dicomnode.report.content_item import ContentItem
from dicomnode.report.header import SeriesReference
from dicomnode.report.provenance import Correction, EditedSegment
from dicomnode.report.segments import EFFUSION, FINDINGS, LOBES, LUNGS
from dicomnode.report.text import printed

LABELS = {segment.key: segment.label for segment in (*LUNGS, *LOBES, *FINDINGS, EFFUSION)}


def correction_sentences(correction: Correction | None) -> list[str]:
    """What a reader must know of the correction; empty without one."""
    if correction is None:
        return []
    edited = "; ".join(_edited(segment) for segment in correction.segments)
    said = [
        f"The numbers are those of masks that a person has corrected. Edited: {edited}. The other masks are "
        "those of the result before."
    ]
    if correction.others:
        said.append(f"Segments that are not the node's were not measured: {correction.others}.")
    return said


def correction_remarks(correction: Correction | None) -> list[ContentItem]:
    """The sentences as items of the report."""
    return [text(codes.CORRECTION, sentence) for sentence in correction_sentences(correction)]


def edited_series(correction: Correction | None) -> list[SeriesReference]:
    """The edited segmentations, series by series, for the report's evidence."""
    by_series: dict[str, list[tuple[str, str]]] = {}
    for series, sop_class, instance in correction.instances if correction else ():
        by_series.setdefault(series, []).append((sop_class, instance))
    return [SeriesReference(series, tuple(instances)) for series, instances in by_series.items()]


def _edited(segment: EditedSegment) -> str:
    added, removed = (printed("volume_ml", ml) for ml in (segment.added_ml, segment.removed_ml))
    return f"{LABELS[segment.key]} (added {added} mL, removed {removed} mL)"

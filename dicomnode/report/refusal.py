"""The visible refusal: a short text SR, and a page, in the study that say why a series was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from dicomnode.assemble.refusal import RefusalReason
from dicomnode.report import codes
from dicomnode.report.content import (
    complete_document,
    container,
    language_and_observer,
    text,
    uid,
    write_document,
)
from dicomnode.report.errors import ReportError
from dicomnode.report.header import (
    RESEARCH_USE,
    SeriesReference,
    document_uids,
    evidence,
    new_object,
    object_uids,
)
from dicomnode.report.identity import Identity, read_header, text_value, verify_identity
from dicomnode.report.language import language as catalogue
from dicomnode.report.refusal_page import draw_refusal_page
from dicomnode.report.result_set import DocumentReference, LanguageName, ResultKind, ResultSet
from dicomnode.report.secondary_capture import SECONDARY_CAPTURE_STORAGE, write_secondary_capture

ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
WHAT_TO_DO = {
    RefusalReason.NOT_CT: "Send the axial CT series of the chest.",
    RefusalReason.LOCALIZER: "Send the axial CT series, not the localizer.",
    RefusalReason.TOO_FEW_SLICES: "Send the whole series; if it was cut off in transfer, send it again.",
    RefusalReason.GAP: "Send the whole series again; slices are missing.",
    RefusalReason.GANTRY_TILT: "Reconstruct without gantry tilt and send that series.",
    RefusalReason.MIXED_GEOMETRY: "Send each reconstruction as a series of its own.",
    RefusalReason.DUPLICATE_POSITION: "Send one reconstruction or phase a series.",
    RefusalReason.NOT_AXIAL: "Send the axial reconstruction.",
    RefusalReason.NO_LUNG: "Send a CT that shows the lungs.",
    RefusalReason.TRUNCATED_LUNG: "Send a reconstruction that covers both lungs from top to bottom.",
    RefusalReason.UNSUPPORTED_TRANSFER_SYNTAX: "Send the series uncompressed (Explicit VR Little Endian).",
    RefusalReason.NO_PIXEL_DATA: "Send the images with their pixel data.",
    RefusalReason.BAD_RESCALE: "Send the series with rescale slope and intercept to HU.",
    RefusalReason.FOREIGN_SEGMENTATION: "Edit the node's own segments and keep their labels.",
    RefusalReason.UNCHANGED_SEGMENTATION: "Nothing: the masks are those that were measured.",
    RefusalReason.NO_SOURCE_IMAGES: "Send the CT series to the node; the correction is measured after it.",
    RefusalReason.OTHER_GRID: "Save the segmentation on the CT series that it was drawn on, slice by slice.",
}


def build_refusal(
    paths_of_source: Sequence[Path],
    reason: RefusalReason,
    detail: str,
    software: str,
    out: Path,
    predecessor: DocumentReference | None = None,
    language: LanguageName = "en",
) -> ResultSet:
    """Write ``refusal.dcm`` and ``sc.dcm``, which say the same.

    The first is an Enhanced SR whose title isn't a measurement report, so that viewers print it; the second
    is a picture for those that take no SR.

    Parameters
    ----------
    paths_of_source:
        The files of the refused series; files that can't be read are passed over. The order doesn't matter.
    reason, detail:
        The reason code and one sentence for a person, without patient data.
    software:
        Name and version of the software.
    predecessor:
        The report that this one replaces.
    language:
        Of its labels.

    Raises
    ------
    ReportError
        If no file can be read or none has a Study Instance UID.
    """
    headers = _readable_headers(paths_of_source)
    filed = [header for header in headers if text_value(header, "StudyInstanceUID")]
    if not filed:
        raise ReportError(
            f"none of the {len(paths_of_source)} source files has a Study Instance UID, so the refusal "
            f"({reason.value}) can't be filed in a study"
        )
    identity = Identity.from_source(filed[0])
    sources = _source_series(filed, identity.study_instance_uid)
    origin = (
        identity.study_instance_uid,
        identity.series_instance_uid,
        *(instance for series in sources for _, instance in series.instances),
        reason.value,
        detail,
        software,
        *([] if language == "en" else [language]),
    )
    uids = document_uids(ENHANCED_SR, "refusal", origin, predecessor)
    description = f"dicomnode: not measured ({reason.value})"
    explanation = detail or reason.value.replace("_", " ")
    dataset = new_object(
        uids, identity, kind="refusal", modality="SR", description=description, software=[software]
    )
    root = container(
        codes.SERIES_NOT_MEASURED,
        [
            *language_and_observer(),
            text(codes.EXPLANATION, explanation),
            text(codes.REFUSAL_REASON, reason.value),
            text(codes.WHAT_TO_DO, WHAT_TO_DO[reason]),
            text(codes.SOURCE_IMAGES, str(len(paths_of_source))),
            *(uid(codes.SERIES_INSTANCE_UID, series.series_instance_uid) for series in sources),
            text(codes.INTENDED_USE, RESEARCH_USE),
        ],
        relationship=None,
    )
    complete_document(dataset, evidence(identity.study_instance_uid, sources), predecessor)
    out.mkdir(parents=True, exist_ok=True)
    path, sc_path = out / "refusal.dcm", out / "sc.dcm"
    words = catalogue(language)
    spoken = identity if words is None else Identity.from_source(filed[0], in_utf8=True)
    write_document(path, dataset, root, spoken, words)
    sc = object_uids(SECONDARY_CAPTURE_STORAGE, "refusal page", origin)
    names = [series.series_instance_uid for series in sources]
    write_secondary_capture(
        sc_path,
        draw_refusal_page(reason.value, explanation, WHAT_TO_DO[reason], names, len(paths_of_source)),
        kind="refusal page",
        uids=sc,
        identity=identity,
        description=description,
        derivation="Page that says why the series was not measured",
        sources=sources,
        software=[software],
    )
    verify_identity(path, spoken)
    verify_identity(sc_path, identity)
    return ResultSet((uids.file(ResultKind.SR, path), sc.file(ResultKind.SC, sc_path)))


def _readable_headers(paths: Sequence[Path]) -> list[Dataset]:
    """Headers in the order of their SOP Instance UIDs, so that the order of arrival leaves no trace."""
    headers = []
    for path in paths:
        try:
            headers.append(read_header(path))
        except ReportError:
            continue
    return sorted(headers, key=lambda header: text_value(header, "SOPInstanceUID"))


def _source_series(headers: Sequence[Dataset], study_instance_uid: str) -> list[SeriesReference]:
    """The source instances of the study by series; an instance without its UIDs can't be referred to."""
    by_series: dict[str, dict[str, str]] = {}
    for header in headers:
        series = text_value(header, "SeriesInstanceUID")
        sop_class, instance = text_value(header, "SOPClassUID"), text_value(header, "SOPInstanceUID")
        if text_value(header, "StudyInstanceUID") == study_instance_uid and series:
            instances = by_series.setdefault(series, {})
            if sop_class and instance:
                instances[instance] = sop_class
    return [
        SeriesReference(series, tuple((sop_class, uid_) for uid_, sop_class in sorted(instances.items())))
        for series, instances in sorted(by_series.items())
    ]

"""All DICOM results of a measured series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicomnode.assemble.volume import Volume
from dicomnode.measure.course import Course
from dicomnode.measure.measurements import Measurements
from dicomnode.report import codes
from dicomnode.report.canvas import Page
from dicomnode.report.errors import ReportError
from dicomnode.report.further_results import Origin, write_further_results
from dicomnode.report.header import SeriesReference, compared_uids, document_uids, object_uids
from dicomnode.report.identity import Identity, read_header, text_value, verify_identity
from dicomnode.report.language import language as catalogue
from dicomnode.report.own_report import kernel_of
from dicomnode.report.provenance import Provenance
from dicomnode.report.result_set import (
    NOTHING_FURTHER,
    DocumentReference,
    FurtherResults,
    ResultKind,
    ResultSet,
)
from dicomnode.report.secondary_capture import SECONDARY_CAPTURE_STORAGE, write_secondary_capture
from dicomnode.report.seg import SEGMENTATION_STORAGE, write_seg
from dicomnode.report.segments import segments_of
from dicomnode.report.sr import COMPREHENSIVE_3D_SR, write_sr
from dicomnode.report.text import ascii_text
from dicomnode.report.uids import derive_uid
from dicomnode.segment.segmentation import Segmentation


def build_results(
    volume: Volume,
    segmentation: Segmentation,
    measurements: Measurements,
    provenance: Provenance,
    page: Page | Callable[[], Page],
    out: Path,
    predecessor: DocumentReference | None = None,
    course: Course | None = None,
    further: FurtherResults = NOTHING_FURTHER,
) -> ResultSet:
    """Write ``seg.dcm`` (masks), ``sr.dcm`` (measurements) and ``sc.dcm`` (``page``) into the folder ``out``.

    ``page`` may be a function that waits for it; it is called when masks and measurements are written.

    Besides these, what ``further`` names: ``pdf.dcm``, ``ko.dcm``, ``gsps.dcm`` and ``overlay*.dcm``.

    The same input gives the same bytes: UIDs derive from source, model and configuration, dates come from the
    source. Patient and study are the source's, byte for byte, and are compared after writing. The report
    names ``predecessor`` as the one that it replaces, and says what ``course`` does of earlier results; what
    was found of those is part of the UIDs of report and picture. Its labels are in ``further.language``;
    in another one than English its text, patient and study included, is encoded in UTF-8.

    Raises
    ------
    ReportError
        If the source can't be read, has no Study Instance UID or another one than the volume, the masks are
        empty or on another grid, or a written file differs from the source in its identity.
    """
    header = read_header(volume.instances[0].path)
    identity = Identity.from_source(header)
    if identity.study_instance_uid != volume.study_instance_uid:
        raise ReportError("the first source file belongs to another study than the volume; assemble it again")
    origin = (
        volume.series_instance_uid,
        provenance.input_sha256,
        provenance.model,
        provenance.model_version,
        provenance.weights_sha256,
        provenance.config_sha256,
        provenance.software,
        *_corrected(provenance),
    )
    seg = object_uids(SEGMENTATION_STORAGE, "seg", origin)
    sr = document_uids(COMPREHENSIVE_3D_SR, "sr", origin, predecessor)
    sc = object_uids(SECONDARY_CAPTURE_STORAGE, "sc", origin)
    if course is not None:
        sr, sc = (compared_uids(uids, course.findings.sha256) for uids in (sr, sc))
    segments = segments_of(segmentation)
    tracking = [derive_uid("tracking", segment.key, *origin) for segment in segments]
    software = (provenance.software, f"{provenance.model} {provenance.model_version}")
    out.mkdir(parents=True, exist_ok=True)
    seg_path, sr_path, sc_path = out / "seg.dcm", out / "sr.dcm", out / "sc.dcm"
    words = catalogue(further.language)
    spoken = identity if words is None else Identity.from_source(header, in_utf8=True)
    lossy = _lossy_compression(header)
    source = SeriesReference(
        volume.series_instance_uid,
        tuple((instance.sop_class_uid, instance.sop_instance_uid) for instance in volume.instances),
    )

    write_seg(
        seg_path,
        volume,
        segmentation,
        segments,
        uids=seg,
        tracking=tracking,
        identity=identity,
        compression=lossy,
        software=software,
        corrected=provenance.correction.changed if provenance.correction else (),
    )
    write_sr(
        sr_path,
        measurements,
        segments,
        uids=sr,
        seg=seg,
        tracking=tracking,
        source=source,
        identity=spoken,
        provenance=provenance,
        software=software,
        predecessor=predecessor,
        course=course,
        about=_source_in_words(header),
        words=words,
    )
    drawn = page if isinstance(page, Page) else page()
    write_secondary_capture(
        sc_path,
        drawn.image,
        kind="sc",
        uids=sc,
        identity=identity,
        description="dicomnode lung overview",
        derivation="Overview page of lung segmentation and measurements",
        sources=[source],
        software=software,
        body_part="CHEST",
        lossy=lossy,
    )
    findings = course.findings.sha256 if course else None
    files = (
        seg.file(ResultKind.SEG, seg_path),
        sr.file(ResultKind.SR, sr_path),
        sc.file(ResultKind.SC, sc_path),
        *write_further_results(
            out,
            further,
            volume,
            segmentation,
            measurements,
            provenance,
            drawn,
            Origin(origin, identity, source, software, lossy, findings, provenance.correction is not None),
        ),
    )
    for file in files:
        verify_identity(file.path, spoken if file.kind is ResultKind.SR else identity)
    return ResultSet(files)


def _source_in_words(header: Dataset) -> list[tuple[Code, str]]:
    """What later results are told apart by: of the reconstructions of one scan, which one this was."""
    description = ascii_text(str(header.get("SeriesDescription") or ""), 64)
    found = ((codes.SOURCE_DESCRIPTION, description), (codes.SOURCE_KERNEL, kernel_of(header)))
    return [(name, value) for name, value in found if value]


def _corrected(provenance: Provenance) -> tuple[str, ...]:
    """What tells the results of a correction from those that it corrects."""
    correction = provenance.correction
    if correction is None:
        return ()
    return ("corrected", correction.masks_sha256, *(instance for _, _, instance in correction.instances))


def _lossy_compression(header: Dataset) -> Dataset:
    """Whether the masks come from pixels that were once compressed with loss (PS3.3 C.7.6.1.1.5)."""
    compression = Dataset()
    compression.LossyImageCompression = "01" if text_value(header, "LossyImageCompression") == "01" else "00"
    if compression.LossyImageCompression == "01":
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in header:
                compression.add(header[keyword])
    return compression

"""The results besides SEG, SR and the picture: label map, overlay, PDF, key objects, presentation state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from dicomnode.assemble.volume import Volume
from dicomnode.measure.measurements import Measurements
from dicomnode.report.canvas import Page
from dicomnode.report.encapsulated_pdf import ENCAPSULATED_PDF_STORAGE, write_pdf
from dicomnode.report.header import ObjectUids, SeriesReference, compared_uids, object_uids
from dicomnode.report.identity import Identity
from dicomnode.report.key_objects import KEY_OBJECT_SELECTION, write_key_objects
from dicomnode.report.label_map import LABEL_MAP_STORAGE, write_label_map
from dicomnode.report.picture_series import write_overlay
from dicomnode.report.planes import AXIAL_COUNT, PatientView
from dicomnode.report.presentation_state import GSPS_STORAGE, write_presentation_state
from dicomnode.report.provenance import Provenance
from dicomnode.report.result_set import FurtherResults, ResultFile, ResultKind
from dicomnode.segment.segmentation import Segmentation


@dataclass(frozen=True)
class Origin:
    """What the results of one series are made of and how they are filed.

    ``uids`` is what their UIDs derive from; ``findings_sha256`` is of the earlier results that the page
    speaks of, None where none were looked for. ``is_corrected`` if a person has edited the masks.
    """

    uids: tuple[str, ...]
    identity: Identity
    source: SeriesReference
    software: Sequence[str]
    lossy: Dataset
    findings_sha256: str | None = None
    is_corrected: bool = False

    def named(self, description: str) -> str:
        """Series Description; it says so where a person has corrected the masks."""
        return description + ", corrected" * self.is_corrected

    def of_page(self, uids: ObjectUids) -> ObjectUids:
        """UIDs of an object that shows the page: another one when other earlier results were found."""
        return uids if self.findings_sha256 is None else compared_uids(uids, self.findings_sha256)


def write_further_results(
    out: Path,
    wanted: FurtherResults,
    volume: Volume,
    segmentation: Segmentation,
    measurements: Measurements,
    provenance: Provenance,
    page: Page,
    origin: Origin,
) -> list[ResultFile]:
    """Write those of ``wanted`` to the folder ``out``; a presentation state only where there is a lesion."""
    files: list[ResultFile] = []
    identity, software = origin.identity, origin.software
    if ResultKind.PDF in wanted.kinds:
        uids, path = (
            origin.of_page(object_uids(ENCAPSULATED_PDF_STORAGE, "pdf", origin.uids)),
            out / "pdf.dcm",
        )
        write_pdf(
            path,
            page,
            measurements,
            provenance,
            uids=uids,
            identity=identity,
            source=origin.source,
            software=software,
            description=origin.named("dicomnode lung report"),
        )
        files.append(uids.file(ResultKind.PDF, path))
    if ResultKind.LABEL_MAP in wanted.kinds:
        uids, path = object_uids(LABEL_MAP_STORAGE, "label map", origin.uids), out / "labelmap.dcm"
        write_label_map(
            path,
            volume,
            segmentation,
            uids=uids,
            origin=origin.uids,
            identity=identity,
            compression=origin.lossy,
            software=software,
            corrected=provenance.correction.changed if provenance.correction else (),
        )
        files.append(uids.file(ResultKind.LABEL_MAP, path))
    if wanted.kinds & {ResultKind.KO, ResultKind.GSPS}:
        files += _write_presentation(out, wanted, volume, segmentation, origin)
    if ResultKind.OVERLAY in wanted.kinds:
        files += write_overlay(
            out,
            volume,
            segmentation,
            multiframe=wanted.multiframe,
            origin=origin.uids,
            identity=identity,
            software=software,
            lossy=origin.lossy,
            description=origin.named("dicomnode lung overlay"),
        )
    return files


def _write_presentation(
    out: Path, wanted: FurtherResults, volume: Volume, segmentation: Segmentation, origin: Origin
) -> list[ResultFile]:
    """Key objects and presentation state of the slices that the page shows."""
    files = []
    view = PatientView(volume, segmentation)
    slices = [view.slice_number(index) for index in view.key_slices(AXIAL_COUNT)]
    if ResultKind.KO in wanted.kinds and slices:
        uids, path = object_uids(KEY_OBJECT_SELECTION, "ko", origin.uids), out / "ko.dcm"
        chosen = tuple(
            (one.sop_class_uid, one.sop_instance_uid) for one in map(volume.instances.__getitem__, slices)
        )
        images = SeriesReference(volume.series_instance_uid, chosen)
        write_key_objects(
            path,
            images,
            uids=uids,
            identity=origin.identity,
            software=origin.software,
            description=origin.named("dicomnode key images"),
        )
        files.append(uids.file(ResultKind.KO, path))
    if ResultKind.GSPS in wanted.kinds:
        uids, path = object_uids(GSPS_STORAGE, "gsps", origin.uids), out / "gsps.dcm"
        if write_presentation_state(
            path,
            volume,
            segmentation,
            slices,
            uids=uids,
            identity=origin.identity,
            software=origin.software,
            description=origin.named("dicomnode outlines"),
        ):
            files.append(uids.file(ResultKind.GSPS, path))
    return files

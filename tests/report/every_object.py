"""One object of every kind and form that the node makes, made by the node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import generate_uid

from dicomnode.assemble.assemble import assemble_series
from dicomnode.correct.job import CorrectionJob
from dicomnode.correction_pipeline import correct_series
from dicomnode.demo.read_back import segment_masks
from dicomnode.measure.priors import Findings, Scan
from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, build_phantom, write_series
from dicomnode.pipeline import analyze_series
from dicomnode.report.own_report import read_own_report, scan_of
from dicomnode.report.result_set import DocumentReference, FurtherResults, ResultKind
from dicomnode.segment.segmentation import Lobe
from dicomnode.segment.segmenter import Segmenter
from tests.correct.viewer import LABELS, save

CONFIG, JAPANESE_CONFIG = "0" * 64, "1" * 64
GGO = ("112120", "")
LESIONS = (
    LesionSpec(LesionKind.GGO, 60.0, Lobe.RIGHT_LOWER),
    LesionSpec(LesionKind.CONSOLIDATION, 25.0, Lobe.LEFT_LOWER),
)


@dataclass(frozen=True)
class EveryObject:
    """The sources (CT of two studies, masks of a person), and the folders of results by what was asked."""

    sources: tuple[Path, ...]
    folders: dict[str, Path]

    def files(self, *names: str) -> dict[str, Path]:
        """Files by folder and name, of these names or all."""
        found = {
            f"{folder}/{path.stem}": path
            for folder, directory in self.folders.items()
            for path in sorted(directory.glob("*.dcm"))
        }
        return {key: path for key, path in found.items() if not names or path.stem in names}


def make_every_object(directory: Path) -> EveryObject:
    """Measured; corrected by a person and beside an earlier result; in another language; refused."""
    ct = write_series(
        build_phantom(PhantomSpec.whole_lung((62, 128, 128), seed=7, lesions=LESIONS)), directory / "ct"
    )
    segmenter = Segmenter.load("best", "cpu")
    folders = {name: directory / name for name in ("measured", "before", "corrected", "japanese", "refused")}
    analyze = partial(analyze_series, segmenter=segmenter)
    everything = FurtherResults(frozenset(ResultKind))
    analyze(ct, out=folders["measured"], config_sha256=CONFIG, further=everything)
    first = folders["measured"]
    before = earlier_study(ct, directory / "ct before")
    analyze(before, out=folders["before"], config_sha256=CONFIG)
    findings = findings_of(ct, folders["before"] / "sr.dcm")
    mask = edited(ct, first, directory)
    correct_series(
        CorrectionJob(tuple(ct), (mask,), base=first / "seg.dcm"),
        segmenter,
        folders["corrected"],
        config_sha256=CONFIG,
        predecessor=reference(first / "sr.dcm"),
        priors=lambda: findings,
        further=FurtherResults(frozenset(ResultKind), multiframe=True),
    )
    japanese = FurtherResults(frozenset({ResultKind.LABEL_MAP}), language="ja")
    analyze(ct, out=folders["japanese"], config_sha256=JAPANESE_CONFIG, further=japanese)
    with_gap = [path for number, path in enumerate(ct) if number != len(ct) // 2]
    analyze(with_gap, out=folders["refused"], config_sha256=CONFIG)
    return EveryObject((*ct, *before, mask), folders)


def earlier_study(ct: Sequence[Path], directory: Path) -> list[Path]:
    """The same CT as a study of the year before."""
    directory.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    paths = []
    for path in ct:
        image = dcmread(path)
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.StudyDate = f"{int(image.StudyDate[:4]) - 1}{image.StudyDate[4:]}"
        paths.append(directory / path.name)
        image.save_as(paths[-1])
    return paths


def findings_of(ct: Sequence[Path], report: Path) -> Findings:
    """What the ledger would give of that study."""
    now = scan_of(dcmread(ct[0], stop_before_pixels=True))
    assert isinstance(now, Scan)
    return Findings(now, ("ledger",), (read_own_report(dcmread(report), "ledger"),), ())


def edited(ct: Sequence[Path], measured: Path, directory: Path) -> Path:
    """The GGO without its lower half."""
    ggo = segment_masks(dcmread(measured / "seg.dcm"), assemble_series(ct))[GGO]
    kept = ggo & (np.arange(len(ggo)) > np.median(np.argwhere(ggo)[:, 0]))[:, None, None]
    return save(ct, {LABELS["ggo"]: kept}, directory / "edited.dcm")


def reference(path: Path) -> DocumentReference:
    """A report as its successor names it."""
    report = dcmread(path, stop_before_pixels=True)
    return DocumentReference(
        report.StudyInstanceUID, report.SeriesInstanceUID, report.SOPClassUID, report.SOPInstanceUID
    )

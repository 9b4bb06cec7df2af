"""One series through the house: assemble, segment, measure, report. No I/O but files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from dicomnode import __version__
from dicomnode.analysis import MEASUREMENTS_FILE, OVERVIEW_FILE, Analysis, Progress, no_progress
from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.decoded import DecodedSlices
from dicomnode.assemble.orientation import AxisOrder
from dicomnode.assemble.refusal import SeriesRefusedError
from dicomnode.assemble.volume import Volume
from dicomnode.measure.change import compare
from dicomnode.measure.course import Course
from dicomnode.measure.measure import measure_segmentation
from dicomnode.measure.measurements import Measurements
from dicomnode.measure.priors import Findings, Maker
from dicomnode.measure.quality import assess_quality, look_at_image
from dicomnode.measure.uncertainty import CORRECTED, unknown
from dicomnode.report.fhir import write_fhir
from dicomnode.report.nifti import write_nifti
from dicomnode.report.overview import write_overview
from dicomnode.report.provenance import Provenance
from dicomnode.report.record import measurements_record, write_measurements_json
from dicomnode.report.refusal import build_refusal
from dicomnode.report.result_set import (
    NOTHING_FURTHER,
    DocumentReference,
    FurtherResults,
    ResultKind,
    ResultSet,
)
from dicomnode.report.results import build_results
from dicomnode.segment.anatomy import find_anatomy
from dicomnode.segment.card import CARD_FILE
from dicomnode.segment.segmentation import Anatomy, Segmentation
from dicomnode.segment.segmenter import Segmenter

SOFTWARE = f"dicomnode {__version__}"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A series as far as the measurements; what follows depends on more than its files."""

    volume: Volume
    segmentation: Segmentation
    anatomy: Anatomy
    measurements: Measurements


def prepare_series(
    paths: Sequence[Path],
    segmenter: Segmenter,
    progress: Progress = no_progress,
    decoded: DecodedSlices | None = None,
) -> Prepared:
    """Assemble, segment and measure the CT series in ``paths``; slices in ``decoded`` are not read again.

    Raises
    ------
    SeriesRefusedError
        If the series can't be measured.
    AssembleError
        If the files are no series.
    """
    volume = assemble_series(paths, lambda done, total: progress("assemble", done / total), decoded)
    segmentation = segmenter.segment(volume, progress)
    progress("measure", 0.0)
    return measured(volume, segmentation)


def measured(volume: Volume, segmentation: Segmentation) -> Prepared:
    """A segmented volume with its measurements."""
    anatomy = find_anatomy(segmentation, volume.affine)
    return Prepared(volume, segmentation, anatomy, measure_volume(volume, segmentation, anatomy))


def analyze_series(
    paths: Sequence[Path],
    segmenter: Segmenter,
    out: Path,
    *,
    config_sha256: str,
    predecessor: DocumentReference | None = None,
    progress: Progress = no_progress,
    nifti: bool = False,
    priors: Callable[[], Findings | None] = lambda: None,
    further: FurtherResults = NOTHING_FURTHER,
    prepare: Callable[[], Prepared] | None = None,
) -> Analysis:
    """Measure the CT series in ``paths`` and write its results to ``out``.

    ``out`` gets ``seg.dcm``, ``sr.dcm``, ``sc.dcm``, ``measurements.json``, ``overview.png``, and the masks
    as NIfTI if ``nifti``, and what ``further`` names; a series that can't be measured gets ``refusal.dcm``
    and ``sc.dcm`` that say why. The report names ``predecessor`` as the one that it replaces. ``priors`` is
    called when the masks are there, and gives the earlier results to compare with; None compares nothing and
    says nothing of it. ``prepare`` does what :func:`prepare_series` does with these files.

    Raises
    ------
    ReportError
        If a result can't be built: the source lacks even the identity that a refusal needs.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        prepared = prepare() if prepare is not None else prepare_series(paths, segmenter, progress)
    except SeriesRefusedError as refused:
        results = build_refusal(
            paths, refused.reason, refused.detail, SOFTWARE, out, predecessor, further.language
        )
        return Analysis(results, (refused.reason, refused.detail))
    provenance = provenance_of(prepared.volume, prepared.segmentation, segmenter, config_sha256)
    results = publish(
        prepared,
        provenance,
        out,
        predecessor=predecessor,
        progress=progress,
        nifti=nifti,
        priors=priors,
        further=further,
    )
    return Analysis(results)


def publish(
    prepared: Prepared,
    provenance: Provenance,
    out: Path,
    *,
    predecessor: DocumentReference | None = None,
    progress: Progress = no_progress,
    nifti: bool = False,
    priors: Callable[[], Findings | None] = lambda: None,
    further: FurtherResults = NOTHING_FURTHER,
) -> ResultSet:
    """Write what :func:`analyze_series` says to ``out``.

    Raises
    ------
    ReportError
        If a result can't be built.
    """
    progress("measure", 0.0)
    volume, segmentation, measurements = prepared.volume, prepared.segmentation, prepared.measurements
    if provenance.correction is not None:
        measurements = replace(measurements, uncertainty=unknown(CORRECTED))
    course = _course(measurements, provenance, priors())
    progress("report", 0.0)
    with ThreadPoolExecutor(1) as beside:
        parts = volume, segmentation, measurements
        is_corrected = provenance.correction is not None
        page = beside.submit(write_overview, *parts, out / OVERVIEW_FILE, course, is_corrected=is_corrected)
        results = build_results(*parts, provenance, page.result, out, predecessor, course, further=further)
    write_measurements_json(measurements, provenance, out / MEASUREMENTS_FILE, course)
    if ResultKind.FHIR in further.kinds:
        results = ResultSet((*results.files, write_fhir(out)))
    if nifti:
        write_nifti(volume, segmentation, prepared.anatomy, out)
    progress("report", 1.0)
    return results


def measure_volume(
    volume: Volume, segmentation: Segmentation, anatomy: Anatomy | None = None
) -> Measurements:
    """Measure a segmented volume, with the quality of what its header and masks say.

    ``anatomy`` is found from the masks unless given.
    """
    acquisition, order = volume.acquisition, AxisOrder.from_affine(volume.affine)
    quality = assess_quality(
        slice_thickness_mm=acquisition.slice_thickness_mm,
        slice_spacing_mm=volume.spacing_mm[0],
        slices=volume.hu.shape[0],
        kernel=acquisition.kernel,
        contrast=acquisition.contrast,
        marks=look_at_image(
            order.to_patient(volume.hu),
            order.to_patient(segmentation.sides),
            order.patient_spacing(volume.spacing_mm),
        ),
        further_flags=[flag.value for flag in segmentation.flags],
    )
    anatomy = anatomy or find_anatomy(segmentation, volume.affine)
    return measure_segmentation(volume.hu, segmentation, anatomy, volume.voxel_ml, quality)


def _course(measurements: Measurements, provenance: Provenance, findings: Findings | None) -> Course | None:
    if findings is None:
        return None
    maker = Maker(
        provenance.software,
        provenance.model,
        provenance.model_version,
        provenance.weights_sha256,
        provenance.config_sha256,
    )
    return compare(measurements_record(measurements), maker, findings)


def provenance_of(
    volume: Volume, segmentation: Segmentation, segmenter: Segmenter, config_sha256: str
) -> Provenance:
    """What made the masks of a volume."""
    return Provenance(
        software=SOFTWARE,
        model=segmentation.model.name,
        model_version=segmentation.model.version,
        weights_sha256=segmentation.model.weights_sha256,
        config_sha256=_with_cards(config_sha256, segmenter),
        input_sha256=input_sha256(volume),
        device=segmenter.device,
        parameters=(
            *segmenter.card.postprocessing.in_words(),
            *_lungs_in_words(segmenter),
            *_lobes_in_words(segmenter),
            _runtimes_in_words(segmenter),
        ),
    )


def _lungs_in_words(segmenter: Segmenter) -> tuple[str, ...]:
    lungs = segmenter.lung_card
    if lungs is None:
        return ()
    identity = lungs.identity
    return (
        f"lungs by thresholds and morphology, their airless parts by {identity.name} {identity.version}, "
        f"weights_sha256={identity.weights_sha256}",
    )


def _lobes_in_words(segmenter: Segmenter) -> tuple[str, ...]:
    lobes = segmenter.lobe_card
    if lobes is None:
        return ()
    identity = lobes.identity
    return (
        f"lobes from the shape of the lungs by {identity.name} {identity.version}, "
        f"weights_sha256={identity.weights_sha256}",
    )


def _runtimes_in_words(segmenter: Segmenter) -> str:
    named = ", ".join(f"{network} by {runtime}" for network, runtime in segmenter.runtimes.items())
    return f"networks are run: {named}"


def _with_cards(config_sha256: str, segmenter: Segmenter) -> str:
    """A model's card configures it: thresholds changed there must change the results' UIDs.

    So must another runtime: its masks differ in a few voxels, and one UID must not stand for two objects.
    """
    digest = hashlib.sha256(config_sha256.encode())
    digest.update(_runtimes_in_words(segmenter).encode())
    for card in (segmenter.card, segmenter.lung_card, segmenter.lobe_card):
        if card is not None:
            digest.update((card.directory / CARD_FILE).read_bytes())
    return digest.hexdigest()


def input_sha256(volume: Volume) -> str:
    """Digest of what was measured: instance UIDs, grid and HU; the same whatever the transfer syntax was."""
    digest = hashlib.sha256()
    for instance in volume.instances:
        digest.update(instance.sop_instance_uid.encode() + b"\0")
    digest.update(volume.affine.tobytes())
    digest.update(volume.hu.tobytes())
    return digest.hexdigest()

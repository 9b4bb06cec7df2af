"""Segmentations that came back: found out in the ledger what they correct, and handed to the worker."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomnode.assemble.refusal import RefusalReason
from dicomnode.correct.job import CorrectionJob, DrawnOn
from dicomnode.report.result_set import DocumentReference, ResultKind
from dicomnode.spool.records import InstanceRecord, ResultRecord, SeriesRecord, series_key
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from dicomnode.supervisor import Supervisor

LOGGER = logging.getLogger(__name__)

SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
NOT_MEASURED_YET = (SeriesState.RECEIVING, SeriesState.COMPLETE, SeriesState.ANALYZING)


@dataclass(frozen=True)
class NoCorrection:
    """Why a series of segmentations is not measured."""

    reason: RefusalReason
    detail: str


@dataclass(frozen=True)
class Correction:
    """A correction ready for the worker, and the report that the new one replaces."""

    job: CorrectionJob
    predecessor: DocumentReference | None


def are_segmentations(instances: Sequence[InstanceRecord]) -> bool:
    """Whether a series holds nothing but segmentations."""
    return bool(instances) and all(instance.sop_class_uid in SEGMENTATIONS for instance in instances)


def prepare_correction(
    series: SeriesRecord,
    instances: Sequence[InstanceRecord],
    spool: Spool,
    supervisor: Supervisor,
    training_directory: Path | None,
) -> Correction | NoCorrection:
    """What is needed to measure a series of segmentations.

    Raises
    ------
    WorkerError
        If the worker fails.
    """
    corrections = spool.ledger.corrections
    own = corrections.own_results([instance.sop_instance_uid for instance in instances])
    paths = [spool.directory / instance.path for instance in instances]
    drawn_on = supervisor.recognize(paths, tuple(own))
    if not isinstance(drawn_on, DrawnOn):
        return NoCorrection(*drawn_on)
    source_id = series_key(drawn_on.study_instance_uid, drawn_on.series_instance_uid)
    corrections.note_source(series.id, source_id)
    source = corrections.source(source_id)
    if source is None or source.purged_at is not None or source.instances == 0:
        if len(own) == len(instances):
            return NoCorrection(RefusalReason.UNCHANGED_SEGMENTATION, "a result of this node came back")
        return Correction(CorrectionJob(ct_paths=(), seg_paths=tuple(paths)), None)
    if source.state in NOT_MEASURED_YET:
        return NoCorrection(
            RefusalReason.NO_SOURCE_IMAGES, f"the CT series that the masks were drawn on is {source.state}"
        )
    last = {result.kind: result for result in corrections.last_results(source_id, series.id)}
    seg, sr = last.get(ResultKind.SEG), last.get(ResultKind.SR)
    base = None if seg is None else spool.directory / seg.path
    job = CorrectionJob(
        ct_paths=tuple(spool.directory / instance.path for instance in spool.ledger.instances(source_id)),
        seg_paths=tuple(paths),
        own=tuple((uid, spool.directory / path) for uid, path in own.items()),
        base=base if base is not None and base.is_file() else None,
        training_directory=training_directory,
    )
    return Correction(job, reference_to(sr, series))


def reference_to(report: ResultRecord | None, series: SeriesRecord) -> DocumentReference | None:
    """A report in the study of ``series`` as a later one names it; ``None`` where there is none to name."""
    if report is None or not report.series_instance_uid:
        return None
    return DocumentReference(
        series.study_instance_uid,
        report.series_instance_uid,
        report.sop_class_uid,
        report.sop_instance_uid,
    )


def take_up_corrections(spool: Spool, series: SeriesRecord) -> None:
    """After a CT series was measured: corrections that came before it are measured, too."""
    for waiting in spool.ledger.corrections.take_up(series.id):
        LOGGER.info("correction taken up", extra={"series": waiting.id})

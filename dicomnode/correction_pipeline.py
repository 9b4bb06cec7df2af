"""A person's correction through the house: the CT again, the masks as they were edited, measure, report."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dicomnode.analysis import Analysis, Progress, no_progress
from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.assemble.volume import Volume
from dicomnode.correct.base import read_base
from dicomnode.correct.job import CorrectionJob, DrawnOn
from dicomnode.correct.masks import DrawnMasks, read_masks
from dicomnode.correct.merging import Edit, edits_of, merge
from dicomnode.correct.recognition import SEGMENTS, EditedSegmentation, recognize
from dicomnode.correct.training_case import keep_for_training
from dicomnode.measure.priors import Findings
from dicomnode.pipeline import SOFTWARE, measured, provenance_of, publish
from dicomnode.report.provenance import Correction, EditedSegment
from dicomnode.report.refusal import build_refusal
from dicomnode.report.result_set import NOTHING_FURTHER, DocumentReference, FurtherResults, ResultSet
from dicomnode.segment.card import models_directory
from dicomnode.segment.card_file import LESIONS, model_folders
from dicomnode.segment.segmentation import Segmentation
from dicomnode.segment.segmenter import Segmenter

LOGGER = logging.getLogger(__name__)

SILENT = (RefusalReason.FOREIGN_SEGMENTATION, RefusalReason.UNCHANGED_SEGMENTATION)
"""Refused without a report in the study: nobody asked the node for anything."""


def recognize_series(paths: Sequence[Path], own: Sequence[str]) -> DrawnOn | tuple[RefusalReason, str]:
    """On which CT series the segmentations in ``paths`` were drawn, or why they are no correction."""
    try:
        edited = recognize(paths, _model_names(), own)
    except SeriesRefusedError as refused:
        return refused.reason, refused.detail
    return DrawnOn(edited[0].study_instance_uid, edited[0].source_series_uid)


def correct_series(
    job: CorrectionJob,
    segmenter: Segmenter,
    out: Path,
    *,
    config_sha256: str,
    predecessor: DocumentReference | None = None,
    progress: Progress = no_progress,
    priors: Callable[[], Findings | None] = lambda: None,
    further: FurtherResults = NOTHING_FURTHER,
) -> Analysis:
    """Measure a CT series with the masks that a person has edited, and write the results to ``out``.

    Segments that aren't among the edited ones stay as they were. The masks before are those of ``job.base``;
    where they are gone the model finds them again. ``priors`` is as
    :func:`~dicomnode.pipeline.analyze_series` takes it.

    Raises
    ------
    ReportError
        If a result can't be built.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        if not job.ct_paths:
            raise SeriesRefusedError(
                RefusalReason.NO_SOURCE_IMAGES,
                "the CT series that the masks were drawn on is not on the node",
            )
        volume = assemble_series(job.ct_paths, lambda done, total: progress("assemble", done / total))
        base = read_base(job.base, volume) if job.base else segmenter.segment(volume, progress)
        edited = recognize(job.seg_paths, _model_names(), [uid for uid, _ in job.own])
        segmentation, correction = _correct(job, volume, base, edited, segmenter)
    except SeriesRefusedError as refused:
        if refused.reason in SILENT:
            return Analysis(ResultSet(()), (refused.reason, refused.detail))
        results = build_refusal(
            job.seg_paths, refused.reason, refused.detail, SOFTWARE, out, predecessor, further.language
        )
        return Analysis(results, (refused.reason, refused.detail))
    provenance = provenance_of(volume, segmentation, segmenter, config_sha256)
    progress("measure", 0.0)
    results = publish(
        measured(volume, segmentation),
        replace(provenance, correction=correction),
        out,
        predecessor=predecessor,
        progress=progress,
        priors=priors,
        further=further,
    )
    if job.training_directory is not None:
        try:
            keep_for_training(volume, segmentation, job.training_directory)
        except (OSError, RuntimeError) as error:  # SimpleITK raises the latter
            LOGGER.error("corrected masks are not kept for training: %s", type(error).__name__)
    return Analysis(results)


def _model_names() -> list[str]:
    return [folder.name for folder in model_folders(models_directory(), LESIONS)]


def _correct(
    job: CorrectionJob,
    volume: Volume,
    base: Segmentation,
    edited: Sequence[EditedSegmentation],
    segmenter: Segmenter,
) -> tuple[Segmentation, Correction]:
    """The edits of each segmentation one after the other, and what they changed."""
    consolidation_hu = segmenter.card.postprocessing.consolidation_hu
    own = dict(job.own)
    digest = hashlib.sha256()
    edits_in_order: list[dict[str, Edit]] = []
    segmentation = base
    for one in edited:
        drawn = read_masks(one.path, one.keys, volume)
        _update(digest, drawn)
        sent = own.get(one.sop_instance_uid)
        if sent is not None and _is_as_sent(drawn, sent, one.keys, volume):
            continue
        edits = edits_of(segmentation, drawn.masks, overlap=drawn.overlap)
        segmentation = merge(segmentation, edits, volume.hu, volume.spacing_mm, consolidation_hu)
        edits_in_order.append(edits)
    if not any(edits_in_order):
        raise SeriesRefusedError(
            RefusalReason.UNCHANGED_SEGMENTATION, "the masks are the same as those that were measured"
        )
    if not segmentation.lung.any():
        raise SeriesRefusedError(RefusalReason.NO_LUNG, "the edited masks leave no lung")
    correction = Correction(
        instances=tuple((one.series_instance_uid, one.sop_class_uid, one.sop_instance_uid) for one in edited),
        segments=_edited_segments(edits_in_order, volume.voxel_ml),
        changed=tuple(
            key
            for key, segment in SEGMENTS.items()
            if not np.array_equal(segment.mask(base), segment.mask(segmentation))
        ),
        masks_sha256=digest.hexdigest(),
        others=sum(one.others for one in edited),
    )
    return segmentation, correction


def _is_as_sent(drawn: DrawnMasks, sent: Path, keys: Mapping[int, tuple[str, ...]], volume: Volume) -> bool:
    """Whether a result of ours came back as it was: a PACS that forwards all it gets is no person."""
    before = read_masks(sent, keys, volume).masks
    return all(np.array_equal(mask, before[key]) for key, mask in drawn.masks.items())


def _edited_segments(
    edits_in_order: Sequence[Mapping[str, Edit]], voxel_ml: float
) -> tuple[EditedSegment, ...]:
    found = []
    for key in SEGMENTS:
        edits = [edits[key] for edits in edits_in_order if key in edits]
        if edits:
            added = sum(int(np.count_nonzero(edit.added)) for edit in edits)
            removed = sum(int(np.count_nonzero(edit.removed)) for edit in edits)
            found.append(EditedSegment(key, added * voxel_ml, removed * voxel_ml))
    return tuple(found)


def _update(digest: hashlib._Hash, drawn: DrawnMasks) -> None:
    for key in sorted(drawn.masks):
        digest.update(key.encode())
        digest.update(np.packbits(drawn.masks[key]).tobytes())

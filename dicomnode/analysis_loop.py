"""Takes complete series from the ledger, one at a time, and has them analyzed."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dicomnode.analysis import Analysis, Cost, Working
from dicomnode.assemble.refusal import RefusalReason
from dicomnode.corrections import (
    NoCorrection,
    are_segmentations,
    prepare_correction,
    reference_to,
    take_up_corrections,
)
from dicomnode.deliver.destination import Destination
from dicomnode.measure.priors import PriorError
from dicomnode.priors.search import PriorSearch, Search, patient_result
from dicomnode.receive.presentation_contexts import CT_IMAGE_STORAGE, STORAGE_SOP_CLASSES
from dicomnode.report.result_set import DocumentReference, ResultFile, ResultKind, ResultSet
from dicomnode.spool.errors import SupersededError
from dicomnode.spool.instances import make_durable
from dicomnode.spool.patient_results import PatientResult
from dicomnode.spool.records import InstanceRecord, SeriesRecord
from dicomnode.spool.spool import Spool
from dicomnode.supervisor import Supervisor, WorkerError

LOGGER = logging.getLogger(__name__)

NOT_IMAGES = "objects that are no CT images are kept; they are not measured and get no report"
FAILED_REASON = "analysis_failed"

KEPT_ONLY = STORAGE_SOP_CLASSES.keys() - {CT_IMAGE_STORAGE}


class AnalysisLoop:
    """One thread that feeds one worker.

    Parameters
    ----------
    spool:
        Where series and results live.
    supervisor:
        The worker it feeds.
    destinations:
        Who gets the results.
    include:
        Kinds of result object that are kept and delivered; a refusal's report always is.
    config_sha256:
        Digest of the configuration, part of the results' provenance.
    maximum_attempts:
        How often a series is begun before it is ``failed``.
    training_directory:
        Where masks that a person has corrected are kept for training, if they are to be.
    observe:
        Is told what each analysis took.
    priors:
        Looks for earlier results of the patient; None compares nothing.
    urgent_ae_titles:
        Series of these senders are taken before all others.
    """

    def __init__(
        self,
        spool: Spool,
        supervisor: Supervisor,
        destinations: Sequence[Destination],
        *,
        include: Sequence[str],
        config_sha256: str,
        maximum_attempts: int,
        training_directory: Path | None = None,
        observe: Callable[[Cost], None] = lambda _cost: None,
        priors: PriorSearch | None = None,
        urgent_ae_titles: Collection[str] = (),
    ) -> None:
        self._urgent_ae_titles = tuple(urgent_ae_titles)
        self._spool = spool
        self._supervisor = supervisor
        self._destinations = tuple(destinations)
        self._include = tuple(include)
        self._config_sha256 = config_sha256
        self._maximum_attempts = maximum_attempts
        self._training_directory = training_directory
        self._observe = observe
        self._priors = priors
        self._last_cost = Cost()
        self._working: Working | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="analysis")

    def start(self) -> None:
        """Begin; the model is loaded in the background at once."""
        self._thread.start()

    def stop(self, *, drain: bool) -> None:
        """Take no further series; with ``drain`` finish the one in hand, else leave it for the next start."""
        self._stopping.set()
        self._spool.ledger.database.announce()
        if not drain:
            self.abandon()
        self._thread.join()
        self._supervisor.stop()

    def deliver_to(self, destinations: Sequence[Destination]) -> None:
        """From the next result on, these get them."""
        self._destinations = tuple(destinations)

    def compare_with(self, priors: PriorSearch | None) -> None:
        """From the next series on, earlier results are looked for so."""
        self._priors = priors

    def tell(self, notice: Mapping[str, str]) -> None:
        """Tell the worker of a series that is arriving (:mod:`dicomnode.early_notices`)."""
        self._supervisor.tell(notice)

    def abandon(self) -> None:
        """Kill the worker; while stopping, the series in its hands is left for the next start."""
        self._supervisor.stop()

    @property
    def is_alive(self) -> bool:
        """Whether the loop's thread runs."""
        return self._thread.is_alive()

    @property
    def worker_starts(self) -> int:
        """How many workers were started so far."""
        return self._supervisor.starts

    @property
    def model_loaded(self) -> bool:
        """Whether a worker has loaded the model."""
        return self._supervisor.model_loaded

    @property
    def gpu_memory_bytes(self) -> int | None:
        """Most GPU memory during the last analysis; ``None`` without a GPU."""
        return self._last_cost.gpu_memory_bytes

    @property
    def working(self) -> Working | None:
        """What is being analyzed, and how far it is."""
        return self._working

    def _run(self) -> None:
        database = self._spool.ledger.database
        self._warm_up()
        while not self._stopping.is_set():
            seen = database.version
            series = self._next_series()
            if series is None:
                database.wait(seen, self._supervisor.retry_seconds)
            else:
                self._take(series)

    def _next_series(self) -> SeriesRecord | None:
        """One that is complete, if there is a worker for it; else it stays so, and counts no attempt."""
        ledger = self._spool.ledger
        if self._supervisor.model_loaded and not ledger.has_complete():
            return None
        if not self._supervisor.is_ready():
            return None
        return ledger.claim_next(self._urgent_ae_titles)

    def _warm_up(self) -> None:
        try:
            self._supervisor.warm_up()
            LOGGER.info("model loaded")
        except WorkerError as error:
            if not self._stopping.is_set():
                LOGGER.error("the model can't be loaded: %s", error)

    def _take(self, series: SeriesRecord) -> None:
        """No error may end the loop: what goes wrong with one series stays with that series."""
        self._working = Working(series.id)
        try:
            self._analyze(series)
        except SupersededError:
            LOGGER.info("late slices arrived, analysis dropped", extra={"series": series.id})
        except Exception as error:  # the ledger or the disk failed; the series must not stay in analyzing
            LOGGER.exception("analysis could not be recorded", extra={"series": series.id})
            self._try_again(series, f"the result could not be recorded ({type(error).__name__})")
        finally:
            self._working = None

    def _progress(self, stage: str, fraction: float) -> None:
        if self._working is not None:
            self._working = replace(self._working, stage=stage, fraction=fraction)

    def _analyze(self, series: SeriesRecord) -> None:
        ledger = self._spool.ledger
        instances = ledger.instances(series.id)
        LOGGER.info(
            "analysis begins",
            extra={"series": series.id, "instances": len(instances), "attempt": series.attempts},
        )
        if not are_segmentations(instances) and all(i.sop_class_uid in KEPT_ONLY for i in instances):
            ledger.refuse(series.id, series.generation, RefusalReason.NOT_CT.value, NOT_IMAGES)
            LOGGER.info("series refused", extra={"series": series.id, "reason": "not_ct"})
            return
        began = time.monotonic()
        directory = self._spool.results_directory(series.id, series.generation)
        attempt = directory / f"attempt-{series.attempts}"
        shutil.rmtree(attempt, ignore_errors=True)
        search: Search | None = None
        try:
            if are_segmentations(instances):
                analysis, search = self._correct(series, instances, attempt)
            else:
                paths = [self._spool.directory / instance.path for instance in instances]
                search = self._look_back(series, paths)
                analysis = self._supervisor.analyze(
                    paths,
                    attempt,
                    self._config_sha256,
                    predecessor=self._predecessor(series),
                    progress=self._progress,
                    priors=search.findings if search else None,
                )
        except WorkerError as error:
            shutil.rmtree(attempt, ignore_errors=True)
            if not self._stopping.is_set():  # else the series is requeued at the next start
                self._try_again(series, str(error))
            return
        self._supervisor.model_loaded = True
        self._last_cost = analysis.cost
        self._observe(analysis.cost)
        results = _publish(attempt, directory, analysis)
        self._record(series, analysis, results, time.monotonic() - began, search)

    def _look_back(self, series: SeriesRecord, ct_paths: Sequence[Path]) -> Search | None:
        if self._priors is None or not ct_paths:
            return None
        return self._priors.begin(series.id, series.generation, ct_paths)

    def _correct(
        self, series: SeriesRecord, instances: Sequence[InstanceRecord], attempt: Path
    ) -> tuple[Analysis, Search | None]:
        """Measure what a person has edited, or say why it is no correction."""
        attempt.mkdir(parents=True, exist_ok=True)
        found = prepare_correction(series, instances, self._spool, self._supervisor, self._training_directory)
        if isinstance(found, NoCorrection):
            return Analysis(ResultSet(()), (found.reason, found.detail)), None
        predecessor = self._predecessor(series) or found.predecessor
        search = self._look_back(series, found.job.ct_paths)
        analysis = self._supervisor.correct(
            found.job,
            attempt,
            self._config_sha256,
            predecessor=predecessor,
            progress=self._progress,
            priors=search.findings if search else None,
        )
        return analysis, search

    def _predecessor(self, series: SeriesRecord) -> DocumentReference | None:
        """The report that was sent before late slices came."""
        return reference_to(self._spool.ledger.predecessor(series.id, series.generation), series)

    def _record(
        self,
        series: SeriesRecord,
        analysis: Analysis,
        results: Sequence[ResultFile],
        seconds: float,
        search: Search | None,
    ) -> None:
        ledger, extra = self._spool.ledger, {"series": series.id, "seconds": round(seconds, 2)}
        if analysis.refusal is None:
            ledger.record_results(
                series.id,
                series.generation,
                results,
                self._destinations,
                include=self._include,
                patient_result=_for_later_scans(series.id, results, search),
            )
            LOGGER.info("series analyzed", extra=extra)
            take_up_corrections(self._spool, series)
        else:
            reason, detail = analysis.refusal
            ledger.refuse(
                series.id,
                series.generation,
                reason.value,
                detail,
                results=results,
                destinations=self._destinations,
            )
            LOGGER.warning("series refused: %s", detail, extra={**extra, "reason": reason.value})

    def _try_again(self, series: SeriesRecord, why: str) -> None:
        ledger, extra = self._spool.ledger, {"series": series.id, "attempt": series.attempts}
        try:
            if series.attempts >= self._maximum_attempts:
                ledger.fail(series.id, series.generation, FAILED_REASON, why)
                LOGGER.error("series failed: %s; dicomnode retry %s tries again", why, series.id, extra=extra)
            else:
                ledger.requeue(series.id, series.generation, why)
                LOGGER.warning("attempt failed: %s", why, extra=extra)
        except SupersededError:
            LOGGER.info("late slices arrived, the failed attempt doesn't count", extra=extra)


def _for_later_scans(
    series_id: str, results: Sequence[ResultFile], search: Search | None
) -> PatientResult | None:
    report = next((file.path for file in results if file.kind is ResultKind.SR), None)
    if search is None or report is None:
        return None
    try:
        return patient_result(report, search.findings())
    except PriorError as error:
        LOGGER.warning("later scans can't be compared with this one: %s", error, extra={"series": series_id})
        return None


def _publish(attempt: Path, directory: Path, analysis: Analysis) -> list[ResultFile]:
    """Sync the files of an attempt and move them to where the ledger will say they are."""
    published = [path.replace(directory / path.name) for path in sorted(attempt.iterdir())]
    attempt.rmdir()
    make_durable(published)
    return [replace(file, path=directory / file.path.name) for file in analysis.results.files]

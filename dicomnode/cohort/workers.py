"""Feeds series to workers, here or in a cluster, several at once; outcomes come back in any order."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Collection, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue

from dicomnode.analysis import MEASUREMENTS_FILE, Analysis
from dicomnode.cohort.errors import CohortError
from dicomnode.cohort.journal import Outcome, State, Work
from dicomnode.report.result_set import ResultKind
from dicomnode.spool.instances import make_durable, sync_directory
from dicomnode.supervisor import Supervisor, WorkerError

ATTEMPTS = 2
"""A worker that died or hung is replaced and the series tried once more, after the GPU on the CPU."""

STOP_AGAIN_SECONDS = 0.2
ASK_AGAIN_SECONDS = 2.0
"""Where a cluster has no place for a worker, it is asked for one so often."""

FAILED = "analysis_failed"
"""Reason code of a series whose analysis failed, as in the node's ledger."""

Watch = Callable[[Work, str, float], None]
"""Is told the stage of a series and the part of it done; called from several threads."""


class Workers:
    """As many workers as supervisors; each analyzes one series at a time.

    Parameters
    ----------
    supervisors:
        Their processes start when they are needed. One that isn't ready, since the cluster has no place for
        its worker or is away, gets no series and costs none an attempt.
    out:
        Folder of the cohort; unfinished results lie in ``unfinished``, finished ones in ``results``.
    config_sha256:
        Digest of the configuration, part of the results' provenance.
    keep:
        Whether SEG, SR and overview of each series are kept.
    watch:
        Gets the progress.
    """

    def __init__(
        self,
        supervisors: Sequence[Supervisor],
        out: Path,
        config_sha256: str,
        *,
        keep: bool,
        watch: Watch = lambda _work, _stage, _fraction: None,
    ) -> None:
        self._supervisors = supervisors
        self._unfinished, self._results = out / "unfinished", out / "results"
        self._config_sha256 = config_sha256
        self._keep = keep
        self._watch = watch
        self._stopping = threading.Event()

    def analyze(
        self, work: Sequence[Work], paths: Callable[[int], Sequence[Path]]
    ) -> Generator[tuple[Work, Outcome], None, None]:
        """What becomes of each series, as soon as it is known.

        Parameters
        ----------
        work:
            The series.
        paths:
            Gives the files of a series, when its turn comes.

        Raises
        ------
        CohortError
            If the model can't be loaded.
        """
        shutil.rmtree(self._unfinished, ignore_errors=True)
        idle: SimpleQueue[Supervisor] = SimpleQueue()
        for supervisor in self._supervisors:
            idle.put(supervisor)
        waiting = iter(work)
        busy: dict[Future[Outcome], Work] = {}
        with ThreadPoolExecutor(len(self._supervisors), "cohort") as pool:
            try:
                self._warm_up()
                while True:
                    while len(busy) < len(self._supervisors) and (one := next(waiting, None)):
                        busy[pool.submit(self._analyze, idle, one, paths(one.series))] = one
                    if not busy:
                        break
                    for done in wait(busy, return_when=FIRST_COMPLETED).done:
                        yield busy.pop(done), done.result()
            finally:
                self._stop(busy)
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def _stop(self, busy: Collection[Future[Outcome]]) -> None:
        """Again and again, since a worker may just be starting in another thread."""
        self._stopping.set()
        while True:
            for supervisor in self._supervisors:
                supervisor.stop()
            if not wait(busy, timeout=STOP_AGAIN_SECONDS).not_done:
                return

    def _warm_up(self) -> None:
        if self._supervisors[0].retry_seconds is not None:
            return  # a cluster may have no place just now
        try:
            self._supervisors[0].warm_up()
        except WorkerError as error:
            raise CohortError(f"the model can't be loaded: {error}") from error

    def _analyze(self, idle: SimpleQueue[Supervisor], work: Work, paths: Sequence[Path]) -> Outcome:
        out, told = self._unfinished / work.key, ""
        try:
            for _ in range(ATTEMPTS):
                supervisor = self._ready(idle)
                if supervisor is None:
                    break
                shutil.rmtree(out, ignore_errors=True)
                try:
                    analysis = supervisor.analyze(
                        paths,
                        out,
                        self._config_sha256,
                        progress=lambda stage, fraction: self._watch(work, stage, fraction),
                    )
                    return self._finish(work, analysis, out)
                except WorkerError as error:
                    told = str(error)
                finally:
                    idle.put(supervisor)
            return Outcome(State.FAILED, FAILED, told)
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def _ready(self, idle: SimpleQueue[Supervisor]) -> Supervisor | None:
        """One that waits for a series, whichever is the first; ``None`` once all shall stop."""
        while not self._stopping.is_set():
            supervisor = idle.get()
            if supervisor.is_ready():
                return supervisor
            idle.put(supervisor)
            self._stopping.wait(ASK_AGAIN_SECONDS)
        return None

    def _finish(self, work: Work, analysis: Analysis, out: Path) -> Outcome:
        measurements = out / MEASUREMENTS_FILE
        record = None if analysis.refusal else json.loads(measurements.read_text(encoding="utf-8"))
        if self._keep:
            for file in analysis.results.files:
                if file.kind is ResultKind.SC:
                    file.path.unlink()
            kept = self._results / work.key
            shutil.rmtree(kept, ignore_errors=True)
            kept.parent.mkdir(parents=True, exist_ok=True)
            make_durable(out.iterdir())
            out.replace(kept)
            sync_directory(kept.parent)
        if analysis.refusal is None:
            return Outcome(State.MEASURED, record=record, kept=self._keep)
        reason, detail = analysis.refusal
        return Outcome(State.REFUSED, reason.value, detail, kept=self._keep)

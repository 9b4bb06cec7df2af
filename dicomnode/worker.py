"""The worker process: holds the model, reads requests from standard input, answers with events.

Started by :mod:`dicomnode.supervisor` as ``python -m dicomnode.worker``. Requests and events are JSON, one a
line. A worker that is killed, hangs or runs out of memory takes nothing else with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TextIO

import numpy as np

from dicomnode.analysis import Analysis
from dicomnode.assemble.errors import AssembleError
from dicomnode.computing import keep_freed_memory
from dicomnode.correct.job import CorrectionJob, DrawnOn
from dicomnode.correction_pipeline import correct_series, recognize_series
from dicomnode.early_work import EarlyWork
from dicomnode.logs import configure_logging, where_it_happened
from dicomnode.measure.priors import Findings
from dicomnode.pipeline import Prepared, analyze_series, prepare_series
from dicomnode.process import die_with_parent
from dicomnode.report.errors import ReportError
from dicomnode.report.result_set import DocumentReference, FurtherResults, ResultSet
from dicomnode.segment.card import ModelError
from dicomnode.segment.morphology import distance_mm
from dicomnode.segment.segmenter import Segmenter

PROGRESS_INTERVAL_SECONDS = 0.2
OUT_OF_MEMORY = "out of memory"
DEVICE_FAILED = "the CUDA device failed"

EXPECTED_ERRORS = (AssembleError, ModelError, ReportError)
"""Their messages are ours and hold no patient data."""


class StepWatch:
    """How long each step took: from its first sign of life to that of the next one."""

    def __init__(self) -> None:
        self._step = ""
        self._since = time.monotonic()
        self._seconds: dict[str, float] = {}

    def step(self, name: str) -> None:
        """The step ``name`` is being worked on."""
        if name == self._step:
            return
        now = time.monotonic()
        if self._step:
            self._seconds[self._step] = self._seconds.get(self._step, 0.0) + now - self._since
        self._step, self._since = name, now

    def stop(self) -> dict[str, float]:
        """Seconds by step, rounded to milliseconds."""
        self.step("")
        return {name: round(seconds, 3) for name, seconds in self._seconds.items()}


class Worker:
    """Answers requests one after the other; keeps the last model loaded."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._early = EarlyWork(lambda: self._segmenter)
        self._segmenter: Segmenter | None = None
        self._loaded: tuple[str, str, str, str] | None = None
        self._last_progress = 0.0
        self._watch = StepWatch()

    def run(self, requests: TextIO) -> None:
        """Serve until standard input ends."""
        threading.Thread(target=self._read, args=(requests,), name="requests", daemon=True).start()
        while (request := self._requests.get()) is not None:
            self._serve(request)

    def _read(self, lines: TextIO) -> None:
        """Requests wait for their turn; what the node tells of arriving series is heard at once."""
        for line in lines:
            message = json.loads(line)
            if "notice" in message:
                with contextlib.suppress(RuntimeError):  # no thread to be had: worth no request
                    self._early.notice(message["notice"], message["series"], message.get("path", ""))
            else:
                self._requests.put(message)
        self._requests.put(None)

    def _serve(self, request: dict[str, Any]) -> None:
        if request["command"] != "analyze":
            self._early.pause()
            self._early.wait_until_idle()
        try:
            if request["command"] == "load":
                self._load(request)
                self._say(event="ready")
            elif request["command"] == "recognize":
                self._recognize(request)
            else:
                self._analyze(request)
        except MemoryError:
            self._give_up()
        except EXPECTED_ERRORS as error:
            self._say(event="failed", error=str(error))
        except Exception as error:  # whatever a library raises ends one attempt, not the worker
            if self._uses_cuda and _tells_of_the_device(error):
                self._give_up(f"{DEVICE_FAILED} ({type(error).__name__})", device_failed=True)
            if tells_of_memory(error):
                self._give_up()
            self._say(event="failed", error=where_it_happened(error))
        finally:
            self._early.resume([Path(path) for path in request.get("paths", ())])

    def _give_up(self, why: str = OUT_OF_MEMORY, *, device_failed: bool = False) -> NoReturn:
        """Only a fresh process has its memory back, or a CUDA context that works."""
        self._say(event="failed", error=why, last=True, device_failed=device_failed)
        sys.exit(1)

    @property
    def _uses_cuda(self) -> bool:
        return self._segmenter is None or self._segmenter.device == "cuda"

    def _load(self, request: dict[str, Any]) -> Segmenter:
        wanted = (request["model"], request["device"], request["lungs"], request["runtime"])
        if self._segmenter is None or self._loaded != wanted:
            model, device, lungs, runtime = wanted
            self._segmenter = Segmenter.load(model, device, lungs=lungs, runtime=runtime)
            self._loaded = wanted
            start_thread_pools()
        return self._segmenter

    def _recognize(self, request: dict[str, Any]) -> None:
        found = recognize_series([Path(path) for path in request["paths"]], request["own"])
        if isinstance(found, DrawnOn):
            self._say(event="done", drawn_on=asdict(found), refusal=None)
        else:
            self._say(event="done", refusal=found[0], detail=found[1])

    def _analyze(self, request: dict[str, Any]) -> None:
        self._watch = StepWatch()
        self._progress("load", 0.0)
        segmenter = self._load(request)
        self._progress("assemble", 0.0)
        analysis = self._results_of(request, segmenter)
        reason, detail = analysis.refusal or (None, None)
        self._say(
            event="done",
            results=_as_json(analysis.results),
            refusal=reason,
            detail=detail,
            step_seconds=self._watch.stop(),
            gpu_memory_bytes=segmenter.peak_memory_bytes(),
        )

    def _results_of(self, request: dict[str, Any], segmenter: Segmenter) -> Analysis:
        named = request["predecessor"]
        predecessor = DocumentReference(**named) if named else None
        out, config_sha256 = Path(request["out"]), request["config_sha256"]
        priors = self._priors if request.get("asks_priors") else lambda: None
        further = FurtherResults.of(**request["further"])
        if request["command"] == "correct":
            return correct_series(
                CorrectionJob.from_json(request["job"]),
                segmenter,
                out,
                config_sha256=config_sha256,
                predecessor=predecessor,
                progress=self._progress,
                priors=priors,
                further=further,
            )
        paths = [Path(path) for path in request["paths"]]
        return analyze_series(
            paths,
            segmenter,
            out,
            config_sha256=config_sha256,
            predecessor=predecessor,
            progress=self._progress,
            priors=priors,
            further=further,
            prepare=lambda: self._prepare(paths, segmenter),
        )

    def _prepare(self, paths: Sequence[Path], segmenter: Segmenter) -> Prepared:
        """What early work has made of exactly these files, else with what it has decoded and remembered."""
        prepared = self._early.prepared(paths)
        if prepared is not None:
            return prepared
        if segmenter.lung_card is not None:
            self._early.wait_until_idle()

        def progress(stage: str, fraction: float) -> None:
            if stage == "lesions" and fraction == 0.0:
                self._early.wait_until_idle()
            self._progress(stage, fraction)

        return prepare_series(paths, segmenter, progress, self._early.decoded)

    def _priors(self) -> Findings | None:
        """The node looks for earlier results while the masks are made, and answers with one line."""
        self._say(event="priors")
        answer = self._requests.get()
        return Findings.from_json(answer) if answer else None

    def _progress(self, stage: str, fraction: float) -> None:
        now = time.monotonic()
        self._watch.step(stage)
        if now - self._last_progress >= PROGRESS_INTERVAL_SECONDS or fraction in (0.0, 1.0):
            self._last_progress = now
            self._say(event="progress", stage=stage, fraction=round(fraction, 3))

    def _say(self, **event: Any) -> None:
        self._answers.write(json.dumps(event) + "\n")
        self._answers.flush()


def start_thread_pools() -> None:
    """Pools that all threads share begin with this thread's priority, not with that of early work."""
    distance_mm(np.ones((4, 4, 4), np.bool_), (1.0, 1.0, 1.0))


def tells_of_memory(error: Exception) -> bool:
    """Whether memory ran out: torch says it with a RuntimeError, and so do threads that find no stack."""
    told = str(error).lower()
    return any(words in told for words in ("out of memory", "not enough memory", "can't start new thread"))


def _tells_of_the_device(error: Exception) -> bool:
    """Torch raises RuntimeError and kinds of it, whose names changed with its versions."""
    told = f"{type(error).__name__} {error}".lower()
    return isinstance(error, RuntimeError) and any(
        word in told for word in ("cuda", "cudnn", "cublas", "nvml", "acceleratorerror")
    )


def _as_json(results: ResultSet) -> list[dict[str, str]]:
    return [
        {
            "kind": file.kind.value,
            "sop_class_uid": file.sop_class_uid,
            "series_instance_uid": file.series_instance_uid,
            "sop_instance_uid": file.sop_instance_uid,
            "path": str(file.path),
        }
        for file in results.files
    ]


def main() -> None:
    """Keep the event stream clean: whatever a library prints goes to standard error."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides when a worker ends
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    configure_logging("WARNING", "text")
    keep_freed_memory()
    Worker(answers).run(sys.stdin)


if __name__ == "__main__":
    main()

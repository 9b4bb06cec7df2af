"""Watches the worker process: a hung, killed or out-of-memory worker costs an attempt, never the node."""

from __future__ import annotations

import contextlib
import json
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dicomnode.analysis import Analysis, Cost, Progress, no_progress
from dicomnode.assemble.refusal import RefusalReason
from dicomnode.computing import quiet_threads
from dicomnode.correct.job import CorrectionJob, DrawnOn
from dicomnode.measure.priors import Findings
from dicomnode.report.result_set import (
    NOTHING_FURTHER,
    DocumentReference,
    FurtherResults,
    ResultFile,
    ResultKind,
    ResultSet,
)

STANDARD_ERROR_LINES = 20
CPU_SECONDS = 3600.0
"""After so long a CUDA device that failed is tried again."""

_CRASHES = (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS)

# The last line of a traceback: its message may quote a data element, its kind doesn't.
_TRACEBACK_END = re.compile(r"^([\w.]+(?:Error|Exception)): .*")


class WorkerError(Exception):
    """An attempt failed; the message says how. The series itself is safe and can be tried again."""


class Supervisor:
    """Owns one worker process and talks to it; start-up is lazy, a lost worker is replaced at the next call.

    Parameters
    ----------
    model, device, lungs, runtime:
        What the worker loads. With ``auto`` a failing CUDA device (lost, out of memory, its driver took the
        worker along) means the CPU for :data:`CPU_SECONDS`, so that the series isn't lost with it.
    timeout_seconds:
        Longest time for one series; a worker that takes longer is killed.
    command:
        How the worker is started.
    further:
        What it makes besides SEG, SR and the picture.
    """

    retry_seconds: float | None = None
    """When to ask :meth:`is_ready` again; None: when something has changed."""

    def __init__(
        self,
        model: str,
        device: str,
        timeout_seconds: float,
        command: Sequence[str] = (sys.executable, "-m", "dicomnode.worker"),
        lungs: str = "classical",
        runtime: str = "torch",
        further: FurtherResults = NOTHING_FURTHER,
    ) -> None:
        self._model = model
        self._device = device
        self._lungs = lungs
        self._runtime = runtime
        self.further = further
        self._timeout_seconds = timeout_seconds
        self._command = tuple(command)
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._last_words: list[str] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._starts = 0
        self._cpu_until = 0.0
        self.model_loaded = False
        """Whether a worker has loaded the model; one that dies later is replaced by one that loads it too."""

    @property
    def pid(self) -> int | None:
        """Process id of the living worker."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    @property
    def starts(self) -> int:
        """How many workers were started so far."""
        return self._starts

    def is_ready(self) -> bool:
        """Whether a series may be taken for this worker; a process of this machine can always be had."""
        return True

    def warm_up(self) -> None:
        """Start the worker and load the model, so that the first series needn't wait for it.

        Raises
        ------
        WorkerError
            If the model can't be loaded.
        """
        self._request({"command": "load"}, no_progress)
        self.model_loaded = True

    def analyze(
        self,
        paths: Sequence[Path],
        out: Path,
        config_sha256: str,
        predecessor: DocumentReference | None = None,
        progress: Progress = no_progress,
        priors: Callable[[], Findings] | None = None,
    ) -> Analysis:
        """Analyze one series in the worker; the new report names ``predecessor`` as the one it replaces.

        ``priors`` is called when the worker has the masks and wants the earlier results to compare with.

        Raises
        ------
        WorkerError
            If the worker failed, was killed, ran out of memory or took longer than the timeout.
        """
        request = {
            "command": "analyze",
            "paths": [str(path) for path in paths],
            "out": str(out),
            "config_sha256": config_sha256,
            "predecessor": asdict(predecessor) if predecessor else None,
            "asks_priors": priors is not None,
            "further": self.further.to_json(),
        }
        return _analysis(self._request(request, progress, priors))

    def recognize(self, paths: Sequence[Path], own: Sequence[str]) -> DrawnOn | tuple[RefusalReason, str]:
        """On which CT series segmentations were drawn, or why they are no correction of ours.

        ``own`` are SOP Instance UIDs of results of this node.

        Raises
        ------
        WorkerError
            As :meth:`analyze`.
        """
        request = {"command": "recognize", "paths": [str(path) for path in paths], "own": list(own)}
        done = self._request(request, no_progress)
        if done["refusal"]:
            return RefusalReason(done["refusal"]), done["detail"]
        return DrawnOn(**done["drawn_on"])

    def correct(
        self,
        job: CorrectionJob,
        out: Path,
        config_sha256: str,
        predecessor: DocumentReference | None = None,
        progress: Progress = no_progress,
        priors: Callable[[], Findings] | None = None,
    ) -> Analysis:
        """Measure a CT series with masks that a person has edited.

        Raises
        ------
        WorkerError
            As :meth:`analyze`.
        """
        request = {
            "command": "correct",
            "job": job.to_json(),
            "out": str(out),
            "config_sha256": config_sha256,
            "predecessor": asdict(predecessor) if predecessor else None,
            "asks_priors": priors is not None,
            "further": self.further.to_json(),
        }
        return _analysis(self._request(request, progress, priors))

    def tell(self, notice: Mapping[str, str]) -> None:
        """Tell the worker of a series that is arriving; one that doesn't run needn't know."""
        process = self._process
        if process is not None and process.poll() is None:
            self._write(process, notice)

    def stop(self) -> None:
        """End the worker; an analysis in another thread gets a :class:`WorkerError`."""
        process = self._process
        if process:
            process.kill()
            process.wait()

    def _request(
        self,
        request: dict[str, Any],
        progress: Progress,
        priors: Callable[[], Findings] | None = None,
    ) -> dict[str, Any]:
        with self._lock:
            process = self._living_process()
            wanted = {"model": self._model, "device": self._device_now(), "lungs": self._lungs}
            wanted["runtime"] = self._runtime
            self._write(process, {**request, **wanted})
            return self._wait_for_answer(process, progress, priors)

    def _write(self, process: subprocess.Popen[str], message: Mapping[str, Any]) -> None:
        with self._writing:
            _tell(process, message)

    def _wait_for_answer(
        self,
        process: subprocess.Popen[str],
        progress: Progress,
        priors: Callable[[], Findings] | None,
    ) -> dict[str, Any]:
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            try:
                event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.stop()
                raise WorkerError(
                    f"no answer within {self._timeout_seconds:g} s; the worker was stopped"
                ) from None
            if event is None:
                told = self._how_it_ended(process)
                raise WorkerError(self._fall_back(told) if process.returncode in _CRASHES else told)
            if event["event"] == "progress":
                progress(event["stage"], event["fraction"])
            elif event["event"] == "priors":
                assert priors is not None, "the worker asks only when it was told to"
                self._write(process, priors().to_json())
            elif event["event"] == "failed":
                if event.get("last"):  # it is ending: the next call must not meet it half alive
                    self.stop()
                told = event["error"]
                raise WorkerError(self._fall_back(told) if event.get("device_failed") else told)
            else:
                return event

    def _device_now(self) -> str:
        return "cpu" if self._device == "auto" and time.monotonic() < self._cpu_until else self._device

    def _fall_back(self, told: str) -> str:
        if self._device_now() != "auto":
            return told
        self._cpu_until = time.monotonic() + CPU_SECONDS
        return f"{told}; the next attempts run on the CPU"

    def _living_process(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._events = queue.Queue()
            self._last_words = []
            self._starts += 1
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=quiet_threads(),
            )
            _read_in_background(self._process.stdout, _event_reader(self._events))
            _read_in_background(self._process.stderr, self._keep_last_words)
        return self._process

    def _keep_last_words(self, line: str | None) -> None:
        if line is not None:
            self._last_words = [*self._last_words[1 - STANDARD_ERROR_LINES :], line.rstrip()]

    def _how_it_ended(self, process: subprocess.Popen[str]) -> str:
        code = process.wait()
        if code < 0:
            return f"the worker was killed by signal {-code}" + (" (out of memory?)" if code == -9 else "")
        last = _TRACEBACK_END.sub(r"\1", next((line for line in reversed(self._last_words) if line), ""))
        return f"the worker ended with status {code}" + (f": {last}" if last else "")


def _analysis(done: dict[str, Any]) -> Analysis:
    """What the worker said in the end."""
    files = tuple(
        ResultFile(
            ResultKind(file["kind"]),
            file["sop_class_uid"],
            file["series_instance_uid"],
            file["sop_instance_uid"],
            Path(file["path"]),
        )
        for file in done["results"]
    )
    refusal = (RefusalReason(done["refusal"]), done["detail"]) if done["refusal"] else None
    cost = Cost(done.get("step_seconds", {}), done.get("gpu_memory_bytes"))
    return Analysis(ResultSet(files), refusal, cost)


def _tell(process: subprocess.Popen[str], message: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # a dead worker is told by its event queue
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()


def _event_reader(events: queue.Queue[dict[str, Any] | None]) -> Callable[[str | None], None]:
    return lambda line: events.put(None if line is None else json.loads(line))


def _read_in_background(stream: Any, handle: Callable[[str | None], None]) -> None:
    """Hand each line to ``handle``, then ``None`` at the end of the stream."""

    def read() -> None:
        for line in stream:
            handle(line)
        handle(None)

    threading.Thread(target=read, daemon=True, name="worker-output").start()

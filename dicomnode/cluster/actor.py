"""The worker's keeper on a machine of the cluster: a Ray actor that owns one worker process.

It is the node's own :class:`~dicomnode.supervisor.Supervisor` that runs here too: what a series needs, how
long it may take and what a lost worker or GPU means is the same code on both sides.
"""

from __future__ import annotations

import fcntl
import os
import queue
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import dicomnode
from dicomnode.analysis import Analysis
from dicomnode.cluster.errand import OUT, TRAINING, unpack
from dicomnode.cluster.errors import ClusterError
from dicomnode.cluster.identity import Identity
from dicomnode.cluster.parcel import Parcel
from dicomnode.correct.job import CorrectionJob, DrawnOn
from dicomnode.measure.priors import Findings
from dicomnode.report.result_set import DocumentReference, FurtherResults
from dicomnode.supervisor import Supervisor, WorkerError

POLL_SECONDS = 1.0
"""How long the question for events is held open."""

FOLDER_PREFIX = "dicomnode-series-"

Event = dict[str, Any]


class SeriesWorker:
    """One worker process, one series at a time; the model stays loaded between them.

    Parameters
    ----------
    model, device, lungs, runtime, timeout_seconds:
        As :class:`~dicomnode.supervisor.Supervisor` takes them.
    """

    def __init__(self, model: str, device: str, lungs: str, runtime: str, timeout_seconds: float) -> None:
        package = str(Path(dicomnode.__file__).parents[1])
        os.environ["PYTHONPATH"] = os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])
        self._model = model
        self._supervisor = Supervisor(model, device, timeout_seconds, lungs=lungs, runtime=runtime)
        # Not Ray's threads: a worker process dies with the thread that started it.
        self._thread = ThreadPoolExecutor(1, "series")
        self._events: queue.Queue[Event] = queue.Queue()
        self._answers: queue.Queue[Event] = queue.Queue()
        _sweep(Path(tempfile.gettempdir()))

    def identity(self) -> Identity:
        """What would compute here."""
        return Identity.here(self._model)

    def load(self) -> str:
        """Load the model; what went wrong, if something did."""
        try:
            self._thread.submit(self._supervisor.warm_up).result()
        except WorkerError as error:
            return str(error)
        return ""

    def begin(self, away: Event, parcel: Parcel) -> None:
        """Take up a request; :meth:`events` tells what becomes of it."""
        self._events, self._answers = queue.Queue(), queue.Queue()
        self._thread.submit(self._work, away, parcel, self._events)

    def events(self) -> list[Event]:
        """What has happened since the last call; waits up to :data:`POLL_SECONDS` for the first.

        The last is ``done`` (with ``results`` and, as ``files``, a parcel of the results) or ``failed``.
        """
        found: list[Event] = []
        with suppress(queue.Empty):
            found.append(self._events.get(timeout=POLL_SECONDS))
            while True:
                found.append(self._events.get_nowait())
        return found

    def answer(self, findings: Event) -> None:
        """The earlier results that the event ``priors`` has asked for."""
        self._answers.put(findings)

    def _work(self, away: Event, parcel: Parcel, events: queue.Queue[Event]) -> None:
        directory = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        held = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            events.put(self._serve(unpack(away, parcel, directory), directory, events))
        except (WorkerError, ClusterError) as error:
            events.put({"event": "failed", "error": str(error)})
        except Exception as error:  # a full disk here ends one attempt, and its message may name a file
            events.put({"event": "failed", "error": f"{type(error).__name__} beside the worker"})
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(held)

    def _serve(self, request: Event, directory: Path, events: queue.Queue[Event]) -> Event:
        if request["command"] == "recognize":
            found = self._supervisor.recognize([Path(path) for path in request["paths"]], request["own"])
            if isinstance(found, DrawnOn):
                return {"event": "done", "drawn_on": vars(found), "refusal": None}
            return {"event": "done", "refusal": found[0].value, "detail": found[1]}
        self._supervisor.further = FurtherResults.of(**request["further"])
        named = request["predecessor"]
        common: dict[str, Any] = {
            "config_sha256": request["config_sha256"],
            "predecessor": DocumentReference(**named) if named else None,
            "progress": lambda stage, fraction: events.put(
                {"event": "progress", "stage": stage, "fraction": fraction}
            ),
            "priors": self._ask(events) if request["asks_priors"] else None,
        }
        out = Path(request["out"])
        if request["command"] == "correct":
            analysis = self._supervisor.correct(CorrectionJob.from_json(request["job"]), out, **common)
        else:
            analysis = self._supervisor.analyze([Path(path) for path in request["paths"]], out, **common)
        return _done(analysis, directory)

    def _ask(self, events: queue.Queue[Event]) -> Callable[[], Findings]:
        def priors() -> Findings:
            events.put({"event": "priors"})
            return Findings.from_json(self._answers.get())

        return priors


def _done(analysis: Analysis, directory: Path) -> Event:
    folders = [folder for folder in (directory / OUT, directory / TRAINING) if folder.is_dir()]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    reason, detail = analysis.refusal or (None, None)
    return {
        "event": "done",
        "results": [
            {
                "kind": file.kind.value,
                "sop_class_uid": file.sop_class_uid,
                "series_instance_uid": file.series_instance_uid,
                "sop_instance_uid": file.sop_instance_uid,
                "path": str(file.path.relative_to(directory)),
            }
            for file in analysis.results.files
        ],
        "refusal": reason.value if reason else None,
        "detail": detail,
        "step_seconds": dict(analysis.cost.step_seconds),
        "gpu_memory_bytes": analysis.cost.gpu_memory_bytes,
        "files": Parcel.of([(str(path.relative_to(directory)), path) for path in files]),
    }


def _sweep(directory: Path) -> None:
    """Remove what workers that were killed have left: images of patients."""
    for folder in directory.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):
            held = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)

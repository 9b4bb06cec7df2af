"""The node's end of the cluster: a process that speaks as the worker does and has a Ray actor do the work.

Started by :class:`dicomnode.cluster.supervisor.ClusterSupervisor` as ``python -m dicomnode.cluster.client``.
A process of its own since Ray ends the processes that are connected to it when its head is lost; the node
must not be one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

from dicomnode.cluster.errand import OUT, TRAINING, pack
from dicomnode.cluster.errors import ClusterError
from dicomnode.cluster.ray_worker import LostError, RayWorker
from dicomnode.logs import configure_logging, where_it_happened
from dicomnode.process import die_with_parent

IDLE_SECONDS = 120.0
"""Unused for so long, the actor is given up: others may want its CPUs or GPU, and a model loads soon."""

Event = dict[str, Any]


class Client:
    """Answers requests one after the other, as :class:`dicomnode.worker.Worker` does.

    Parameters
    ----------
    worker:
        Who does the work.
    answers:
        Where events go, one line of JSON each.
    """

    def __init__(self, worker: RayWorker, answers: TextIO) -> None:
        self._worker = worker
        self._answers = answers
        self._requests: queue.Queue[str | None] = queue.Queue()

    def run(self, requests: TextIO) -> None:
        """Serve until ``requests`` ends."""
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()
        while True:
            try:
                line = self._requests.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._worker.release()
                continue
            if line is None:
                return
            self._serve(json.loads(line))

    def _read(self, requests: TextIO) -> None:
        for line in requests:
            self._requests.put(line)
        self._requests.put(None)

    def _serve(self, request: Event) -> None:
        try:
            if request["command"] == "capacity":
                self._say(event="capacity", workers=self._worker.capacity(request["device"]))
                return
            self._worker.connect(request["model"], request["device"], request["lungs"], request["runtime"])
            if request["command"] == "load":
                self._say(event="ready")
            else:
                self._work(request)
        except LostError as error:  # only a fresh process is sure to find a cluster that came back
            self._say(event="failed", error=str(error), last=True)
            os._exit(1)
        except ClusterError as error:
            self._say(event="failed", error=str(error))
        except Exception as error:  # whatever a library raises ends one attempt
            self._say(event="failed", error=where_it_happened(error))

    def _work(self, request: Event) -> None:
        self._worker.begin(*pack(request))
        while True:
            for event in self._worker.events():
                if event["event"] == "priors":
                    self._say(**event)
                    self._worker.answer(json.loads(self._requests.get() or "null"))
                elif event["event"] == "done":
                    self._say(**_brought_home(event, request))
                    return
                else:
                    self._say(**event)
                    if event["event"] == "failed":
                        return

    def _say(self, **event: Any) -> None:
        self._answers.write(json.dumps(event) + "\n")
        self._answers.flush()


def _brought_home(event: Event, request: Event) -> Event:
    """Write the files of a finished request to where the node wants them."""
    parcel = event.pop("files", None)
    if parcel is None:
        return event
    out = Path(request["out"])
    kept = request["job"]["training_directory"] if "job" in request else None
    homes = {OUT: out, **({TRAINING: Path(kept)} if kept else {})}
    out.mkdir(parents=True, exist_ok=True)
    for folder, home in homes.items():
        parcel.below(folder).unpack(home)
    results = [{**file, "path": str(out / Path(file["path"]).relative_to(OUT))} for file in event["results"]]
    return {**event, "results": results}


def main() -> None:
    """Keep the event stream clean: whatever Ray prints goes to standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--cpus", type=float, required=True)
    parser.add_argument("--timeout-seconds", type=float, required=True)
    arguments = parser.parse_args()
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides when it ends
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    configure_logging("ERROR", "text")
    Client(RayWorker(arguments.address, arguments.cpus, arguments.timeout_seconds), answers).run(sys.stdin)
    os._exit(0)  # Ray's farewell takes seconds, and the head sees that this process ended


if __name__ == "__main__":
    main()

"""The three systems that the end-to-end benchmark compares, each with the processes that it is made of."""

from __future__ import annotations

import json
import os
import re
import secrets
import sqlite3
import subprocess
import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from benchmarks.processes import family
from dicomnode.demo.node_process import NodeProcess
from dicomnode.demo.orthanc import free_port, listens
from dicomnode.spool.spool import LEDGER_NAME

START_SECONDS = 300.0
ROUTER = "dicom-ai-router==0.3.0"
REPOSITORY = Path(__file__).parents[1]


class SystemFailedError(Exception):
    """A system did not start or failed; the message says why."""


class UnderTest(ABC):
    """A system between scanner and PACS.

    Parameters
    ----------
    directory:
        For all that it writes.
    pacs_port:
        Where the PACS listens.
    quiet_seconds:
        After so long without a new slice a series is complete.
    """

    name: str
    ae_title: str
    results: int
    """Objects that it sends for a series."""

    def __init__(self, directory: Path, pacs_port: int, quiet_seconds: float) -> None:
        self.directory = directory
        self.pacs_port = pacs_port
        self.quiet_seconds = quiet_seconds
        self.port = 0
        self.processes: list[subprocess.Popen[bytes]] = []
        directory.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def start(self) -> None:
        """Start, and wait until it is ready with its model loaded."""

    @abstractmethod
    def stages(self, study: str, series: str, last_response: float) -> dict[str, float]:
        """Seconds of each stage of a series after the last response."""

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return family(process.pid for process in self.processes)

    def stop(self) -> None:
        """End its processes."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)

    def _run(self, command: list[str], log: str, environment: Mapping[str, str] | None = None) -> None:
        with (self.directory / log).open("ab") as file:
            self.processes.append(
                subprocess.Popen(
                    command,
                    stdout=file,
                    stderr=file,
                    cwd=REPOSITORY,
                    env={**os.environ, "PYTHONPATH": str(REPOSITORY), **(environment or {})},
                )
            )

    def _wait_for(self, port: int, log: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            if time.monotonic() > deadline or any(p.poll() is not None for p in self.processes):
                said = (self.directory / log).read_text(errors="replace").strip().splitlines()[-3:]
                raise SystemFailedError(f"{self.name} did not start: {' / '.join(said)}")
            time.sleep(0.1)


class Node(UnderTest):
    """The node with its default model."""

    name = "dicomnode"
    ae_title = "DICOMNODE"
    results = 2

    def start(self) -> None:
        """The node by its own command; only the time of quiet is set."""
        self._web_port = free_port()
        self._node = NodeProcess(
            self.directory, "PACS", self.pacs_port, "cpu", self.quiet_seconds, web_port=self._web_port
        )
        configuration = self._node.config_path.read_text(encoding="utf-8")
        quiet = f"quiet_seconds = {self.quiet_seconds}\n"
        patched = configuration.replace(quiet, f"{quiet}release_seconds = {self.quiet_seconds}\n")
        self._node.config_path.write_text(patched, encoding="utf-8")
        self._node.start()
        self.port = self._node.port
        deadline = time.monotonic() + START_SECONDS
        while "model loaded" not in self._log():
            if time.monotonic() > deadline or not self._node.is_alive:
                raise SystemFailedError(f"{self.name}: the model was not loaded; {self._node.last_line()}")
            time.sleep(0.1)
        self._steps = self._step_seconds()

    @property
    def pids(self) -> list[int]:
        """Node and workers."""
        return family([self._node.pid])

    def stop(self) -> None:
        """SIGTERM."""
        self._node.stop()

    def stages(self, study: str, series: str, last_response: float) -> dict[str, float]:
        """From the events of its ledger, and its metrics: what the worker took for each step."""
        connection = sqlite3.connect(self._node.spool_directory / LEDGER_NAME)
        try:
            rows = connection.execute(
                "SELECT e.state, min(e.at) FROM event e JOIN series s ON s.id = e.series_id "
                "WHERE s.series_instance_uid = ? GROUP BY e.state",
                (series,),
            ).fetchall()
        finally:
            connection.close()
        at = dict(rows)
        found = {"wait": at.get("complete", last_response) - last_response}
        before, self._steps = self._steps, self._step_seconds()
        steps = {step: seconds - before.get(step, 0.0) for step, seconds in self._steps.items()}
        found |= {step: seconds for step, seconds in steps.items() if seconds >= 0.005}
        if "analyzing" in at and "delivering" in at:
            rest = at["delivering"] - at["complete"] - sum(steps.values())
            found["beside these" if rest >= 0 else "of these before it was complete"] = abs(rest)
        if "delivered" in at:
            found["deliver"] = at["delivered"] - at["delivering"]
        return found

    def _step_seconds(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._web_port}/metrics", timeout=30) as answer:
            said = answer.read().decode()
        pattern = r'^dicomnode_analysis_step_seconds_sum\{step="(\w+)"\} (\S+)$'
        return {step: float(seconds) for step, seconds in re.findall(pattern, said, re.MULTILINE)}

    def _log(self) -> str:
        return self._node.log_path.read_text(encoding="utf-8", errors="replace")


class Script(UnderTest):
    """The straightforward script."""

    name = "script"
    ae_title = "SCRIPT"
    results = 2

    def start(self) -> None:
        """As :mod:`benchmarks.end_to_end_script` says."""
        self.port = free_port()
        command = [sys.executable, "-m", "benchmarks.end_to_end_script"]
        command += ["--port", str(self.port), "--pacs-port", str(self.pacs_port)]
        command += ["--directory", str(self.directory), "--quiet-seconds", str(self.quiet_seconds)]
        self._run(command, "script.log")
        self._wait_for(self.port, "script.log")

    def stages(self, study: str, series: str, last_response: float) -> dict[str, float]:
        """From what it prints."""
        for line in (self.directory / "script.log").read_text(errors="replace").splitlines():
            if line.startswith('{"series"') and series in line:
                said = json.loads(line)
                return {"wait": said["began"] - last_response, **said["seconds"]}
        return {}


class Router(UnderTest):
    """dicom-ai-router of PyPI in a virtual environment of its own, with our model server behind it.

    Parameters
    ----------
    environment:
        The virtual environment, made where it is missing.
    """

    name = "dicom-ai-router"
    ae_title = "AIROUTER"
    results = 2

    def __init__(self, directory: Path, pacs_port: int, quiet_seconds: float, environment: Path) -> None:
        super().__init__(directory, pacs_port, quiet_seconds)
        self._environment = environment

    def start(self) -> None:
        """Model server first, then the router by its own command."""
        python = self._install()
        self.port, model_port = free_port(), free_port()
        packages = next(Path(sys.prefix).glob("lib/python*/site-packages"))
        self._run(
            [str(python), "-m", "uvicorn", "benchmarks.end_to_end_model:app", "--port", str(model_port)],
            "model.log",
            {"PYTHONPATH": f"{REPOSITORY}:{packages}"},
        )
        self._wait_for(model_port, "model.log")
        configuration = self.directory / "router.yaml"
        configuration.write_text(
            json.dumps(  # JSON is YAML
                {
                    "router": {
                        "ae_title": self.ae_title,
                        "port": self.port,
                        "study_quiet_seconds": self.quiet_seconds,
                        "workers": 2,
                        "workdir": str(self.directory / "data"),
                        "bind_address": "127.0.0.1",
                    },
                    "pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": self.pacs_port},
                    "ai_endpoints": {
                        "lungs": {"url": f"http://127.0.0.1:{model_port}/infer/lungs", "timeout_s": 1800}
                    },
                    "rules": [
                        {"name": "ct", "match": {"Modality": "^CT$"}, "model": "lungs", "series": "largest"}
                    ],
                    "deid": {"salt": secrets.token_hex(32), "reject_burned_in_annotation": True},
                }
            ),
            encoding="utf-8",
        )
        self._run(
            [str(python), "-m", "airouter", "serve", "--config", str(configuration)],
            "router.log",
            {"PYTHONPATH": ""},
        )
        self._wait_for(self.port, "router.log")

    def stages(self, study: str, series: str, last_response: float) -> dict[str, float]:
        """From its audit log."""
        said = map(json.loads, (self.directory / "data" / "audit.jsonl").read_text().splitlines())
        steps = {line["step"]: line for line in said if line["study"] == study}
        found = {"wait": steps["study_complete"]["ts"] - last_response} if "study_complete" in steps else {}
        names = {"load": "load", "deidentify": "de-identify", "ai_inference": "model server"}
        names |= {"build_results": "report", "c_store_pacs": "deliver"}
        return found | {names[step]: line["ms"] / 1000 for step, line in steps.items() if step in names}

    def _install(self) -> Path:
        python = self._environment / "bin" / "python"
        if not python.exists():
            print(f"installing {ROUTER} into {self._environment} ...", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", str(self._environment)], check=True)
            done = subprocess.run(
                [str(python), "-m", "pip", "install", "-q", ROUTER],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemFailedError(
                    f"{ROUTER} can't be installed: {done.stderr.strip().splitlines()[-1:]}"
                )
        return python


def instances_in(http_port: int) -> int:
    """How many instances an Orthanc has."""
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/statistics", timeout=30) as answer:
        return int(json.load(answer)["CountInstances"])

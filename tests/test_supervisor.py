"""A hung, killed, broken or memory-hungry worker costs an attempt, never the node."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from dicomnode.measure.priors import Findings, SearchRemark
from dicomnode.report.result_set import DocumentReference
from dicomnode.supervisor import Supervisor, WorkerError
from dicomnode.worker import tells_of_memory

DONE = '{"event": "done", "results": [], "refusal": null, "detail": null}'


def worker_that(program: str, timeout_seconds: float = 20.0) -> Supervisor:
    """A supervisor of a worker that runs ``program`` for each request line ``line``."""
    loop = f"import os, sys, time\nfor line in sys.stdin:\n    {program}\n    sys.stdout.flush()\n"
    return Supervisor("model", "cpu", timeout_seconds, (sys.executable, "-c", loop))


def analyze(supervisor: Supervisor) -> None:
    supervisor.analyze([Path("a.dcm")], Path("out"), "0" * 64)


def test_a_worker_that_answers() -> None:
    supervisor = worker_that(f"print({DONE!r})")
    analyze(supervisor)
    assert supervisor.pid
    supervisor.stop()
    assert supervisor.pid is None


def test_what_a_worker_is_asked_and_what_it_answers() -> None:
    """The answer is a result whose path is the request itself."""
    result = (
        '{"kind": "sr", "sop_class_uid": "1.2", "series_instance_uid": "2.25.3", '
        '"sop_instance_uid": "2.25.4", "path": line}'
    )
    done = f'{{"event": "done", "results": [{result}], "refusal": None, "detail": None}}'
    supervisor = worker_that(f"import json; print(json.dumps({done}))")
    predecessor = DocumentReference("1.2.3", "2.25.1", "1.2.840.10008.5.1.4.1.1.88.34", "2.25.2")
    for named in (predecessor, None):
        (file,) = supervisor.analyze([Path("a.dcm")], Path("out"), "0" * 64, named).results.files
        assert (file.kind, file.series_instance_uid, file.sop_instance_uid) == ("sr", "2.25.3", "2.25.4")
        asked = json.loads(str(file.path))
        assert asked["predecessor"] == (asdict(named) if named else None)
        assert (asked["paths"], asked["out"], asked["config_sha256"]) == (["a.dcm"], "out", "0" * 64)
    supervisor.stop()


def test_a_worker_that_asks_for_earlier_results_gets_them() -> None:
    """The answer is a result whose path is what it was told."""
    result = (
        '{"kind": "sr", "sop_class_uid": "1.2", "series_instance_uid": "2.25.3", '
        '"sop_instance_uid": "2.25.4", "path": sys.stdin.readline()}'
    )
    done = f'{{"event": "done", "results": [{result}], "refusal": None, "detail": None}}'
    asks = "import json; print(json.dumps({'event': 'priors'}), flush=True); "
    supervisor = worker_that(f"{asks}print(json.dumps({done}))")
    found = Findings(None, ("ledger",), (), (SearchRemark.TOO_OLD,))
    analysis = supervisor.analyze([Path("a.dcm")], Path("out"), "0" * 64, priors=lambda: found)
    (file,) = analysis.results.files
    assert Findings.from_json(json.loads(str(file.path))) == found
    supervisor.stop()


def test_a_worker_that_dies_while_earlier_results_are_looked_for() -> None:
    supervisor = worker_that("import json; print(json.dumps({'event': 'priors'}), flush=True); os._exit(3)")
    with pytest.raises(WorkerError, match="ended with status 3"):
        supervisor.analyze([Path("a.dcm")], Path("out"), "0" * 64, priors=lambda: Findings(None))
    supervisor.stop()


def test_a_hung_worker_is_stopped_and_replaced() -> None:
    supervisor = worker_that("time.sleep(1000)", timeout_seconds=0.5)
    with pytest.raises(WorkerError, match=r"no answer within 0\.5 s"):
        analyze(supervisor)
    assert supervisor.pid is None
    with pytest.raises(WorkerError, match="no answer"):
        analyze(supervisor)
    supervisor.stop()


def test_a_worker_killed_from_outside_while_it_computes() -> None:
    supervisor = worker_that(
        'print(\'{"event": "progress", "stage": "s", "fraction": 0}\', flush=True); time.sleep(99)'
    )
    begun = threading.Event()

    def kill_when_begun() -> None:
        begun.wait(20)
        os.kill(supervisor.pid or 0, signal.SIGKILL)

    killer = threading.Thread(target=kill_when_begun)
    killer.start()
    with pytest.raises(WorkerError, match=r"killed by signal 9 \(out of memory\?\)"):
        supervisor.analyze([Path("a")], Path("out"), "", progress=lambda *_: begun.set())
    killer.join()
    supervisor.stop()


def test_a_worker_killed_between_two_series_is_replaced() -> None:
    supervisor = worker_that(f"print({DONE!r})")
    analyze(supervisor)
    first = supervisor.pid
    assert first
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    analyze(supervisor)
    assert supervisor.pid not in (None, first)
    supervisor.stop()


def test_the_last_words_of_a_worker_that_ends() -> None:
    supervisor = worker_that('sys.exit("no weights here")')
    with pytest.raises(WorkerError, match="ended with status 1: no weights here"):
        analyze(supervisor)


def test_the_last_words_quote_no_data() -> None:
    supervisor = worker_that('raise ValueError("Doe^Jane")')
    with pytest.raises(WorkerError, match=r"ended with status 1: ValueError$"):
        analyze(supervisor)


def test_a_failure_that_the_worker_tells_leaves_it_alive() -> None:
    supervisor = worker_that('print(\'{"event": "failed", "error": "disk full"}\')')
    with pytest.raises(WorkerError, match="disk full"):
        analyze(supervisor)
    assert supervisor.pid
    supervisor.stop()


def test_stop_ends_an_analysis_in_another_thread() -> None:
    supervisor = worker_that(
        'print(\'{"event": "progress", "stage": "s", "fraction": 0}\', flush=True); time.sleep(99)'
    )
    begun, ended = threading.Event(), threading.Event()

    def run() -> None:
        with pytest.raises(WorkerError):
            supervisor.analyze([Path("a")], Path("out"), "", progress=lambda *_: begun.set())
        ended.set()

    threading.Thread(target=run).start()
    assert begun.wait(20)
    supervisor.stop()
    assert ended.wait(20)


def test_the_real_worker_says_that_a_model_is_missing() -> None:
    supervisor = Supervisor("no_such_model", "cpu", 120.0)
    with pytest.raises(WorkerError, match="no model 'no_such_model'"):
        supervisor.warm_up()
    supervisor.stop()


def test_the_real_worker_runs_out_of_memory_and_is_replaced(data_dir: Path, tmp_path: Path) -> None:
    """Half a gigabyte is enough for the model, not for a whole CT."""
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (500_000_000, 500_000_000));"
        "from dicomnode.worker import main; main()"
    )
    supervisor = Supervisor("medip_unet2d", "cpu", 120.0, (sys.executable, "-c", limited))
    files = sorted((data_dir / "ricord_covid_chest").glob("*.dcm"))
    supervisor.warm_up()
    first = supervisor.pid
    for _ in range(2):
        with pytest.raises(WorkerError, match="out of memory"):
            supervisor.analyze(files, tmp_path, "0" * 64)
    assert supervisor.pid != first
    supervisor.stop()


@pytest.mark.parametrize(
    "message",
    [
        "DefaultCPUAllocator: not enough memory: you tried to allocate 1 byte",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "can't start new thread",
    ],
)
def test_memory_that_ran_out_is_told_however_the_library_says_it(message: str) -> None:
    """A thread without room for its stack was once told as an unknown error."""
    assert tells_of_memory(RuntimeError(message))
    assert not tells_of_memory(RuntimeError("the weights don't fit the network"))

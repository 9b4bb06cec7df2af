"""A CUDA device that isn't there, fails, or takes the worker along: the series is tried again elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from dicomnode.supervisor import Supervisor, WorkerError

# The real worker; the model says that it computes on CUDA unless the CPU is asked for, and fails there.
FAILING = """
from dicomnode import worker
from dicomnode.analysis import Analysis
from dicomnode.report.result_set import ResultSet

class Model:
    def __init__(self, device):
        self.device = device
        self.memory = {{}}

    def peak_memory_bytes(self):
        return None

def analyze(paths, segmenter, out, **others):
    if segmenter.device == "cuda":
        raise RuntimeError({message!r})
    return Analysis(ResultSet(()))

def load(cls, model, device, **others):
    return Model("cpu" if device == "cpu" else "cuda")

worker.Segmenter.load = classmethod(load)
worker.analyze_series = analyze
worker.main()
"""
MESSAGES = [
    "CUDA error: an illegal memory access was encountered",
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "Unexpected error from cudaGetDeviceCount(). Error 46: all CUDA-capable devices are busy or unavailable",
]


def analyze(supervisor: Supervisor) -> None:
    supervisor.analyze([Path("a.dcm")], Path("out"), "0" * 64)


def worker_on(device: str, program: str) -> Supervisor:
    return Supervisor("model", device, 60.0, (sys.executable, "-c", program))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_that_is_not_there_is_told_in_a_sentence() -> None:
    supervisor = Supervisor("medip_unet2d", "cuda", 120.0)
    for request in (supervisor.warm_up, lambda: analyze(supervisor)):
        with pytest.raises(
            WorkerError, match="device cuda was asked for but this machine has no usable CUDA"
        ):
            request()
    supervisor.stop()


@pytest.mark.parametrize("message", MESSAGES)
def test_with_auto_the_next_attempt_runs_on_the_cpu(message: str) -> None:
    supervisor = worker_on("auto", FAILING.format(message=message))
    with pytest.raises(WorkerError, match=r"the CUDA device failed .* the next attempts run on the CPU"):
        analyze(supervisor)
    analyze(supervisor)
    assert supervisor.starts == 2, "a broken CUDA context lasts as long as its process"
    supervisor.stop()


def test_with_cuda_each_attempt_is_made_there_by_a_fresh_worker() -> None:
    supervisor = worker_on("cuda", FAILING.format(message=MESSAGES[0]))
    for attempt in (1, 2):
        with pytest.raises(WorkerError, match=r"the CUDA device failed \(RuntimeError\)$"):
            analyze(supervisor)
        assert supervisor.starts == attempt
    supervisor.stop()


def test_an_error_that_is_not_the_devices_stays_on_the_device() -> None:
    supervisor = worker_on("auto", FAILING.format(message="shapes don't match"))
    for _ in range(2):
        with pytest.raises(WorkerError, match="RuntimeError at "):
            analyze(supervisor)
    assert supervisor.starts == 1
    supervisor.stop()


@pytest.mark.parametrize("end", ["SIGABRT", "SIGSEGV", "SIGBUS"])
def test_a_driver_that_takes_the_worker_along(end: str) -> None:
    program = (
        "import json, os, signal, sys\n"
        "for line in sys.stdin:\n"
        f"    if json.loads(line)['device'] != 'cpu': os.kill(os.getpid(), signal.{end})\n"
        '    print(\'{"event": "done", "results": [], "refusal": null, "detail": null}\', flush=True)\n'
    )
    supervisor = worker_on("auto", program)
    with pytest.raises(WorkerError, match=r"killed by signal .* the next attempts run on the CPU"):
        analyze(supervisor)
    analyze(supervisor)
    supervisor.stop()

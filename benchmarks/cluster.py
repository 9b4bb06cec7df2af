"""What a cluster costs and brings: one archive by `dicomnode cohort`, with workers here and on a Ray cluster.

    python -m benchmarks.cluster [--series 60] [--workers 1 2] [--model medip_unet2d] [--out FOLDER]

Builds one small phantom chest and copies it under new UIDs (--series 1000 for a thousand), starts a Ray
cluster whose machines are all this one (one CPU each), and has each way measure everything. The rows must be
the same to the byte. Before that, a worker here and one there get a series by turns, which shows what the way
to the cluster costs whatever else the machine does. Prints the tables of docs/scale.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import generate_uid

from benchmarks.ray_machines import RayMachine
from dicomnode.cluster.supervisor import ClusterSupervisor
from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, build_phantom, write_series
from dicomnode.segment.segmentation import Lobe
from dicomnode.supervisor import Supervisor

SHAPE = (24, 64, 64)
TABLES = ("cohort.csv", "not_measured.csv")


@dataclass(frozen=True)
class Run:
    """One way through the archive; ``seconds`` are those of the whole command."""

    where: str
    workers: int
    seconds: float
    series: int
    rows: bytes

    @property
    def an_hour(self) -> float:
        """Series an hour."""
        return 3600 * self.series / self.seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="none: only the turns")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--model", default="medip_unet2d")
    parser.add_argument("--out", type=Path, help="keep archive and tables here")
    arguments = parser.parse_args()
    os.environ["DICOMNODE_ANALYSIS__RUNTIME"] = "torch"  # nothing is to be found out at the first series
    os.environ["OMP_NUM_THREADS"] = "1"  # as many threads here as a worker of one CPU has there
    with ExitStack() as stack:
        folder = arguments.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        archive = folder / "archive"
        megabytes = _archive(archive, arguments.series)
        head = RayMachine(0)
        stack.callback(head.kill)
        head.start()
        _print_turns(_turns(archive, folder, head, arguments))
        runs = []
        for workers in arguments.workers:
            for where in ("here", "cluster"):
                with ExitStack() as machines:
                    for _ in range(workers if where == "cluster" else 0):
                        machine = RayMachine(1, head)
                        machines.callback(machine.kill)
                        machine.start()
                    address = head.address if where == "cluster" else ""
                    out = folder / f"{where}-{workers}"
                    runs.append(_run(archive, out, where, workers, address, arguments))
    if runs:
        _print(runs, megabytes)
    if len({run.rows for run in runs}) > 1:
        sys.exit("the rows differ")


def _turns(
    archive: Path, folder: Path, head: RayMachine, arguments: argparse.Namespace
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each series by worker: of the whole call, and of what isn't its analysis."""
    machine = RayMachine(1, head)
    machine.start()
    workers = {
        "here": Supervisor(arguments.model, "cpu", 900.0),
        "cluster": ClusterSupervisor(head.address, 1, arguments.model, "cpu", 900.0),
    }
    seconds: dict[str, list[tuple[float, float]]] = {where: [] for where in workers}
    try:
        while not workers["cluster"].is_ready():
            time.sleep(1)
        paths = sorted((archive / "00000").iterdir())
        for turn in range(arguments.turns + 1):
            for where, worker in workers.items():
                began = time.monotonic()
                analysis = worker.analyze(paths, folder / f"turn-{turn}-{where}", "0" * 64)
                whole = time.monotonic() - began
                if turn:  # the first has the models loaded
                    seconds[where].append((whole, whole - sum(analysis.cost.step_seconds.values())))
    finally:
        for worker in workers.values():
            worker.stop()
        machine.kill()
    return seconds


def _print_turns(seconds: dict[str, list[tuple[float, float]]]) -> None:
    number = len(seconds["here"])
    print(f"One series by turns, {number} times each, medians; load {os.getloadavg()[0]:.1f}:\n")
    print("| worker | a series | of it not the analysis |")
    print("|---|---|---|")
    for where, found in seconds.items():
        whole, beside = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"| {where} | {whole:.2f} s | {1000 * beside:.0f} ms |")
    print(flush=True)


def _archive(folder: Path, number: int) -> float:
    """The series, and how many megabytes they have."""
    lesions = (LesionSpec(LesionKind.GGO, 150.0, Lobe.RIGHT_LOWER),)
    phantom = build_phantom(PhantomSpec.whole_lung(SHAPE, seed=3, lesions=lesions))
    size = 0
    for index in range(number):
        target = folder / f"{index:05}"
        target.mkdir(parents=True)
        if index == 0:
            first = [dcmread(path) for path in write_series(phantom, target)]
        study, series = generate_uid(), generate_uid()
        for slice_number, dataset in enumerate(first if index else ()):
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.save_as(target / f"{slice_number:03}.dcm")
        size += sum(path.stat().st_size for path in target.iterdir())
    return size / 1e6


def _run(
    archive: Path, out: Path, where: str, workers: int, address: str, arguments: argparse.Namespace
) -> Run:
    command = [sys.executable, "-m", "dicomnode.cli", "cohort", str(archive), "--out", str(out)]
    command += ["--jobs", str(workers), "--device", "cpu", "--model", arguments.model]
    command += ["--cluster", address, "--cluster-cpus", "1"] if address else []
    print(f"{where}, {workers} workers ...", file=sys.stderr)
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    rows = b"".join((out / name).read_bytes() for name in TABLES)
    return Run(where, workers, seconds, arguments.series, rows)


def _print(runs: list[Run], megabytes: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    load = os.getloadavg()[1]
    print(
        f"{runs[0].series} series of {SHAPE[0]} slices, {megabytes:.0f} MB; {platform.machine()}, "
        f"{os.cpu_count()} cores, load {load:.1f}; largest process {peak:.0f} MB.\n"
    )
    print("| workers | where | wall | series an hour | against one worker | more than here, a series |")
    print("|---|---|---|---|---|---|")
    here = {run.workers: run for run in runs if run.where == "here"}
    single = {run.where: run for run in runs if run.workers == 1}
    for run in runs:
        alone = single.get(run.where)
        gain = f"{run.an_hour / alone.an_hour:.2f}" if alone else "-"
        more = (run.seconds - here[run.workers].seconds) / run.series
        told = f"{1000 * more:.0f} ms" if run.where == "cluster" else "-"
        print(f"| {run.workers} | {run.where} | {run.seconds:.1f} s | {run.an_hour:.0f} | {gain} | {told} |")
    same = len({run.rows for run in runs}) == 1
    print(f"\nRows of all runs are {'the same to the byte' if same else 'NOT THE SAME'}.")


if __name__ == "__main__":
    main()

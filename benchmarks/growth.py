"""How the node grows: with slices, with series, and how soon it is ready.

    python -m benchmarks.growth [--quick] [--slices 60 120 300 600 1200] [--series 1000] [--minutes 10]

Three tables. A node started: seconds until it answers C-ECHO, CPU seconds, memory, and seconds until the
model, which loads in the background, is there. `dicomnode analyze` on phantoms of more and more slices, each
in a process of its own: seconds, CPU seconds and peak memory, beside the straight line through the first and
the last. A node that gets one small series after the other, as many as fit: memory along the way.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.end_to_end_cases import Case, copies, phantom
from benchmarks.processes import cpu_seconds, family, resident_bytes
from dicomnode.deliver.peer import echo
from dicomnode.deliver.sender import send_files
from dicomnode.demo.node_process import NodeProcess
from dicomnode.demo.orthanc import listens
from dicomnode.demo.pacs import SmallPacs
from dicomnode.spool.spool import LEDGER_NAME

SMALL = (24, 96)
"""Slices and matrix of a small series."""

AT_ONCE = 4
"""Series that may be on their way."""

SAMPLES = 8
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Analyzed:
    """What one analysis took."""

    slices: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small phantoms, half a minute of series")
    parser.add_argument("--slices", type=int, nargs="+", default=[60, 120, 300, 600, 1200])
    parser.add_argument("--matrix", type=int, default=512)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--keep", type=Path, help="keep the phantoms here")
    parser.add_argument("--only", choices=["slices", "series", "start"])
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments.quick:
        arguments.slices, arguments.matrix, arguments.minutes = [60, 120, 240], 256, 0.5
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        keep = arguments.keep or work
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n")
        if arguments.only in (None, "start"):
            _print_start([_started(work / f"start-{number}") for number in range(3)])
        if arguments.only in (None, "slices"):
            _print_slices([_analyzed(phantom(n, keep, arguments.matrix), work) for n in arguments.slices])
        if arguments.only in (None, "series"):
            small = phantom(SMALL[0], keep, SMALL[1])
            _print_series(_many(small, work, arguments.series, 60 * arguments.minutes))


def _analyzed(case: Case, work: Path) -> Analyzed:
    """``dicomnode analyze`` as a process; the first time in a while it also fills the page cache."""
    command = [sys.executable, "-m", "dicomnode.cli", "analyze", str(case.folder), "--out"]
    began = time.perf_counter()
    command += [str(work / f"out-{case.slices}"), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"dicomnode analyze ended with status {process.returncode} at {case.slices} slices")
    seconds = time.perf_counter() - began
    return Analyzed(case.slices, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _print_slices(found: Sequence[Analyzed]) -> None:
    first, last = found[0], found[-1]

    def on_the_line(name: str, slices: int) -> float:
        low, high = getattr(first, name), getattr(last, name)
        return float(low + (high - low) * (slices - first.slices) / (last.slices - first.slices))

    print("| slices | seconds | CPU s | of the line | ms CPU a slice | peak MB | of the line |")
    print("|---|---|---|---|---|---|---|")
    for one in found:
        cells = (
            f"{one.slices}",
            f"{one.seconds:.1f}",
            f"{one.cpu_seconds:.1f}",
            f"{one.cpu_seconds / on_the_line('cpu_seconds', one.slices):.2f}",
            f"{1000 * one.cpu_seconds / one.slices:.0f}",
            f"{one.peak_bytes / 1e6:.0f}",
            f"{one.peak_bytes / on_the_line('peak_bytes', one.slices):.2f}",
        )
        print(f"| {' | '.join(cells)} |")
    print()


def _many(small: Case, work: Path, series: int, seconds: float) -> list[tuple[int, float, int, int]]:
    """Delivered series, seconds since the start, resident bytes of node and workers, now and then."""
    samples: list[tuple[int, float, int, int]] = []
    with ExitStack() as stack:
        pacs = SmallPacs(work / "pacs")
        pacs.start()
        stack.callback(pacs.stop)
        node = NodeProcess(work / "node", pacs.ae_title, pacs.port, "cpu", quiet_seconds=0.5)
        text = node.config_path.read_text(encoding="utf-8")
        node.config_path.write_text(
            text.replace("quiet_seconds = 0.5", "quiet_seconds = 0.5\nrelease_seconds = 0.1"),
            encoding="utf-8",
        )
        node.start()
        stack.callback(node.stop)
        began, source = time.monotonic(), copies(small, work / "copies")
        for number in range(series):
            sent = next(source)
            failed = [one for one in send_files(sorted(sent.folder.iterdir()), node.peer) if not one.ok]
            if failed:
                sys.exit(f"series {number} was not stored: {failed[0].error}")
            shutil.rmtree(sent.folder)
            delivered = _wait_until(node, number + 1 - AT_ONCE)
            elapsed = time.monotonic() - began
            share = max(number / series, elapsed / seconds)
            if delivered >= 1 and share >= len(samples) / SAMPLES:
                samples.append((delivered, elapsed, *_memory(node)))
            if elapsed > seconds:
                break
        delivered = _wait_until(node, number + 1)
        samples.append((delivered, time.monotonic() - began, *_memory(node)))
    return samples


def _wait_until(node: NodeProcess, wanted: int) -> int:
    """Wait until so many series are delivered."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        connection = sqlite3.connect(node.spool_directory / LEDGER_NAME)
        try:
            rows = dict(connection.execute("SELECT state, count(*) FROM series GROUP BY state").fetchall())
        finally:
            connection.close()
        lost = rows.get("failed", 0) + rows.get("refused", 0)
        if lost:
            sys.exit(f"{lost} series failed or were refused")
        if rows.get("delivered", 0) >= wanted:
            return int(rows.get("delivered", 0))
        if time.monotonic() > deadline:
            sys.exit(f"no series was delivered within {PATIENCE_SECONDS:g} s: {rows}")
        time.sleep(0.02)


def _memory(node: NodeProcess) -> tuple[int, int]:
    workers = sum(resident_bytes(pid) for pid in family([node.pid])[1:])
    return resident_bytes(node.pid), workers


def _print_series(samples: Sequence[tuple[int, float, int, int]]) -> None:
    print("| series delivered | seconds | node MB | workers MB |\n|---|---|---|---|")
    for delivered, seconds, node, workers in samples:
        print(f"| {delivered} | {seconds:.0f} | {node / 1e6:.1f} | {workers / 1e6:.0f} |")
    middle, last = samples[len(samples) // 2], samples[-1]
    number = max(1, last[0] - middle[0])
    node, workers = ((last[i] - middle[i]) / number / 1e3 for i in (2, 3))
    print(f"\nSecond half: {node:+.1f} kB of the node and {workers:+.1f} kB of the workers a series.\n")


def _started(directory: Path) -> tuple[float, float, int, float]:
    """Seconds to ready, CPU seconds and memory of the node then, seconds until the model is loaded."""
    node = NodeProcess(directory, "PACS", 1, "cpu")
    command = [sys.executable, "-m", "dicomnode.cli", "serve", "--config", str(node.config_path)]
    began = time.perf_counter()
    with node.log_path.open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not (listens(node.port) and echo(node.peer) is None):
            _still_alive(process, began, node)
        ready = time.perf_counter() - began
        used = cpu_seconds(process.pid, ended_children=False)
        memory = resident_bytes(process.pid)
        while "model loaded" not in node.log_path.read_text(encoding="utf-8"):
            _still_alive(process, began, node)
    finally:
        process.terminate()
        process.wait()
    return ready, used, memory, time.perf_counter() - began


def _still_alive(process: subprocess.Popen[bytes], began: float, node: NodeProcess) -> None:
    if process.poll() is not None or time.perf_counter() - began > PATIENCE_SECONDS:
        sys.exit(f"the node did not start: {node.last_line()}")
    time.sleep(0.01)


def _print_start(found: Sequence[tuple[float, float, int, float]]) -> None:
    ready, cpu, memory, loaded = (statistics.median(figures) for figures in zip(*found, strict=True))
    print("| ready s | CPU s of the node until then | node MB | model loaded s |\n|---|---|---|---|")
    print(f"| {ready:.2f} | {cpu:.2f} | {memory / 1e6:.0f} | {loaded:.2f} |\n")


if __name__ == "__main__":
    main()

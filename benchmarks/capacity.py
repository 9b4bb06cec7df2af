"""What a node needs: bytes on disk, processor seconds and memory for a series, and how fast it receives.

    python -m benchmarks.capacity [--ct DIR] [--device auto] [--repetitions 3] [--out FOLDER]

Builds a phantom chest (or takes the largest CT series below DIR), starts the node and a small PACS as
processes of this machine, sends the series by dcmtk's storescu, waits for the delivered result, and reads the
figures from /proc and the spool. Repetitions are the same images under new UIDs. Prints the table of
docs/operations.md.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import generate_uid

from benchmarks.processes import cpu_seconds, dcmtk, peak_bytes, processor
from dicomnode.assemble.series import find_series
from dicomnode.demo.node_process import NodeProcess
from dicomnode.demo.pacs import SmallPacs
from dicomnode.demo.phantom_ct import write_phantom_ct
from dicomnode.spool.spool import LEDGER_NAME

PATIENCE_SECONDS = 900.0
DAY_SECONDS = 86400.0
SERIES_A_DAY = 100
DISK_GB = 1000.0


@dataclass(frozen=True)
class Figures:
    """What one series took."""

    slices: int
    image_bytes: int
    result_bytes: dict[str, int]
    ledger_bytes: int
    send_seconds: float
    answer_seconds: float
    analysis_seconds: float
    node_cpu_seconds: float
    worker_cpu_seconds: float
    node_peak_bytes: int
    worker_peak_bytes: int

    @property
    def disk_bytes(self) -> int:
        """All that one series leaves in the spool."""
        return self.image_bytes + sum(self.result_bytes.values()) + self.ledger_bytes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ct", type=Path, help="folder with a CT series (default: a phantom)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, help="keep the spool and the log here")
    arguments = parser.parse_args()
    storescu = dcmtk("storescu")
    with ExitStack() as stack:
        folder = arguments.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        copies = _copies(arguments.ct, folder, arguments.repetitions)
        pacs = SmallPacs(folder / "pacs")
        pacs.start()
        stack.callback(pacs.stop)
        node = NodeProcess(folder / "node", pacs.ae_title, pacs.port, arguments.device)
        node.start()
        stack.callback(node.stop)
        measured = [_measure(node, copy, storescu) for copy in copies]
    _print(measured)


def _copies(ct: Path | None, folder: Path, number: int) -> list[Path]:
    """The series under new UIDs, a folder each."""
    if ct is None:
        ct = folder / "phantom"
        print("building a phantom chest ...", file=sys.stderr)
        write_phantom_ct(ct, lambda _what, _share: None)
    series = max(find_series(ct), key=lambda one: len(one.paths))
    copies = []
    for index in range(number):
        copy, study, own = folder / f"ct-{index}", generate_uid(), generate_uid()
        copy.mkdir()
        for path in series.paths:
            dataset = dcmread(path)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, own
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.save_as(copy / path.name, enforce_file_format=True)
        copies.append(copy)
    return copies


def _measure(node: NodeProcess, copy: Path, storescu: str) -> Figures:
    worker = _wait_for_worker(node)
    before = {pid: cpu_seconds(pid, ended_children=False) for pid in (node.pid, worker)}
    began = time.monotonic()
    command = [storescu, "-aec", "DICOMNODE", "+sd", "-xs", "127.0.0.1", str(node.port), str(copy)]
    subprocess.run(command, check=True)
    sent = time.monotonic()
    series_id = _delivered(node.spool_directory, str(dcmread(next(copy.iterdir())).SeriesInstanceUID))
    answered = time.monotonic()
    results = node.spool_directory / "results" / series_id
    return Figures(
        slices=len(list(copy.iterdir())),
        image_bytes=_bytes_below(node.spool_directory / "instances" / series_id),
        result_bytes={
            path.name: path.stat().st_size for path in sorted(results.rglob("*")) if path.is_file()
        },
        ledger_bytes=_ledger_bytes(node.spool_directory),
        send_seconds=sent - began,
        answer_seconds=answered - sent,
        analysis_seconds=_analysis_seconds(node.spool_directory, series_id),
        node_cpu_seconds=cpu_seconds(node.pid, ended_children=False) - before[node.pid],
        worker_cpu_seconds=cpu_seconds(worker, ended_children=False) - before[worker],
        node_peak_bytes=peak_bytes(node.pid),
        worker_peak_bytes=peak_bytes(worker),
    )


def _wait_for_worker(node: NodeProcess) -> int:
    """Process id of the worker once it has loaded the model."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        children = Path(f"/proc/{node.pid}/task/{node.pid}/children").parent.parent
        pids = " ".join(path.read_text() for path in children.glob("*/children")).split()
        if pids and "model loaded" in node.log_path.read_text(encoding="utf-8"):
            return int(pids[0])
        time.sleep(0.2)
    sys.exit(f"the model was not loaded; the log ends: {node.last_line()}")


def _delivered(spool: Path, series_instance_uid: str) -> str:
    """The series' id in the ledger once its results are delivered."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    question = "SELECT id, state, detail FROM series WHERE series_instance_uid = ?"
    while time.monotonic() < deadline:
        row = _ask(spool, question, series_instance_uid)
        if row and row[1] in ("delivered", "committed"):
            return str(row[0])
        if row and row[1] in ("failed", "refused"):
            sys.exit(f"the series is {row[1]}: {row[2]}")
        time.sleep(0.1)
    sys.exit("the series was not delivered in time")


def _analysis_seconds(spool: Path, series_id: str) -> float:
    question = (
        "SELECT max(CASE state WHEN 'delivering' THEN at END) - max(CASE state WHEN 'analyzing' THEN at END) "
        "FROM event WHERE series_id = ?"
    )
    return float(_ask(spool, question, series_id)[0])


def _ask(spool: Path, question: str, value: str) -> tuple[object, ...] | None:
    connection = sqlite3.connect(spool / LEDGER_NAME)
    try:
        return connection.execute(question, (value,)).fetchone()
    finally:
        connection.close()


def _ledger_bytes(spool: Path) -> int:
    """Size of the ledger for one of its series."""
    connection = sqlite3.connect(spool / LEDGER_NAME)
    try:
        pages, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
        return pages * size // connection.execute("SELECT count(*) FROM series").fetchone()[0]
    finally:
        connection.close()


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _print(measured: Sequence[Figures]) -> None:
    """The table in Markdown; of times the median, of memory the largest."""
    one = measured[-1]

    def median(name: str) -> float:
        return float(sorted(getattr(figures, name) for figures in measured)[len(measured) // 2])

    slices, cpu = one.slices, median("worker_cpu_seconds") + median("node_cpu_seconds")
    megabytes = one.disk_bytes / 1e6
    results = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in one.result_bytes.items())
    rows = [
        ("measured on", f"{processor()}, {os.cpu_count()} cores, {len(measured)} series of {slices} slices"),
        (
            "received",
            f"{slices / median('send_seconds'):.0f} slices/s, "
            f"{one.image_bytes / 1e6 / median('send_seconds'):.0f} MB/s on one association",
        ),
        ("images of a series on disk", f"{one.image_bytes / 1e6:.1f} MB"),
        ("results of a series on disk", f"{sum(one.result_bytes.values()) / 1e6:.1f} MB ({results})"),
        ("ledger, a series", f"{one.ledger_bytes / 1e6:.2f} MB"),
        ("from the last C-STORE to the delivered result", f"{median('answer_seconds'):.1f} s"),
        ("analysis of a series", f"{median('analysis_seconds'):.1f} s with {os.cpu_count()} cores"),
        (
            "processor time of a series",
            f"{cpu:.1f} s (worker {median('worker_cpu_seconds'):.1f} s, "
            f"node {median('node_cpu_seconds'):.1f} s)",
        ),
        ("memory of the node, peak", f"{max(f.node_peak_bytes for f in measured) / 1e6:.0f} MB"),
        ("memory of a worker, peak", f"{max(f.worker_peak_bytes for f in measured) / 1e6:.0f} MB"),
        ("series a GB of disk", f"{1000 / megabytes:.1f}"),
        ("series a day and core", f"{DAY_SECONDS / cpu:.0f}"),
        ("series a day, this machine", f"{DAY_SECONDS / median('analysis_seconds'):.0f} with one worker"),
        (
            f"days until {DISK_GB:g} GB are full",
            f"{DISK_GB * 1000 / megabytes / SERIES_A_DAY:.0f} at {SERIES_A_DAY} series a day",
        ),
    ]
    print("| what | figure |\n|---|---|")
    for what, figure in rows:
        print(f"| {what} | {figure} |")


if __name__ == "__main__":
    main()

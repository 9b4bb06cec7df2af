"""From the last C-STORE response to the results in the PACS, with and without work while slices arrive.

    python -m benchmarks.arrival [--ct DIR] [--paces 20 40 60] [--repetitions 1] [--quick] [--release 2.0]

Two nodes run on this machine, one with ``analysis.early``, one without, each with the same small PACS. A
phantom of 300 slices and the CT series below DIR are sent to each in turn at a scanner's pace, in three
orders, as new instances each time. Prints the seconds from the last response to the last result object, which
contain the node's waiting for late slices (``series.release_seconds``), and the ratio. Stops if a byte of the
results differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.uid import generate_uid

from benchmarks.paced import by_height, send_at_pace
from dicomnode.demo.node_process import AE_TITLE, NodeProcess
from dicomnode.demo.pacs import SmallPacs
from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, build_phantom, write_series
from dicomnode.segment.segmentation import Lobe

PATIENCE_SECONDS = 600.0
SLICES = 300
RESULTS = 2  # SEG and SR
ORDERS: dict[str, Callable[[list[Path]], list[Path]]] = {
    "feet to head": lambda paths: paths,
    "head to feet": lambda paths: paths[::-1],
    "shuffled": lambda paths: random.Random(1).sample(paths, len(paths)),
}


@dataclass(frozen=True)
class Side:
    """A running node and where its results go."""

    node: NodeProcess
    results: Path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ct", type=Path, help="folder with a CT series")
    parser.add_argument("--paces", type=float, nargs="+", default=[20.0, 40.0, 60.0], help="slices a second")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--release", type=float, default=2.0, help="series.release_seconds")
    parser.add_argument("--quick", action="store_true", help="one pace, no phantom if a CT is given")
    arguments = parser.parse_args()
    paces = arguments.paces[:1] if arguments.quick else arguments.paces
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        series = {}
        if not (arguments.quick and arguments.ct):
            print("building the phantom ...", file=sys.stderr)
            series[f"phantom, {SLICES} slices"] = phantom(folder / "phantom")
        if arguments.ct:
            paths = by_height([path for path in arguments.ct.rglob("*") if path.is_file()])
            series[f"{arguments.ct.name}, {len(paths)} slices"] = paths
        sides = [
            start(stack, folder / name, name == "early", arguments.release) for name in ("late", "early")
        ]
        for side in sides:  # each worker loads what it needs before anything is timed
            run(side, next(iter(series.values())), 200.0, folder / "warm", "1.2.3")
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seconds, release {arguments.release}\n"
        )
        print("| series | order | slices/s | from the end | early | ratio | analysis from the end | early |")
        print("|---|---|---|---|---|---|---|---|")
        for name, paths in series.items():
            for order, arrange in ORDERS.items():
                for pace in paces if order == "feet to head" else paces[-1:]:
                    print(row(name, order, arrange(paths), pace, sides, folder, arguments.repetitions))
                    sys.stdout.flush()


def row(
    name: str,
    order: str,
    paths: Sequence[Path],
    pace: float,
    sides: Sequence[Side],
    folder: Path,
    repetitions: int,
) -> str:
    """One line of the table; the sides take turns with the same instances."""
    tails: list[list[float]] = [[], []]
    analyses: list[list[float]] = [[], []]
    for repetition in range(repetitions):
        told = []
        root = f"2.25.{random.getrandbits(100)}"
        for number, side in enumerate(sides):
            tail, seconds, measured = run(side, paths, pace, folder / f"{repetition}", root)
            tails[number].append(tail)
            analyses[number].append(seconds)
            told.append(measured)
        if told[0] != told[1]:
            sys.exit(f"{name}, {order}: the results differ")
    late, early = (statistics.median(tail) for tail in tails)
    ratio = statistics.median(b / a for a, b in zip(*tails, strict=True))
    last, ahead = (statistics.median(seconds) for seconds in analyses)
    return (
        f"| {name} | {order} | {pace:g} | {late:.2f} | {early:.2f} | {ratio:.2f} | {last:.2f} | {ahead:.2f} |"
    )


def start(stack: ExitStack, folder: Path, early: bool, release: float) -> Side:
    """A node with a PACS of its own."""
    pacs = SmallPacs(folder / "results")
    pacs.start()
    stack.callback(pacs.stop)
    os.environ["DICOMNODE_ANALYSIS__EARLY"] = json.dumps(early)
    os.environ["DICOMNODE_SERIES__RELEASE_SECONDS"] = str(release)
    node = NodeProcess(folder, pacs.ae_title, pacs.port, device="cpu", quiet_seconds=10.0)
    node.start()
    stack.callback(node.stop)
    return Side(node, folder / "results")


def run(
    side: Side, paths: Sequence[Path], pace: float, folder: Path, root: str
) -> tuple[float, float, dict[str, bytes]]:
    """Send the series as new instances; seconds to its results, of analysis, and the results."""
    copies = renamed(paths, folder, root)
    had = set(side.results.rglob("*.dcm"))
    last = send_at_pace(copies, side.node.port, AE_TITLE, pace)
    deadline = last + PATIENCE_SECONDS
    while len(new := set(side.results.rglob("*.dcm")) - had) < RESULTS:
        if time.monotonic() > deadline:
            sys.exit(f"no result within {PATIENCE_SECONDS:g} s; the log ends: {side.node.last_line()}")
        time.sleep(0.01)
    tail = time.monotonic() - last
    return tail, analysis_seconds(side.node), {path.name: path.read_bytes() for path in new}


def analysis_seconds(node: NodeProcess) -> float:
    """What the log says of the last analysis."""
    lines = [line for line in node.log_path.read_text().splitlines() if "series analyzed" in line]
    return float(lines[-1].split("seconds=")[1].split()[0])


def renamed(paths: Sequence[Path], folder: Path, root: str) -> list[Path]:
    """Copies under UIDs that begin with ``root``."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for number, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{root}.1", f"{root}.2"
        dataset.SOPInstanceUID = f"{root}.3.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        copies.append(folder / f"{number:05}.dcm")
        dataset.save_as(copies[-1])
    return copies


def phantom(folder: Path) -> list[Path]:
    """A chest with pneumonia."""
    lesions = (
        LesionSpec(LesionKind.GGO, 180.0, Lobe.RIGHT_LOWER),
        LesionSpec(LesionKind.GGO, 120.0, Lobe.LEFT_LOWER),
        LesionSpec(LesionKind.CONSOLIDATION, 40.0, Lobe.RIGHT_LOWER),
    )
    spec = PhantomSpec.whole_lung((SLICES, 512, 512), seed=3, lesions=lesions)
    return by_height(write_series(build_phantom(spec), folder, series_instance_uid=generate_uid()))


if __name__ == "__main__":
    main()

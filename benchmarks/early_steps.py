"""Processor seconds that are left after the last slice, by how far early work had come.

    python -m benchmarks.early_steps --ct DIR [--model best]

One process, no network: what a worker computes for a series as far as the measurements, from its files; with
its slices decoded; with the lungs segmented before the last slices below and above them came. Processor
seconds depend little on what else the machine does, so this table holds on a busy one. It stops if a mask
differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.decoded import DecodedSlices
from dicomnode.early_work import STAGES_KEPT
from dicomnode.pipeline import Prepared, prepare_series
from dicomnode.segment.segmenter import Segmenter

MARGIN_SLICES = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ct", type=Path, required=True, help="folder with a CT series")
    parser.add_argument("--model", default="best")
    arguments = parser.parse_args()
    files = [path for path in arguments.ct.rglob("*") if path.is_file()]
    paths = [instance.path for instance in assemble_series(files).instances]
    segmenter = Segmenter.load(arguments.model, "cpu")
    prepare_series(paths, segmenter)  # libraries load and buffers grow
    print("| early work | slices | CPU s before | CPU s left | steps found again |")
    print("|---|---|---|---|---|")
    expected, left = timed(paths, segmenter, None)
    tell("none", len(paths), 0.0, left, 0)
    decoded = DecodedSlices()
    began = time.process_time()
    for path in paths:
        decoded.add(path)
    decoding = time.process_time() - began
    found, left = timed(paths, segmenter, decoded)
    compare(found, expected)
    tell("decoded", len(paths), decoding, left, 0)
    lung = np.flatnonzero((expected.segmentation.sides > 0).any(axis=(1, 2)))
    first, stop = max(int(lung[0]) - MARGIN_SLICES, 0), int(lung[-1]) + 1 + MARGIN_SLICES
    for name, early in (("first end first", paths[:stop]), ("last end first", paths[first:])):
        segmenter.memory.clear()
        segmenter.memory.capacity, segmenter.memory.found = STAGES_KEPT, 0
        _, before = timed(early, segmenter, decoded)
        found, left = timed(paths, segmenter, decoded)
        compare(found, expected)
        tell(f"lungs lie behind, {name}", len(early), decoding + before, left, segmenter.memory.found)
    tell("all, while the node waits for late slices", len(paths), decoding + left, 0.0, 0)


def timed(paths: list[Path], segmenter: Segmenter, decoded: DecodedSlices | None) -> tuple[Prepared, float]:
    """The series as far as the measurements, and its processor seconds."""
    began = time.process_time()
    prepared = prepare_series(paths, segmenter, decoded=decoded)
    return prepared, time.process_time() - began


def compare(found: Prepared, expected: Prepared) -> None:
    """Stop if any voxel differs."""
    for name in ("labels", "sides", "lobes"):
        if not np.array_equal(getattr(found.segmentation, name), getattr(expected.segmentation, name)):
            sys.exit(f"{name} differ")


def tell(name: str, slices: int, before: float, left: float, again: int) -> None:
    """One line of the table."""
    print(f"| {name} | {slices} | {before:.1f} | {left:.1f} | {again} |", flush=True)


if __name__ == "__main__":
    main()

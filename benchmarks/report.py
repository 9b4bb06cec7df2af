"""What the report of a series takes beside highdicom: seconds and peak memory.

    python -m benchmarks.report [--quick] [--slices 400] [--repetitions 3]

Builds a phantom chest with lungs, lobes and lesions, writes it as a CT series, and lets each side write its
objects in processes of its own, alternating: the binary SEG (ours; highdicom on the stack of masks), the SR
(ours; highdicom's templates, with three measurements a segment where ours has all), and what only we make
(overview page, secondary capture, all together). Memory is the peak above what masks and headers take. Prints
medians.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from benchmarks.end_to_end_analysis import numbers_of
from benchmarks.end_to_end_analysis import write_sr as write_sr_with_highdicom
from benchmarks.highdicom_seg import build_with_highdicom, sources_of
from benchmarks.processes import forget_peaks, peak_bytes, resident_bytes
from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.volume import Volume
from dicomnode.demo.phantom_ct import SPEC
from dicomnode.measure.measurements import Measurements
from dicomnode.phantom import PhantomSpec, build_phantom, write_series
from dicomnode.pipeline import measure_volume
from dicomnode.report.header import ObjectUids, SeriesReference
from dicomnode.report.identity import Identity, read_header
from dicomnode.report.overview import write_overview
from dicomnode.report.provenance import Provenance
from dicomnode.report.results import build_results
from dicomnode.report.seg import SEGMENTATION_STORAGE, write_seg
from dicomnode.report.segments import Segment, segments_of
from dicomnode.report.sr import COMPREHENSIVE_3D_SR, write_sr
from dicomnode.segment.segmentation import ModelIdentity, Segmentation

MODEL = ModelIdentity("truth", "1", "ab" * 32)
PROVENANCE = Provenance("dicomnode", MODEL.name, "1", "ab" * 32, "cd" * 32, "ef" * 32, "cpu")
NOT_AMONG_NINE = ("right", "left")
QUICK_SECONDS = 2.0
TIMES = 3
SIDES = ("SEG, dicomnode", "SEG, highdicom", "SR, dicomnode", "SR, highdicom", "overview", "all, dicomnode")


@dataclass(frozen=True, eq=False)
class Bench:
    """A measured series and a folder to write to."""

    volume: Volume
    segmentation: Segmentation
    measurements: Measurements
    out: Path

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Both lungs, five lobes, three kinds of lesion."""
        return tuple(one for one in segments_of(self.segmentation) if one.key not in NOT_AMONG_NINE)

    @cached_property
    def tracking(self) -> list[str]:
        """A UID for each."""
        return [generate_uid() for _ in self.segments]

    @cached_property
    def identity(self) -> Identity:
        """Of the source."""
        return Identity.from_source(read_header(self.volume.instances[0].path))

    @cached_property
    def sources(self) -> list[Dataset]:
        """Headers for highdicom."""
        return sources_of(self.volume)

    def seg(self) -> None:
        """Ours."""
        write_seg(
            self.out / "seg.dcm",
            self.volume,
            self.segmentation,
            self.segments,
            uids=_uids(SEGMENTATION_STORAGE),
            tracking=self.tracking,
            identity=self.identity,
            compression=Dataset(),
            software=("dicomnode",),
        )

    def seg_by_highdicom(self) -> None:
        """Theirs, from the stack of masks to the file."""
        seg = build_with_highdicom(
            self.volume,
            self.segmentation,
            self.segments,
            uids=_uids(SEGMENTATION_STORAGE),
            tracking=self.tracking,
            series_number=391,
            software=("dicomnode",),
            sources=self.sources,
        )
        seg.save_as(self.out / "seg.dcm")

    def sr(self) -> None:
        """Ours."""
        instances = tuple((one.sop_class_uid, one.sop_instance_uid) for one in self.volume.instances)
        write_sr(
            self.out / "sr.dcm",
            self.measurements,
            self.segments,
            uids=_uids(COMPREHENSIVE_3D_SR),
            seg=_uids(SEGMENTATION_STORAGE),
            tracking=self.tracking,
            source=SeriesReference(self.volume.series_instance_uid, instances),
            identity=self.identity,
            provenance=PROVENANCE,
            software=("dicomnode",),
        )

    @cached_property
    def small_seg(self) -> Dataset:
        """What highdicom's report refers to."""
        header = deepcopy(self.sources[0])
        header.SOPClassUID, header.SOPInstanceUID = SEGMENTATION_STORAGE, generate_uid()
        header.SeriesInstanceUID = generate_uid()
        return header

    def sr_by_highdicom(self) -> None:
        """Theirs."""
        path = self.out / "sr.dcm"
        write_sr_with_highdicom(self.sources, self.small_seg, self.segments, self.numbers, path)

    @cached_property
    def numbers(self) -> dict[str, tuple[float, float, float]]:
        """Three a segment."""
        return numbers_of(self.volume, self.segmentation)

    def overview(self) -> None:
        """The page of pictures and numbers."""
        write_overview(self.volume, self.segmentation, self.measurements, self.out / "overview.png")

    def everything(self) -> None:
        """The whole step: overview, SEG, SR and secondary capture, read back and compared with the source."""
        parts = self.volume, self.segmentation, self.measurements
        with ThreadPoolExecutor(1) as beside:
            page = beside.submit(write_overview, *parts, self.out / "overview.png")
            build_results(*parts, PROVENANCE, page.result, self.out)

    def work(self, side: str) -> Callable[[], None]:
        """What a side does, its input at hand."""
        of_side = (
            self.seg,
            self.seg_by_highdicom,
            self.sr,
            self.sr_by_highdicom,
            self.overview,
            self.everything,
        )
        _ = self.segments, self.tracking, self.identity
        if "highdicom" in side:
            _ = self.sources, self.small_seg, self.numbers
        return dict(zip(SIDES, of_side, strict=True))[side]


def main() -> None:
    """Build, let each side write in turn, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="60 slices of 256 x 256, once")
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        _run(arguments.side, arguments.state)
        return
    shape = (60, 256, 256) if arguments.quick else (arguments.slices, 512, 512)
    found: dict[str, list[tuple[float, int]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        state = _prepare(shape, Path(folder))
        load = os.getloadavg()[0]
        for _ in range(1 if arguments.quick else arguments.repetitions):
            for side in SIDES:
                found[side].append(_ask(side, state))
    _print(shape, found, load)


def _prepare(shape: tuple[int, int, int], folder: Path) -> Path:
    """The measured phantom in a file."""
    print("building a phantom chest ...", file=sys.stderr)
    truth = build_phantom(PhantomSpec.whole_lung(shape, seed=3, lesions=SPEC.lesions))
    volume = assemble_series(write_series(truth, folder / "ct"))
    segmentation = Segmentation(truth.labels, truth.sides, truth.lobes, MODEL)
    measurements = measure_volume(volume, segmentation)
    state = folder / "state"
    with state.open("wb") as file:
        pickle.dump(Bench(volume, segmentation, measurements, folder), file, protocol=5)
    return state


def _ask(side: str, state: Path) -> tuple[float, int]:
    """Seconds and bytes of a side, in a process of its own."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.report",
        "--side",
        side,
        "--state",
        str(state),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    return float(said["seconds"]), int(said["bytes"])


def _run(side: str, state: Path) -> None:
    """One side; what is quick is repeated, and the median counts."""
    with state.open("rb") as file:
        bench: Bench = pickle.load(file)
    work = bench.work(side)
    own = os.getpid()
    forget_peaks([own])
    before, taken = resident_bytes(own), []
    while not taken or (len(taken) < TIMES and taken[0] < QUICK_SECONDS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    print(json.dumps({"seconds": statistics.median(taken), "bytes": peak_bytes(own) - before}))


def _uids(sop_class: str) -> ObjectUids:
    return ObjectUids(sop_class, generate_uid(), generate_uid())


def _print(shape: tuple[int, int, int], found: dict[str, list[tuple[float, int]]], load: float) -> None:
    medians = {side: tuple(np.median(figures, axis=0)) for side, figures in found.items()}
    print(f"{' x '.join(map(str, shape))}, 9 segments, load {load:.1f} at the start\n")
    print("| what | seconds | ratio | peak MB | ratio |\n|---|---|---|---|---|")
    for side, (seconds, size) in medians.items():
        own_seconds, own_size = medians.get(side.replace("highdicom", "dicomnode"), (seconds, size))
        print(
            f"| {side} | {seconds:.3f} | {seconds / own_seconds:.1f} | {size / 1e6:.0f} "
            f"| {size / max(own_size, 1):.1f} |"
        )


if __name__ == "__main__":
    main()

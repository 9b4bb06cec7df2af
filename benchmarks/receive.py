"""How fast the front door receives, beside dcmtk's storescp; prints the table of docs/performance.md.

    python -m benchmarks.receive [--quick] [--rounds 5] [--directory FOLDER]

CT slices of 512 x 512 and 16 bits of noise are sent over the loopback by dcmtk's storescu, whose processes
share them. Each round starts every receiver anew with an empty folder, one after the other, so that what else
the machine does meets all of them. The node answers Success when slice and ledger row are synced; storescp
never syncs. Needs dcmtk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks.processes import cpu_seconds, dcmtk, peak_bytes

NO_DELAY = {"TCP_NODELAY": "1"}
"""dcmtk leaves Nagle's algorithm on without it."""

_NODE = "the node"
_PACKAGED = "storescp as packaged"
_STORESCP_128K = "storescp 128K"


@dataclass(frozen=True)
class Receiver:
    """``arguments`` of storescp; ``None`` for the node."""

    name: str
    arguments: tuple[str, ...] | None
    no_delay: bool = True


@dataclass(frozen=True)
class Load:
    """Who sends how much to whom; ratios are to the first receiver but the node."""

    name: str
    associations: int
    no_delay: bool
    slices: int
    rounds: int
    peers: tuple[Receiver, ...]


@dataclass(frozen=True)
class Run:
    """One receiver under one load."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    failed: int


_NODE_RECEIVER = Receiver(_NODE, None)
_128K = Receiver(_STORESCP_128K, ("--max-pdu", "131072"))
_PRESERVING = Receiver("storescp +B 128K", ("--max-pdu", "131072", "+B"))
_FORK = Receiver("storescp --fork 128K", ("--max-pdu", "131072", "--fork"))
_AS_PACKAGED = Receiver(_PACKAGED, (), no_delay=False)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How fast the node receives, beside storescp.")
    parser.add_argument("--quick", action="store_true", help="one round with fewer slices")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="a folder on the disk of the spool")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        slices = write_slices(Path(folder) / "slices", 100 if arguments.quick else 300)
        print(
            f"{len(slices)} slices of {slices[0].stat().st_size} bytes, {os.cpu_count()} processors, ", end=""
        )
        print(f"load before {os.getloadavg()[0]:.1f}\n")
        print("| load | receiver | slices/s | to the first peer | CPU ms a slice | peak MB | failed |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for load in loads(len(slices), rounds):
            measure(load, slices, Path(folder))
        print(f"\nload after {os.getloadavg()[0]:.1f}")


def loads(count: int, rounds: int) -> Iterator[Load]:
    """What is measured."""
    few = max(1, min(2, rounds))
    yield Load("1 association, no delay", 1, True, count, rounds, (_128K, _PRESERVING))
    for associations in (4, 8):
        yield Load(f"{associations} associations, no delay", associations, True, count, rounds, (_FORK,))
    yield Load("64 associations, no delay", 64, True, max(128, count), few, (_FORK,))
    yield Load("1 association, plain storescu", 1, False, count // 5, few, (_AS_PACKAGED,))


def write_slices(folder: Path, count: int) -> list[Path]:
    """A CT series in Explicit VR Little Endian."""
    folder.mkdir()
    study, series = generate_uid(), generate_uid()
    random = np.random.default_rng(1)
    paths = []
    for number in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ct = FileDataset(None, {}, preamble=bytes(128), file_meta=meta)
        ct.SOPClassUID, ct.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ct.StudyInstanceUID, ct.SeriesInstanceUID = study, series
        ct.PatientName, ct.PatientID, ct.Modality = "Noise^Chest", "NOISE", "CT"
        ct.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ct.InstanceNumber, ct.SliceThickness = number + 1, 1.0
        ct.ImagePositionPatient, ct.ImageOrientationPatient = [0, 0, float(number)], [1, 0, 0, 0, 1, 0]
        ct.PixelSpacing, ct.RescaleIntercept, ct.RescaleSlope = [0.7, 0.7], -1024, 1
        ct.Rows = ct.Columns = 512
        ct.BitsAllocated, ct.BitsStored, ct.HighBit, ct.PixelRepresentation = 16, 16, 15, 0
        ct.SamplesPerPixel, ct.PhotometricInterpretation = 1, "MONOCHROME2"
        ct.PixelData = random.integers(0, 1 << 12, (512, 512), dtype=np.uint16).tobytes()
        paths.append(folder / f"{number:04}.dcm")
        ct.save_as(paths[-1], enforce_file_format=True)
    return paths


def measure(load: Load, slices: Sequence[Path], folder: Path) -> None:
    """All receivers of a load in turns; one row each."""
    receivers = (*load.peers, _NODE_RECEIVER)
    share = [slices[number % len(slices)] for number in range(load.slices)]
    runs: dict[str, list[Run]] = defaultdict(list)
    for _ in range(load.rounds):
        for receiver in receivers:
            runs[receiver.name].append(run(receiver, load, share, folder))
    first = load.peers[0].name
    for receiver in receivers:
        own = runs[receiver.name]
        ratio = statistics.median(a.seconds / b.seconds for a, b in zip(runs[first], own, strict=True))
        print(
            f"| {load.name} | {receiver.name} "
            f"| {load.slices / statistics.median(one.seconds for one in own):.0f} | {ratio:.2f} "
            f"| {1e3 * statistics.median(one.cpu_seconds for one in own) / load.slices:.2f} "
            f"| {max(one.peak_mb for one in own):.0f} | {sum(one.failed for one in own)} |",
            flush=True,
        )


def run(receiver: Receiver, load: Load, slices: Sequence[Path], folder: Path) -> Run:
    """Start the receiver, send, and stop it."""
    received = folder / "received"
    received.mkdir()
    try:
        with (_node if receiver.arguments is None else _storescp)(receiver, received) as (process, port):
            environment = os.environ | (NO_DELAY if load.no_delay else {})
            cpu = cpu_seconds(process.pid)
            begin = time.perf_counter()
            senders = [
                subprocess.Popen(
                    [dcmtk("storescu"), "-aec", "DICOMNODE", "127.0.0.1", str(port), *map(str, share)],
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                for share in (slices[start :: load.associations] for start in range(load.associations))
                if share
            ]
            failed = sum(sender.wait() != 0 for sender in senders)
            seconds = time.perf_counter() - begin
            return Run(seconds, cpu_seconds(process.pid) - cpu, peak_bytes(process.pid) / 1e6, failed)
    finally:
        shutil.rmtree(received)


@contextmanager
def _node(_: Receiver, received: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    settings = '{"max_associations": 64}'
    with (
        (received.parent / "node.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.receive_node", str(received), settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.communicate("")


@contextmanager
def _storescp(receiver: Receiver, received: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [dcmtk("storescp"), "-od", str(received), *(receiver.arguments or ()), str(port)]
    environment = os.environ | (NO_DELAY if receiver.no_delay else {})
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        yield process, port
        process.kill()


if __name__ == "__main__":
    main()

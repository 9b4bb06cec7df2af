"""How fast files become a volume in Hounsfield units, beside a loop over pydicom.

    python -m benchmarks.assemble [--slices 300] [--repetitions 5] [--quick] [--ct DIR]

Writes a noisy chest of 512 x 512 slices in several transfer syntaxes (or takes the CT series below DIR as it
is) and reads each by every method in turn. The pydicom loop is what most scripts do: read each file, take
``pixel_array``, rescale, sort by position, stack. Files are in the page cache. Prints medians and ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from dicomnode.assemble import decoders
from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.series import find_series

SIDE = 512
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless, JPEG2000Lossless)
Method = Callable[[Sequence[Path]], NDArray[Any]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="60 slices, three repetitions")
    parser.add_argument("--ct", type=Path, help="also the CT series below this folder, as they are")
    arguments = parser.parse_args()
    slices, repetitions = (60, 3) if arguments.quick else (arguments.slices, arguments.repetitions)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seconds, median of {repetitions}\n")
    print("| series | pydicom loop | without imagecodecs | assembled | ratio to the loop | ms a slice |")
    print("|---|---|---|---|---|---|")
    with ExitStack() as stack:
        for syntax in SYNTAXES:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            count = slices if not syntax.is_compressed else min(slices, 60)
            print(row(f"{count} x {SIDE} x {SIDE}, {syntax.name}", write(folder, count, syntax), repetitions))
        for series in find_series(arguments.ct).series if arguments.ct else ():
            name = pydicom.dcmread(series.paths[0], stop_before_pixels=True).file_meta.TransferSyntaxUID.name
            print(row(f"{len(series.paths)} of {arguments.ct.name}, {name}", series.paths, repetitions))


def row(name: str, paths: Sequence[Path], repetitions: int) -> str:
    """One line of the table; the methods take turns."""
    methods: tuple[Method, ...] = (by_pydicom, without_imagecodecs, assembled)
    volumes = [method(paths) for method in methods]
    assert all(np.array_equal(volumes[0], volume) for volume in volumes[1:]), name
    del volumes
    seconds: list[list[float]] = [[] for _ in methods]
    for _ in range(repetitions):
        for method, taken in zip(methods, seconds, strict=True):
            began = time.perf_counter()
            method(paths)
            taken.append(time.perf_counter() - began)
    loop, plain, ours = (statistics.median(taken) for taken in seconds)
    ratio = statistics.median(a / b for a, b in zip(seconds[0], seconds[2], strict=True))
    return (
        f"| {name} | {loop:.3f} | {plain:.3f} | {ours:.3f} | {ratio:.1f} | {1000 * ours / len(paths):.2f} |"
    )


def by_pydicom(paths: Sequence[Path]) -> NDArray[Any]:
    """The usual loop, to the same clipped Hounsfield units."""
    found = []
    for path in paths:
        dataset = pydicom.dcmread(path)
        hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        found.append((float(dataset.ImagePositionPatient[2]), np.maximum(hu, -1024).astype(np.int16)))
    return np.stack([hu for _, hu in sorted(found, key=lambda slice_: slice_[0])])


def without_imagecodecs(paths: Sequence[Path]) -> NDArray[Any]:
    """The assembled volume with the decoders that the quick one falls back to."""
    with mock.patch.object(decoders, "quick_decode", return_value=None):
        return assemble_series(paths).hu


def assembled(paths: Sequence[Path]) -> NDArray[Any]:
    """As the node does it."""
    return assemble_series(paths).hu


def write(folder: Path, count: int, syntax: UID) -> list[Path]:
    """A cylinder of tissue with two holes of lung in noise, as instances of one series."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    body, lungs = np.hypot(x / 0.42, y / 0.3) < 1, np.hypot((np.abs(x) - 0.17) / 0.12, y / 0.2) < 1
    mean = np.where(lungs, -850.0, np.where(body, 40.0, -1000.0))
    generator = np.random.default_rng(1)
    study, series = generate_uid(), generate_uid()
    paths = []
    for index in range(count):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.FrameOfReferenceUID = study
        dataset.ImagePositionPatient = [-180.0, -180.0, -150.0 + index]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [0.703, 0.703], 1.0
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
        dataset.Rows = dataset.Columns = SIDE
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation = 0
        hu = mean + generator.normal(0, 20, mean.shape)
        dataset.PixelData = np.clip(np.rint(hu) + 1024, 0, 4095).astype(np.uint16).tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if syntax.is_compressed:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
        paths.append(folder / f"{index:04}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


if __name__ == "__main__":
    main()

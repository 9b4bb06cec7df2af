"""What pictures, document and presentation of a result cost: files, bytes, processor time, memory.

    python -m benchmarks.pictures [--ct DIR] [--model best] [--device cpu]

Builds a phantom chest (or takes the largest CT series below DIR), finds its masks once, and makes each kind
of result in a process of its own. Processor time is that beyond SEG, SR and the page; memory is what the peak
grows by while the kind is made. Prints the table of docs/operations.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

from pydicom.dataset import Dataset

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.series import find_series
from dicomnode.assemble.volume import Volume
from dicomnode.demo.phantom_ct import write_phantom_ct
from dicomnode.pipeline import measure_volume, provenance_of
from dicomnode.report.further_results import Origin, write_further_results
from dicomnode.report.header import SeriesReference
from dicomnode.report.identity import Identity, read_header
from dicomnode.report.overview import write_overview
from dicomnode.report.provenance import Provenance
from dicomnode.report.result_set import FurtherResults
from dicomnode.segment.segmentation import Segmentation
from dicomnode.segment.segmenter import Segmenter

KINDS = (("overlay", False), ("overlay", True), ("pdf", False), ("ko", False), ("gsps", False))
Row = tuple[int, float, float, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ct", type=Path)
    parser.add_argument("--model", default="best")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.ct is None:
            write_phantom_ct(folder / "ct", lambda stage, fraction: None)
        series = max(find_series(arguments.ct or folder / "ct"), key=lambda one: len(one.paths))
        volume = assemble_series(series.paths)
        segmenter = Segmenter.load(arguments.model, arguments.device)
        segmentation = segmenter.segment(volume, lambda stage, fraction: None)
        provenance = provenance_of(volume, segmentation, segmenter, "0" * 64)
        slices, rows, columns = volume.hu.shape
        with_lung = int(segmentation.labels.any(axis=(1, 2)).sum())
        print(f"{slices} slices of {rows} x {columns}, {with_lung} with lung\n")
        print("| kind | objects | MB | processor time | memory |")
        print("|---|---|---|---|---|")
        context = multiprocessing.get_context("fork")
        for kind, multiframe in KINDS:
            with context.Pool(1) as pool:
                further = FurtherResults.of([kind], multiframe)
                count, megabytes, seconds, grown = pool.apply(
                    _make, (volume, segmentation, provenance, further, folder)
                )
            form = f" ({'multiframe' if multiframe else 'single'})" if kind == "overlay" else ""
            print(f"| `{kind}`{form} | {count} | {megabytes:.2f} | {seconds:.2f} s | {grown:.0f} MB |")


def _make(
    volume: Volume, segmentation: Segmentation, provenance: Provenance, further: FurtherResults, folder: Path
) -> Row:
    """Files, MB, processor seconds and MB of memory of one kind."""
    measurements = measure_volume(volume, segmentation)
    page = write_overview(volume, segmentation, measurements, folder / "overview.png")
    identity = Identity.from_source(read_header(volume.instances[0].path))
    source = SeriesReference(
        volume.series_instance_uid, tuple((i.sop_class_uid, i.sop_instance_uid) for i in volume.instances)
    )
    origin = Origin((volume.series_instance_uid,), identity, source, ["benchmark"], Dataset())
    before, began = _peak_mb(), time.process_time()
    files = write_further_results(
        folder, further, volume, segmentation, measurements, provenance, page, origin
    )
    seconds = time.process_time() - began
    size = sum(file.path.stat().st_size for file in files) / 1e6
    return len(files), size, seconds, _peak_mb() - before


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

"""How far the measures are from the truth on phantoms: classical lungs with true lesions, and with the model.

    python benchmarks/phantom_accuracy.py [--model medip_unet2d] [--seeds 3] [--rows 320]

Prints one row a phantom and measure: the truth, what classical lungs with the true lesion mask give, what the
model gives, and both errors in percent. The model's error beyond the first column is what it adds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from dicomnode.assemble.assemble import assemble_series
from dicomnode.phantom import LesionKind, LesionSpec, Phantom, PhantomSpec, build_phantom, write_series
from dicomnode.pipeline import measure_volume
from dicomnode.segment.segmentation import Label, Lobe, Segmentation
from dicomnode.segment.segmenter import Segmenter

MEASURES = (
    "lung_volume_ml",
    "lesion_volume_ml",
    "ggo_volume_ml",
    "consolidation_volume_ml",
    "lesion_weight_g",
)
LESIONS = (
    LesionSpec(LesionKind.GGO, 150.0, Lobe.RIGHT_LOWER),
    LesionSpec(LesionKind.GGO, 60.0, Lobe.LEFT_UPPER),
    LesionSpec(LesionKind.CONSOLIDATION, 40.0, Lobe.LEFT_LOWER),
)


def main() -> None:
    """Measure every phantom and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="medip_unet2d")
    parser.add_argument("--seeds", type=int, default=3, help="number of phantoms (default: 3)")
    parser.add_argument("--rows", type=int, default=320, help="matrix of a slice (default: 320)")
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.model)
    table = Table("Phantom", "Measure", "Truth", "True lesions", "Error %", "Model", "Error %")
    table.columns[1].no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    for seed in range(arguments.seeds):
        spec = PhantomSpec.whole_lung((125, arguments.rows, arguments.rows), seed=seed, lesions=LESIONS)
        add_rows(table, seed, build_phantom(spec), segmenter)
        table.add_section()
    Console().print(table)


def add_rows(table: Table, seed: int, phantom: Phantom, segmenter: Segmenter) -> None:
    """One phantom, written as DICOM and measured twice."""
    with tempfile.TemporaryDirectory() as directory:
        volume = assemble_series(write_series(phantom, Path(directory)))
    by_model = segmenter.segment(volume)
    both = [
        measure_volume(volume, segmentation).to_json()
        for segmentation in (with_true_lesions(by_model, phantom), by_model)
    ]
    for name in MEASURES:
        true = float(phantom.truth[name])
        cells = [f"{true:.1f}"]
        for measured in both:
            cells += [f"{measured[name]:.1f}", f"{100 * (measured[name] - true) / true:+.1f}"]
        table.add_row(str(seed), name, *cells)


def with_true_lesions(found: Segmentation, phantom: Phantom) -> Segmentation:
    """The lungs that were found together with the phantom's own lesions, which are lung by definition."""
    lesion = phantom.labels > Label.NORMAL_LUNG
    sides = found.sides.copy()
    sides[lesion] = phantom.sides[lesion]
    labels = np.where(sides > 0, np.uint8(Label.NORMAL_LUNG), np.uint8(Label.BACKGROUND))
    labels[lesion] = phantom.labels[lesion]
    return Segmentation(labels, sides, found.lobes, found.model, found.flags)


if __name__ == "__main__":
    main()

"""From how much lesion on a lobe or region is involved: what the model finds where there is none, and misses.

``python -m benchmarks.involvement --data DATA`` prints, for several thresholds, how many lobes and regions of
lungs without disease count as involved (chests and phantoms whose lungs look free), and of the held-out
patients of ``models/best/held_out.csv`` how many pieces of the size of a region count wrongly, either way.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.robust_cases import Scan, read_patient, write_scan
from dicomnode.assemble.assemble import assemble_series
from dicomnode.measure.measurements import Measurements
from dicomnode.phantom import PatientPosition, PhantomSpec, build_phantom
from dicomnode.pipeline import measure_volume
from dicomnode.segment.segmenter import Segmenter
from dicomnode.train.error_fit import LUNGS_ML
from dicomnode.train.held_out import LOBE, REGION, Part, read_parts
from dicomnode.train.volumes import load_volumes

THRESHOLDS = ((0.1, 0.0), (0.5, 0.2), (1.0, 0.0), (1.0, 0.5), (2.0, 0.5), (2.0, 1.0), (5.0, 2.0))
"""mL and % of the piece."""

TRUE_ML = 0.1
"""A reader's lesion of this size is one."""


@dataclass(frozen=True)
class Healthy:
    """(mL, %) found in each lobe and region of lungs without disease."""

    name: str
    lobes: tuple[tuple[float, float], ...]
    regions: tuple[tuple[float, float], ...]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--model", default="best")
    parser.add_argument("--table", type=Path, default=Path("models/best/held_out.csv"))
    arguments = parser.parse_args()
    segmenter = Segmenter.load(arguments.model, "cpu")
    chests = [measured(name, scan, segmenter) for name, scan in healthy_chests(arguments.data)]
    heads = " | ".join(f"{ml:g} mL, {percent:g} %" for ml, percent in THRESHOLDS)
    print(f"| lungs without disease: involved of 5 lobes / 20 regions | {heads} |")
    print("|" + " --- |" * (len(THRESHOLDS) + 1))
    for chest in chests:
        cells = (f"{count(chest.lobes, *t)} / {count(chest.regions, *t)}" for t in THRESHOLDS)
        print(f"| {chest.name} | {' | '.join(cells)} |")
    for size in (LOBE, REGION) if arguments.table.exists() else ():
        print_patients([part for part in read_parts(arguments.table) if part.size == size], size)


def healthy_chests(data: Path) -> Iterator[tuple[str, Scan]]:
    """Real chests whose lungs look free of disease, and phantoms without lesions."""
    yield "cip_ct64_chest, 4 x 4.2 mm", read_patient(data / "cip_ct64_chest")
    for case in load_volumes(data / "imlab_chest_ct"):
        spacing = " x ".join(f"{mm:.1f}" for mm in case.spacing_mm[:2])
        yield f"imlab_chest_ct {case.name.split('-')[0]}, {spacing} mm", Scan(case.hu, case.spacing_mm)
    for shape in ((250, 256, 256), (120, 256, 256), (60, 256, 256), (60, 128, 128)):
        for seed in (0, 1, 2):
            phantom = build_phantom(PhantomSpec.whole_lung(shape, seed=seed))
            spacing = " x ".join(f"{mm:.1f}" for mm in phantom.spec.spacing_mm[:2])
            yield f"phantom {seed}, {spacing} mm", Scan(phantom.hu, phantom.spec.spacing_mm)


def measured(name: str, scan: Scan, segmenter: Segmenter) -> Healthy:
    """What the model finds in each part."""
    with TemporaryDirectory() as folder:
        volume = assemble_series(write_scan(scan, Path(folder), 1, PatientPosition.HFS))
    found: Measurements = measure_volume(volume, segmenter.segment(volume))
    assert found.scores is not None
    parts = [
        tuple((part.lesion_volume_ml, part.lesion_extent_percent) for part in kind.values())
        for kind in (found.lobes, found.scores.regions)
    ]
    return Healthy(name, *parts)


def count(parts: Sequence[tuple[float, float]], least_ml: float, least_percent: float) -> int:
    """How many parts reach both thresholds."""
    return sum(ml >= least_ml and percent >= least_percent for ml, percent in parts)


def print_patients(parts: Sequence[Part], size: str) -> None:
    """How pieces of held-out patients count, against the experts."""
    names = sorted({part.case for part in parts if part.kind == "patient"})
    whole = {name: sum(part.lung_ml for part in parts if part.case == name) for name in names}
    kept = [part for part in parts if part.case in whole and part.lung_ml]
    scale = np.array([LUNGS_ML / whole[part.case] for part in kept])
    lung, true, found = (
        np.array([getattr(part, field) for part in kept]) * scale
        for field in ("lung_ml", "true_ml", "found_ml")
    )
    free = true < TRUE_ML
    print(f"\n{len(kept)} pieces of the size of a {size} of {len(names)} patients, {free.sum()} free:")
    heads = ("threshold", "free ones that count", "ill ones that don't", "all by the experts", "by the model")
    print(f"| {' | '.join(heads)} |\n|" + " --- |" * len(heads))
    for ml, percent in THRESHOLDS:
        model, expert = ((volume >= ml) & (100 * volume / lung >= percent) for volume in (found, true))
        print(
            f"| {ml:g} mL, {percent:g} % | {(model & free).sum()} | {(~model & ~free).sum()} | "
            f"{expert.sum()} | {model.sum()} |"
        )


if __name__ == "__main__":
    main()

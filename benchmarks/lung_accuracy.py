"""What of consolidated lung stays inside the lungs of phantoms, without and with the network.

    python benchmarks/lung_accuracy.py [--seeds 3] [--rows 160]

Prints one row a phantom: the Dice of both lungs, the share of the consolidation that the lungs hold, and what
of their volume is none. Phantoms with seeds below 998 were not trained on.
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table

from dicomnode.phantom import LesionKind, LesionSpec, Phantom, PhantomSpec, build_phantom
from dicomnode.segment.lung_card import installed_lung_card
from dicomnode.segment.lung_network import LungNetwork
from dicomnode.segment.lungs import LungMasks, find_lungs
from dicomnode.segment.segmentation import Label, Lobe

CASES = {
    "none": (),
    "40 mL left": ((40.0, Lobe.LEFT_LOWER),),
    "150 mL right": ((150.0, Lobe.RIGHT_LOWER),),
    "300 mL right": ((300.0, Lobe.RIGHT_LOWER),),
    "300 mL on both sides": ((300.0, Lobe.RIGHT_LOWER), (300.0, Lobe.LEFT_LOWER)),
}
HEADINGS = (
    "Phantom",
    "Consolidation",
    "Dice",
    "with",
    "Kept %",
    "with",
    "Extra mL",
    "with",
    "Flags with the network",
)


def main() -> None:
    """Measure every phantom and print the table; each second figure is that with the network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of phantoms (default: 3)")
    parser.add_argument("--rows", type=int, default=160, help="matrix of a slice (default: 160)")
    arguments = parser.parse_args()
    card = installed_lung_card()
    if card is None:
        parser.error("no model of lungs is installed")
    network = LungNetwork(card)
    table = Table(*HEADINGS)
    for seed in range(arguments.seeds):
        for name, wanted in CASES.items():
            lesions = tuple(LesionSpec(LesionKind.CONSOLIDATION, ml, lobe) for ml, lobe in wanted)
            matrix = (104, arguments.rows, arguments.rows)
            phantom = build_phantom(PhantomSpec.whole_lung(matrix, seed=seed, lesions=lesions))
            both = [
                find_lungs(phantom.hu, phantom.spec.spacing_mm, network=chosen) for chosen in (None, network)
            ]
            pairs = zip(*(figures(masks, phantom) for masks in both), strict=True)
            flags = ", ".join(both[1].flags)
            table.add_row(str(seed), name, *(cell for pair in pairs for cell in pair), flags)
    Console(width=140).print(table)


def figures(masks: LungMasks, phantom: Phantom) -> tuple[str, str, str]:
    """Dice of both lungs, percent of the consolidation kept, mL that are no lung."""
    found, truth = masks.sides > 0, phantom.sides > 0
    dense = phantom.labels == Label.CONSOLIDATION
    dice = 2 * np.count_nonzero(found & truth) / (np.count_nonzero(found) + np.count_nonzero(truth))
    kept = f"{100 * float(found[dense].mean()):.1f}" if dense.any() else "-"
    return f"{dice:.4f}", kept, f"{np.count_nonzero(found & ~truth) * phantom.spec.voxel_ml:.0f}"


if __name__ == "__main__":
    main()

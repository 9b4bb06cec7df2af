"""Builds the normal reference of the HU histogram: ``python -m dicomnode.train.normal_lung --data DIR``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from dicomnode.measure.distribution import BIN_HU, HIGHEST_HU, LOWEST_HU, REFERENCE_FILE, lung_histogram

ORIGIN = (
    "Mean of the lung histograms of two whole chest CTs (imlab_chest_ct, 3 x 3 x 5 mm, with lung masks; "
    "licence not stated, the people not known to be healthy). Two are few: distances to it compare scans of "
    "one scanner and protocol with each other; their size alone says little."
)


def main() -> None:
    """Write the reference file from the chests with lung masks below ``--data``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds imlab_chest_ct")
    arguments = parser.parse_args()
    cases = sorted((arguments.data / "imlab_chest_ct").glob("*x64.nii.gz"))
    if not cases:
        parser.error(f"no chest CT below {arguments.data / 'imlab_chest_ct'}")
    probability = np.mean([lung_histogram(_lung_hu(case)) for case in cases], axis=0)
    content = {
        "origin": ORIGIN,
        "lowest_hu": LOWEST_HU,
        "highest_hu": HIGHEST_HU,
        "bin_hu": BIN_HU,
        "probability": [round(float(p), 8) for p in probability / probability.sum()],
    }
    REFERENCE_FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{len(cases)} chests -> {REFERENCE_FILE}")


def _lung_hu(case: Path) -> NDArray[np.int16]:
    hu = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(case))
    mask = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(case).replace(".nii.gz", "-msk.nii.gz")))
    return np.rint(hu[mask > 128]).astype(np.int16)


if __name__ == "__main__":
    main()

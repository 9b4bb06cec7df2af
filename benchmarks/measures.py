"""How long the measures of a segmented CT take, on one core.

    python -m benchmarks.measures [--slices 250] [--matrix 512]

Measures a phantom with its true masks and prints CPU seconds: what follows from the masks by geometry
(regions, separate lesions, depth), all measures, and both; the best of three.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from dicomnode.measure.measure import measure_segmentation
from dicomnode.measure.quality import assess_quality
from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, build_phantom
from dicomnode.segment.anatomy import find_anatomy
from dicomnode.segment.segmentation import Lobe, ModelIdentity, Segmentation

LESIONS = (
    LesionSpec(LesionKind.GGO, 200.0, Lobe.RIGHT_LOWER),
    LesionSpec(LesionKind.GGO, 80.0, Lobe.LEFT_UPPER),
    LesionSpec(LesionKind.CONSOLIDATION, 60.0, Lobe.LEFT_LOWER),
)


def main() -> None:
    """Build the phantom, measure it three times and print the fastest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--slices", type=int, default=250)
    parser.add_argument("--matrix", type=int, default=512, help="rows and columns")
    arguments = parser.parse_args()
    matrix = (arguments.slices, arguments.matrix, arguments.matrix)
    phantom = build_phantom(PhantomSpec.whole_lung(matrix, seed=1, lesions=LESIONS))
    voxel_ml = float(abs(np.linalg.det(phantom.affine[:3, :3]))) / 1000
    quality = assess_quality(
        slice_thickness_mm=None, slice_spacing_mm=1.0, slices=matrix[0], kernel=None, contrast=None
    )
    taken = []
    for _ in range(3):
        masks = Segmentation(phantom.labels, phantom.sides, phantom.lobes, ModelIdentity("truth", "1", ""))
        started = time.process_time()
        anatomy = find_anatomy(masks, phantom.affine)
        found = time.process_time()
        measured = measure_segmentation(phantom.hu, masks, anatomy, voxel_ml, quality)
        taken.append((found - started, time.process_time() - found))
    geometry, measures = min(taken, key=sum)
    print(f"{matrix[0]} slices of {matrix[1]} x {matrix[2]}, {measured.total.volume_ml:.0f} mL of lung:")
    print(f"geometry {geometry:.2f} s, measures {measures:.2f} s, together {geometry + measures:.2f} s")


if __name__ == "__main__":
    main()

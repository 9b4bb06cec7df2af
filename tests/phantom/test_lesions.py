"""Lesions beside each other."""

from __future__ import annotations

import numpy as np

from dicomnode.phantom import LesionSpec, PhantomSpec, build_phantom
from dicomnode.segment.segmentation import Label, Lobe


def test_a_later_lesion_does_not_darken_an_earlier_one_it_meets() -> None:
    """Consolidation grown where GGO was before spread over it in the image, though not in the labels."""
    ggo = LesionSpec("ggo", 60.0, Lobe.RIGHT_LOWER)
    alone = build_phantom(PhantomSpec(seed=2, lesions=(ggo,), noise_hu=0))
    core = alone.labels == Label.GROUND_GLASS
    z, y, x = (axis[len(axis) // 2] for axis in np.nonzero(core))
    middle = alone.affine @ np.array([x, y, z, 1.0])
    centre = (float(middle[0]), float(middle[1]), float(middle[2]))
    consolidation = LesionSpec("consolidation", 30.0, centre_mm=centre)

    both = build_phantom(PhantomSpec(seed=2, lesions=(ggo, consolidation), noise_hu=0))

    assert np.array_equal(both.labels == Label.GROUND_GLASS, core)
    assert abs(float(both.hu[core].mean()) - float(alone.hu[core].mean())) < 60

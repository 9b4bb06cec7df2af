"""The chest CT of the demonstration when nobody names one: a phantom with pneumonia whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, Place, build_phantom, write_series
from dicomnode.segment.segmentation import Lobe

SPEC = PhantomSpec.whole_lung(
    (156, 512, 512),
    seed=3,
    lesions=(
        LesionSpec(LesionKind.GGO, 180.0, Lobe.RIGHT_LOWER),
        LesionSpec(LesionKind.GGO, 120.0, Lobe.LEFT_LOWER),
        LesionSpec(LesionKind.GGO, 45.0, Lobe.LEFT_UPPER),
        LesionSpec(LesionKind.GGO, 30.0, Lobe.RIGHT_UPPER, Place.CENTRAL),
        LesionSpec(LesionKind.CONSOLIDATION, 40.0, Lobe.RIGHT_LOWER),
        LesionSpec(LesionKind.CONSOLIDATION, 15.0, Lobe.LEFT_LOWER),
    ),
)


def write_phantom_ct(directory: Path, progress: Callable[[str, float], None]) -> Mapping[str, Any]:
    """Build the phantom, write it as a CT series into ``directory`` and return its true measurements."""
    phantom = build_phantom(SPEC, progress)
    write_series(phantom, directory)
    return phantom.truth

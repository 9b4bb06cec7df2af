"""A small phantom with lesions, built once."""

from __future__ import annotations

import pytest

from dicomnode.phantom import LesionSpec, Phantom, PhantomSpec, build_phantom
from dicomnode.segment.segmentation import Lobe

LESIONS = (
    LesionSpec("ggo", 60, Lobe.RIGHT_LOWER),
    LesionSpec("consolidation", 35, Lobe.LEFT_LOWER),
    LesionSpec("ggo", 20, Lobe.LEFT_UPPER, "central"),
)


@pytest.fixture(scope="session")
def spec() -> PhantomSpec:
    """60 slices of 96 x 96 that cover both lungs."""
    return PhantomSpec.whole_lung((60, 96, 96), seed=3, lesions=LESIONS)


@pytest.fixture(scope="session")
def phantom(spec: PhantomSpec) -> Phantom:
    """The phantom of that spec."""
    return build_phantom(spec)


@pytest.fixture(scope="session")
def thin_phantom() -> Phantom:
    """Six slices of 64 x 64 through the carina, for what concerns files only."""
    return build_phantom(PhantomSpec(matrix=(6, 64, 64), spacing_mm=(5.0, 5.6, 5.6)))

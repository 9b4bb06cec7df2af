"""A real Ray cluster on this machine, and a chest that is measured in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.ray_machines import RayMachine
from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, build_phantom, write_series
from dicomnode.segment.segmentation import Lobe


@pytest.fixture(scope="session")
def chest(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A small phantom with one opacity."""
    lesions = (LesionSpec(LesionKind.GGO, 60.0, Lobe.RIGHT_LOWER),)
    phantom = build_phantom(PhantomSpec.whole_lung((40, 128, 128), seed=7, lesions=lesions))
    return write_series(phantom, tmp_path_factory.mktemp("chest"))


@pytest.fixture(scope="module")
def machines() -> Iterator[Callable[..., RayMachine]]:
    """Makes machines of Ray clusters; all are killed in the end."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed (pip install 'dicomnode[cluster]')")
    made: list[RayMachine] = []

    def make(cpus: int, head: RayMachine | None = None, *, clients: bool = False) -> RayMachine:
        made.append(RayMachine(cpus, head, clients=clients))
        return made[-1]

    yield make
    for machine in reversed(made):
        machine.kill()

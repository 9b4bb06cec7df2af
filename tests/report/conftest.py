"""Fixtures of the report tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.every_object import EveryObject, make_every_object
from tests.report.report_cases import (
    Case,
    axial_affine,
    crude_masks,
    make_case,
    read_volume,
    thorax,
    write_ct,
)

IODS = ("Segmentation", "SR", "SCImage", "EncapsulatedPDF", "KeyObjectSelection", "PresentationState")


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A small synthetic series with GGO and consolidation."""
    hu, labels, sides = thorax()
    return make_case(write_ct(tmp_path / "source", hu, axial_affine()), labels, sides)


@pytest.fixture(scope="session")
def cip(data_dir: Path) -> Case:
    """A whole chest CT of 64 x 64."""
    volume = read_volume(data_dir / "cip_ct64_chest")
    return make_case(volume, *crude_masks(volume.hu))


@pytest.fixture(scope="session")
def ricord(data_dir: Path) -> Case:
    """Every twelfth slice of the RICORD patient at full resolution."""
    volume = read_volume(data_dir / "ricord_covid_chest", every=12)
    return make_case(volume, *crude_masks(volume.hu))


@pytest.fixture(scope="session")
def every(tmp_path_factory: pytest.TempPathFactory) -> EveryObject:
    """One object of every kind and form."""
    return make_every_object(tmp_path_factory.mktemp("every"))


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Path of a command, installed beside this Python or on the path; skips where it is absent."""

    def find(name: str) -> str:
        beside = Path(sys.executable).with_name(name)
        found = str(beside) if beside.exists() else shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        return found

    return find


@pytest.fixture(scope="session")
def validate(tool: Callable[[str], str]) -> Callable[[Path], list[str]]:
    """dciodvfy's errors in a file."""

    def errors(path: Path) -> list[str]:
        done = subprocess.run([tool("dciodvfy"), "-new", path], capture_output=True, check=False)
        output = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert any(iod in output for iod in IODS), output
        return [line for line in output.splitlines() if line.startswith("Error")]

    return errors

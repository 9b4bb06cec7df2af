"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from tests.certificates import House, make_house

REPOSITORY = Path(__file__).resolve().parents[1]

# pynetdicom installs scripts named storescu and echoscu; in an activated environment they would hide dcmtk's.
_SCRIPTS = sysconfig.get_path("scripts")
_FOLDERS = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder != _SCRIPTS]
os.environ["PATH"] = os.pathsep.join([*_FOLDERS, _SCRIPTS])

# Else each node of a test measured for seconds; tests of runtimes say which one they mean.
os.environ.setdefault("DICOMNODE_ANALYSIS__RUNTIME", "torch")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real CT data; tests that need it skip where it is absent."""
    directory = Path(os.environ.get("DICOMNODE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not directory.is_dir():
        pytest.skip(f"no real CT data at {directory}; set DICOMNODE_DATA")
    return directory


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Certificates, right and wrong."""
    return make_house(tmp_path_factory.mktemp("certificates"))

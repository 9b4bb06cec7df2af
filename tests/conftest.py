"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real CT data; tests that need it skip where it is absent."""
    directory = Path(os.environ.get("DICOMNODE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not directory.is_dir():
        pytest.skip(f"no real CT data at {directory}; set DICOMNODE_DATA")
    return directory

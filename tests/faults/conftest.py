"""Fixtures for the tests of faults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ricord(data_dir: Path) -> Sequence[Path]:
    """The slices of one chest CT in JPEG Lossless."""
    return sorted((data_dir / "ricord_covid_chest").rglob("*.dcm"))

"""What the tests of this folder share: a patient and the default model, read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.config_sections import Analysis
from dicomnode.segment.segmentation import Segmentation
from dicomnode.segment.segmenter import Segmenter
from tests.robust.patient import Chest, read_chest


@pytest.fixture(scope="session")
def chest(data_dir: Path) -> Chest:
    return read_chest(data_dir / "ricord_covid_chest")


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    """The node's default."""
    return Segmenter.load(Analysis().model, "cpu")


@pytest.fixture(scope="session")
def undisturbed(segmenter: Segmenter, chest: Chest) -> Segmentation:
    return segmenter.segment(chest.volume())

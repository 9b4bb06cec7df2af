"""Labelled folders: which layout one has and what reads it."""

from __future__ import annotations

from pathlib import Path

from dicomnode.train.cases import DataError, LabelledCase
from dicomnode.train.linear import INDEX_FILE, load_linear
from dicomnode.train.medseg import load_medseg


def load_cases(directory: Path) -> list[LabelledCase]:
    """All cases of a folder laid out like ``covid10_linear`` or ``medseg_ggo_consolidation``.

    Raises
    ------
    DataError
        If the layout isn't known or a file is missing or broken.
    """
    if (directory / INDEX_FILE).is_file() and (directory / "infection").is_dir():
        return load_linear(directory)
    if (directory / "Imgs").is_dir() and (directory / "GT").is_dir():
        return load_medseg(directory)
    raise DataError(
        f"{directory} has no known layout: neither index.csv with img, lung, infection, nor Imgs with GT, "
        "nor CT volumes with masks (NIfTI) of the same names"
    )

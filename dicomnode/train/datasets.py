"""Labelled folders: which layout one has and what reads it."""

from __future__ import annotations

from pathlib import Path

from dicomnode.train.cases import DataError, LabelledCase
from dicomnode.train.chests import holds_chests, load_chests
from dicomnode.train.linear import INDEX_FILE, load_linear
from dicomnode.train.medseg import load_medseg


def load_cases(directory: Path) -> list[LabelledCase]:
    """All cases of a folder laid out like one of the known sets, or of all such folders in it.

    Raises
    ------
    DataError
        If the layout isn't known or a file is missing or broken.
    """
    if _is_linear(directory):
        return load_linear(directory)
    if _is_medseg(directory):
        return load_medseg(directory)
    if holds_chests(directory):
        return load_chests(directory)
    within = sorted(path for path in directory.glob("*") if path.is_dir() and _is_known(path))
    if within:
        return [case for path in within for case in load_cases(path)]
    raise DataError(
        f"{directory} has no known layout: neither index.csv with img, lung, infection, nor Imgs with GT, "
        "nor CT volumes with masks (NIfTI) of the same names"
    )


def _is_known(directory: Path) -> bool:
    return _is_linear(directory) or _is_medseg(directory) or holds_chests(directory)


def _is_linear(directory: Path) -> bool:
    return (directory / INDEX_FILE).is_file() and (directory / "infection").is_dir()


def _is_medseg(directory: Path) -> bool:
    return (directory / "Imgs").is_dir() and (directory / "GT").is_dir()

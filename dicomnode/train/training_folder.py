"""The folder that a training writes: taken for one training, its log, its weights as they are kept."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from dicomnode.train.cases import DataError


def take_folder(out: Path, mark: str, *, resume: bool) -> None:
    """Make ``out``, unless it holds the file ``mark`` of a training that shall not be gone on with.

    Raises
    ------
    DataError
        If it does.
    """
    if (out / mark).exists() and not resume:
        raise DataError(
            f"{out} already holds a training; add --resume to go on with it or choose another folder"
        )
    out.mkdir(parents=True, exist_ok=True)


def append_row(log: Path, columns: Iterable[str], row: Iterable[object]) -> None:
    """One more row of a CSV log, below its header."""
    fresh = not log.exists()
    with log.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(columns)
        writer.writerow(row)


def half_precision(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for the file of a model: floating-point ones in half precision, where all fit."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in weights.items()
    }

"""How a model is trained: ``training.toml`` beside its card."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dicomnode.train.cases import DataError

TRAINING_FILE = "training.toml"


@dataclass(frozen=True)
class Split:
    """Case names by use; no case has two."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        names = self.train + self.validation + self.test
        if len(set(names)) != len(names):
            raise ValueError("a case appears twice in the split")
        if not self.train or not self.validation:
            raise ValueError("the split needs cases to train on and to validate on")


@dataclass(frozen=True)
class Protocol:
    """Numbers of one training; ``rows`` and ``columns`` are the canvas the slices are cut to."""

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    warmup_epochs: float
    negatives_per_positive: float
    dice_weight: float
    average_decay: float
    rows: int
    columns: int

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.rows < 1 or self.columns < 1:
            raise ValueError("epochs, batch size, rows and columns must be positive")
        if not 0 <= self.average_decay < 1:
            raise ValueError("average_decay must lie in [0, 1)")


def read_protocol(directory: Path) -> tuple[Protocol, Split]:
    """Protocol and split of the model in ``directory``.

    Raises
    ------
    DataError
        If the file is missing, has unknown or missing keys or values that can't be.
    """
    path = directory / TRAINING_FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}") from error
    if document.keys() != {"protocol", "split"}:
        raise DataError(f"{path} must have the sections [protocol] and [split] and no other")
    split = {name: tuple(cases) for name, cases in document["split"].items()}
    return _build(Protocol, document["protocol"], path), _build(Split, split, path)


def _build(cls: type[Any], values: dict[str, Any], path: Path) -> Any:
    names = {entry.name for entry in fields(cls)}
    if values.keys() != names:
        wrong = ", ".join(sorted(values.keys() ^ names))
        raise DataError(f"{path}: {cls.__name__.lower()} has unknown or lacks keys: {wrong}")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error

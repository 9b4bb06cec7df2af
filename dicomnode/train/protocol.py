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


@dataclass(frozen=True)
class EnsembleProtocol:
    """Numbers of the training of an ensemble, the same for each member.

    ``weak_split_hu`` is the smoothed HU that makes a weak target of consolidation where no expert drew one;
    ``split_repeats`` how often an example with an expert's split comes in an epoch.
    """

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_epochs: float
    average_decay: float
    dice_weight: float
    split_loss_weight: float
    split_repeats: int
    weak_split_hu: float
    rows: int
    columns: int

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.rows, self.columns, self.split_repeats) < 1:
            raise ValueError("epochs, batch size, rows, columns and repeats must be positive")
        if not 0 <= self.average_decay < 1:
            raise ValueError("average_decay must lie in [0, 1)")


@dataclass(frozen=True)
class Folds:
    """``folds[k]`` names the cases member k never sees; cases of ``test`` none sees, all others all see."""

    folds: tuple[tuple[str, ...], ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        names = [name for fold in (*self.folds, self.test) for name in fold]
        if len(set(names)) != len(names):
            raise ValueError("a case appears twice in the folds")

    def judges(self, case: str) -> tuple[int, ...] | None:
        """Members that never saw a case; ``None`` if the folds don't name it."""
        if case in self.test:
            return tuple(range(len(self.folds)))
        own = tuple(index for index, fold in enumerate(self.folds) if case in fold)
        return own or None


def read_ensemble(directory: Path) -> tuple[EnsembleProtocol, Folds] | None:
    """Protocol and folds of the model in ``directory``; ``None`` if it is no ensemble.

    Raises
    ------
    DataError
        As :func:`read_protocol`.
    """
    path = directory / TRAINING_FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}") from error
    if "folds" not in document:
        return None
    if document.keys() != {"protocol", "folds"}:
        raise DataError(f"{path} must have the sections [protocol] and [folds] and no other")
    folds = document["folds"]
    values = {
        "folds": tuple(tuple(fold) for fold in folds.get("held_out", ())),
        "test": tuple(folds.get("test", ())),
    }
    return _build(EnsembleProtocol, document["protocol"], path), _build(Folds, values, path)


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

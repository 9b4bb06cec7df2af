"""How a model is trained: ``training.toml`` beside its card."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from dicomnode.train.augment import AugmentationSpec
from dicomnode.train.cases import DataError

TRAINING_FILE = "training.toml"
TRAINED = "train"
"""Use of a case that a model was trained on."""

OPTIMIZERS = ("sgd", "adam")
LOSSES = ("bce_dice", "rmi")
SCHEDULES = ("cosine", "constant", "plateau")


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

    @property
    def uses(self) -> dict[str, str]:
        """Use of each case."""
        return {name: use for use, names in vars(self).items() for name in names}


@dataclass(frozen=True)
class Protocol:
    """Numbers of one training; ``rows`` and ``columns`` are the canvas the slices are cut to.

    ``loss`` is ``bce_dice`` (cross-entropy and ``dice_weight`` times Dice) or ``rmi`` (region mutual
    information, with ``cross_entropy_share``). ``schedule`` is ``cosine`` (after a linear rise over
    ``warmup_epochs``), ``constant``, or ``plateau``: the rate is multiplied by ``plateau_factor`` after
    ``plateau_patience`` epochs without a lower validation loss, and training ends when it falls to
    ``smallest_rate``. ``micro_batch`` slices are computed at once and their gradients summed up to a batch.
    """

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    negatives_per_positive: float
    rows: int
    columns: int
    momentum: float = 0.9
    nesterov: bool = True
    warmup_epochs: float = 0.0
    dice_weight: float = 0.0
    average_decay: float = 0.0
    optimizer: str = "sgd"
    loss: str = "bce_dice"
    cross_entropy_share: float = 0.5
    schedule: str = "cosine"
    plateau_factor: float = 0.1
    plateau_patience: int = 10
    smallest_rate: float = 0.0
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.rows, self.columns, self.micro_batch or 1) < 1:
            raise ValueError("epochs, batch sizes, rows and columns must be positive")
        if not 0 <= self.average_decay < 1:
            raise ValueError("average_decay must lie in [0, 1)")
        if not 0 <= self.cross_entropy_share <= 1:
            raise ValueError("cross_entropy_share must lie in [0, 1]")
        for key, value, known in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("loss", self.loss, LOSSES),
            ("schedule", self.schedule, SCHEDULES),
        ):
            if value not in known:
                raise ValueError(f"{key} must be one of {', '.join(known)}, got {value!r}")


@dataclass(frozen=True)
class EnsembleProtocol:
    """Numbers of the training of an ensemble, the same for each member.

    ``weak_split_hu`` is the smoothed HU that makes a weak target of consolidation where no expert drew one;
    ``split_repeats`` how often an example with an expert's split comes in an epoch; ``equalised_steps`` how
    long the way back from equalised grey to HU is learned. ``partner`` is the installed model whose weights
    the network's partner gets, if it has one.
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
    equalised_steps: int
    rows: int
    columns: int
    partner: str = ""

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.rows, self.columns, self.split_repeats) < 1:
            raise ValueError("epochs, batch size, rows, columns and repeats must be positive")
        if not 0 <= self.average_decay < 1:
            raise ValueError("average_decay must lie in [0, 1)")


@dataclass(frozen=True)
class Folds:
    """``folds[k]`` are cases member k never sees; those of ``test`` none sees, of ``train`` all.

    ``partner`` are those of them that the ensemble's partner, if it has one, never saw either.
    """

    folds: tuple[tuple[str, ...], ...]
    test: tuple[str, ...]
    train: tuple[str, ...] = ()
    partner: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [name for fold in (*self.folds, self.test, self.train) for name in fold]
        if len(set(names)) != len(names):
            raise ValueError("a case appears twice in the folds")
        if not set(self.partner) <= set(names) - set(self.train):
            raise ValueError("the partner's cases must be held out by a member")

    @property
    def uses(self) -> dict[str, str]:
        """Use of each case by the whole ensemble."""
        trained = [name for fold in (*self.folds, self.train) for name in fold]
        return dict.fromkeys(trained, TRAINED) | dict.fromkeys(self.test, "test")

    def judges(self, case: str) -> tuple[int, ...] | None:
        """Members that never saw a case, the partner last; ``None`` if all did or the folds don't name it."""
        own = [index for index, fold in enumerate(self.folds) if case in (*fold, *self.test)]
        own += [len(self.folds)] if case in self.partner else []
        return tuple(own) or None

    @property
    def everybody(self) -> tuple[int, ...]:
        """All members, and the partner where there is one."""
        return tuple(range(len(self.folds) + bool(self.partner)))


def read_ensemble(directory: Path, file: str = TRAINING_FILE) -> tuple[EnsembleProtocol, Folds] | None:
    """Protocol and folds in ``file`` of the model in ``directory``; ``None`` if it is no ensemble.

    Raises
    ------
    DataError
        As :func:`read_protocol`.
    """
    path = directory / file
    document = read_document(path)
    if "folds" not in document:
        return None
    if document.keys() != {"protocol", "folds"}:
        raise DataError(f"{path} must have the sections [protocol] and [folds] and no other")
    folds = document["folds"]
    values = {
        "folds": tuple(tuple(fold) for fold in folds.get("held_out", ())),
        "test": tuple(folds.get("test", ())),
        "train": tuple(folds.get("train", ())),
        "partner": tuple(folds.get("partner", ())),
    }
    return _build(EnsembleProtocol, document["protocol"], path), _build(Folds, values, path)


def read_protocol(directory: Path, fold: int = 0, file: str = TRAINING_FILE) -> tuple[Protocol, Split]:
    """Protocol and split in ``file`` of the model in ``directory``.

    With ``[cross_validation]`` instead of ``[split]``, group ``fold`` is tested, the next one validates, the
    others are trained on, and so are the cases of ``train``, which are in no group, in every fold.

    Raises
    ------
    DataError
        If the file is missing, has unknown or missing keys or values that can't be, or lacks the fold.
    """
    path = directory / file
    document = _document(path)
    protocol = _build(Protocol, document["protocol"], path)
    if "split" in document:
        if fold:
            raise DataError(f"{path} has one split, not folds; leave the fold out")
        return protocol, _build(Split, document["split"], path)
    groups = document["cross_validation"].get("groups", [])
    always = document["cross_validation"].get("train", [])
    if not 0 <= fold < len(groups):
        raise DataError(f"{path} has folds 0 to {len(groups) - 1}, not {fold}")
    turned = groups[fold:] + groups[:fold]
    split = {
        "test": turned[0],
        "validation": turned[1],
        "train": [name for group in (*turned[2:], always) for name in group],
    }
    return protocol, _build(Split, split, path)


def read_augmentation(directory: Path, file: str = TRAINING_FILE) -> AugmentationSpec:
    """``[augmentation]`` in ``file`` of the model in ``directory``, the defaults where it says nothing.

    Raises
    ------
    DataError
        As :func:`read_protocol`.
    """
    path = directory / file
    spec: AugmentationSpec = _build(AugmentationSpec, _document(path).get("augmentation", {}), path)
    return spec


def read_document(path: Path) -> dict[str, Any]:
    """The TOML document at ``path``.

    Raises
    ------
    DataError
        If it can't be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}") from error


def _document(path: Path) -> dict[str, Any]:
    document = read_document(path)
    if document.keys() - {"augmentation"} not in ({"protocol", "split"}, {"protocol", "cross_validation"}):
        raise DataError(
            f"{path} must have the sections [protocol], [split] or [cross_validation], "
            "perhaps [augmentation], and no other"
        )
    return document


def _build(cls: type[Any], values: dict[str, Any], path: Path) -> Any:
    known = {entry.name: entry for entry in fields(cls)}
    required = {name for name, entry in known.items() if entry.default is MISSING}
    if wrong := sorted((values.keys() - known.keys()) | (required - values.keys())):
        raise DataError(f"{path}: {cls.__name__.lower()} has unknown or lacks keys: {', '.join(wrong)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error

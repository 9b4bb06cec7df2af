"""Card of a lung model: ``model.toml`` with ``kind = "lungs"``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dicomnode.segment.card import (
    CARD_FILE,
    Figures,
    NetworkSpec,
    Weights,
    WithWeights,
    build_card,
    models_directory,
)
from dicomnode.segment.card_file import card_path, kind_of

LUNGS = "lungs"
"""Kind of these models, and the folder of the one that the node uses."""


@dataclass(frozen=True)
class LungInput:
    """What the network sees of a volume: slices at ``spacing_mm`` with those at ``planes_mm`` along z.

    ``planes_mm`` rises from below to above and has 0, the slice itself, in its middle.
    """

    spacing_mm: float
    planes_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.spacing_mm <= 0:
            raise ValueError(f"spacing_mm must be positive, got {self.spacing_mm}")
        planes = self.planes_mm
        if len(planes) % 2 == 0 or planes[len(planes) // 2] != 0 or list(planes) != sorted(planes):
            raise ValueError(f"planes_mm must rise and have 0 in its middle, got {planes}")


@dataclass(frozen=True)
class LungRules:
    """How the network's answer is used.

    From ``probability`` a voxel is lung. An answer with less than ``smallest_share`` of the aerated lungs
    in it, or one that adds more than ``largest_addition`` of their volume, is not used. Where network and
    classical lungs differ by more than ``largest_disagreement`` of the lungs' volume, specks and borders
    left out, a reader is told.
    """

    probability: float
    smallest_share: float
    largest_addition: float
    largest_disagreement: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {value}")


@dataclass(frozen=True)
class LungCard(WithWeights):
    """One lung model: identity, input, network, weights, rules, licence, data, figures and limits."""

    directory: Path
    name: str
    kind: str
    version: str
    description: str
    labels: tuple[str, ...]
    licence: str
    intended_use: str
    limits: tuple[str, ...]
    training_data: tuple[str, ...]
    training_protocol: tuple[str, ...]
    input: LungInput
    network: NetworkSpec
    weights: Weights
    rules: LungRules
    figures: tuple[Figures, ...] = ()


def is_lung_model(directory: Path) -> bool:
    """Whether a folder holds a card of a lung model, trained or not."""
    return card_path(directory).is_file() and kind_of(directory) == LUNGS


def installed_lung_card(models: Path | None = None) -> LungCard | None:
    """Card of the lung model the node uses, its checksum verified; none where it isn't installed.

    Raises
    ------
    ModelError
        If the card or the weights are wrong.
    """
    folder = (models_directory() if models is None else models) / LUNGS
    return load_lung_card(folder) if (folder / CARD_FILE).is_file() and is_lung_model(folder) else None


def load_lung_card(directory: Path) -> LungCard:
    """Card of the lung model in ``directory``, its checksum verified.

    Raises
    ------
    ModelError
        If the card or the weights are wrong.
    """
    card = read_lung_card(directory)
    card.verify_weights()
    return card


def read_lung_card(directory: Path) -> LungCard:
    """Card of the lung model in ``directory`` without looking at its weights.

    Raises
    ------
    ModelError
        If the card can't be read or has unknown or missing keys.
    """
    return build_card(LungCard, directory, input=LungInput, rules=LungRules)

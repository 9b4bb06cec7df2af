"""Card of a lobe model: ``model.toml`` with ``kind = "lobes"``."""

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
from dicomnode.segment.card_file import kind_of
from dicomnode.segment.lung_shape import Shape3

LOBES = "lobes"
"""Kind of these models, and the folder of the one that the node uses."""


@dataclass(frozen=True)
class LobeGrid:
    """Grid that a lung's box is sampled on."""

    slices: int
    rows: int
    columns: int

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"the grid must have points along each axis, got {self.shape}")

    @property
    def shape(self) -> Shape3:
        """Points along superior, posterior and left."""
        return self.slices, self.rows, self.columns


@dataclass(frozen=True)
class LobeRules:
    """When lobes are uncertain: a reader is told.

    A lung below ``smallest_lung_ml``; a lobe with less than ``smallest_lobe_share`` of its lung; a lung whose
    height is less than ``lowest_shape`` or more than ``highest_shape`` of its depth from front to back, as
    that of one cut off or shrunk from below. (The network's own confidence tells nothing: it is as sure of
    half a lung as of a whole one.)
    """

    smallest_lung_ml: float
    smallest_lobe_share: float
    lowest_shape: float
    highest_shape: float

    def __post_init__(self) -> None:
        if not 0 <= self.smallest_lobe_share < 1:
            raise ValueError("smallest_lobe_share must lie between 0 and 1")
        if not 0 < self.lowest_shape < self.highest_shape:
            raise ValueError("lowest_shape must be positive and below highest_shape")


@dataclass(frozen=True)
class LobeCard(WithWeights):
    """One lobe model: identity, grid, network, weights, rules, licence, data, figures and limits."""

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
    grid: LobeGrid
    network: NetworkSpec
    weights: Weights
    rules: LobeRules
    figures: tuple[Figures, ...] = ()


def is_lobe_model(directory: Path) -> bool:
    """Whether a folder holds a card of a lobe model."""
    return (directory / CARD_FILE).is_file() and kind_of(directory) == LOBES


def installed_lobe_card(models: Path | None = None) -> LobeCard | None:
    """Card of the lobe model the node uses, its checksum verified; none where it isn't installed.

    Raises
    ------
    ModelError
        If the card or the weights are wrong.
    """
    root = models_directory() if models is None else models
    return load_lobe_card(root / LOBES) if is_lobe_model(root / LOBES) else None


def load_lobe_card(directory: Path) -> LobeCard:
    """Card of the lobe model in ``directory``, its checksum verified.

    Raises
    ------
    ModelError
        If the card or the weights are wrong.
    """
    card = read_lobe_card(directory)
    card.verify_weights()
    return card


def read_lobe_card(directory: Path) -> LobeCard:
    """Card of the lobe model in ``directory`` without looking at its weights.

    Raises
    ------
    ModelError
        If the card can't be read or has unknown or missing keys.
    """
    return build_card(LobeCard, directory, grid=LobeGrid, rules=LobeRules)

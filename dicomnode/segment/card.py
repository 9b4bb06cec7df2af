"""Model cards: what a model is, how its input is prepared and whether its weights are the published ones."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dicomnode.segment.card_file import (
    CARD_FILE,
    LESIONS,
    UNTRAINED_FILE,
    ModelError,
    build_section,
    card_path,
    kind_of,
    model_folders,
    read_document,
    sha256_of,
    verify_weights,
)
from dicomnode.segment.confidence import ErrorModel
from dicomnode.segment.segmentation import ModelIdentity

__all__ = ["CARD_FILE", "ModelError", "sha256_of"]  # what the cards' readers need beside the cards

T = TypeVar("T")

MODELS_VARIABLE = "DICOMNODE_MODELS"

CROPS = ("lungs", "body")

OUTPUTS = (
    ("lesion",),
    ("lesion", "consolidation"),
    ("lung", "lesion", "consolidation"),
    ("background", "ggo", "high_opacity"),
)
"""What a network's channels may mean; those with a background exclude each other, others don't."""


@dataclass(frozen=True)
class Preprocessing:
    """How HU become network input.

    The bounding box of ``crop`` (``lungs`` or ``body``) plus ``crop_margin_mm`` is resampled in-plane, either
    to ``spacing_mm`` or to ``rows`` x ``columns``. Voxels outside the lung are set to ``outside_hu``, without
    it they stay. The window (centre, width in HU) is scaled to 0 to 1. The network sees each slice with
    ``context_slices`` above and as many below. With ``lung_channel`` nothing outside is set: the lung mask is
    the network's second channel.
    """

    window_center_hu: float
    window_width_hu: float
    outside_hu: float | None = None
    spacing_mm: float | None = None
    crop_margin_mm: float = 0.0
    crop: str = "lungs"
    rows: int | None = None
    columns: int | None = None
    context_slices: int = 0
    lung_channel: bool = False

    def __post_init__(self) -> None:
        if self.window_width_hu <= 0 or self.crop_margin_mm < 0 or self.context_slices < 0:
            raise ValueError("window width must be positive, crop margin and context slices not negative")
        if self.crop not in CROPS:
            raise ValueError(f"crop must be one of {', '.join(CROPS)}, got {self.crop!r}")
        if (self.spacing_mm is None) != (self.rows is not None and self.columns is not None):
            raise ValueError("give either spacing_mm or rows and columns")
        if any(size is not None and size <= 0 for size in (self.spacing_mm, self.rows, self.columns)):
            raise ValueError("spacing, rows and columns must be positive")


@dataclass(frozen=True)
class NetworkSpec:
    """``class_name`` in ``module`` of dicomnode.segment.networks, and its keyword arguments."""

    module: str
    class_name: str
    parameters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Weights:
    """File beside the card and its SHA-256 in hexadecimal."""

    file: str
    sha256: str

    def __post_init__(self) -> None:
        if Path(self.file).name != self.file:
            raise ValueError(f"the weights file must lie beside the card, got {self.file!r}")


@dataclass(frozen=True)
class Postprocessing:
    """From probability to labels.

    ``outputs`` names the network's channels, one of :data:`OUTPUTS`. ``probability_threshold`` and above is
    lesion; connected lesions below ``minimum_lesion_ml`` are dropped. Smoothed HU at or above
    ``consolidation_hu`` make it consolidation; a network with a channel for it says that itself: from
    ``consolidation_probability``, where that is above 0. Probabilities are first smoothed across slices by a
    Gaussian of ``smoothing_mm``, if that is above 0: a network that sees one slice at a time flickers.
    """

    probability_threshold: float
    consolidation_hu: float
    minimum_lesion_ml: float
    consolidation_probability: float = 0.0
    outputs: tuple[str, ...] = ()
    smoothing_mm: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.probability_threshold < 1:
            raise ValueError(f"probability_threshold must lie in (0, 1), got {self.probability_threshold}")
        if self.minimum_lesion_ml < 0:
            raise ValueError("minimum_lesion_ml must not be negative")
        if self.smoothing_mm < 0:
            raise ValueError("smoothing_mm must not be negative")
        if not 0 <= self.consolidation_probability < 1:
            raise ValueError(
                f"consolidation_probability must lie in [0, 1), got {self.consolidation_probability}"
            )
        if self.outputs and self.outputs not in OUTPUTS:
            known = "; ".join(", ".join(channels) for channels in OUTPUTS)
            raise ValueError(f"outputs must be one of: {known}")
        if self.splits_by_hu != (self.channels == ("lesion",)):
            raise ValueError("consolidation_probability must be above 0 exactly if a channel tells it")

    @property
    def channels(self) -> tuple[str, ...]:
        """``outputs``; without them lesion, and consolidation if that has a probability."""
        return self.outputs or (("lesion",) if self.splits_by_hu else ("lesion", "consolidation"))

    @property
    def exclusive(self) -> bool:
        """Whether the channels exclude each other."""
        return self.channels[0] == "background"

    @property
    def finds_lungs(self) -> bool:
        """Whether the network finds the lungs itself."""
        return "lung" in self.channels

    @property
    def splits_by_hu(self) -> bool:
        """Whether HU, not the network, tell GGO and consolidation apart."""
        return self.consolidation_probability == 0

    def in_words(self) -> tuple[str, ...]:
        """One sentence a threshold, for the report."""
        split = f"consolidation from {self.consolidation_hu:g} HU (smoothed), GGO below"
        if not self.splits_by_hu:
            split = f"consolidation from a probability of {self.consolidation_probability:g}, GGO below"
        return (
            f"lesion from a probability of {self.probability_threshold:g}",
            split,
            f"separate lesions below {self.minimum_lesion_ml:g} mL are dropped",
        )


@dataclass(frozen=True)
class Figures:
    """Scores on one data set and label over its cases, as ``dicomnode evaluate`` prints them.

    Dice, sensitivity and positive predictive value lie between 0 and 1; volume errors are percent of the
    reference's volume, ``bias`` with its sign, ``mae`` without.
    """

    data: str
    label: str
    cases: int
    dice_mean: float
    dice_sd: float
    sensitivity_mean: float
    ppv_mean: float
    volume_bias_percent: float
    volume_mae_percent: float
    note: str = ""


class WithWeights:
    """What the card of each kind of model knows of its weights."""

    directory: Path
    name: str
    version: str
    weights: Weights

    @property
    def weights_path(self) -> Path:
        """Where the weights lie."""
        return self.directory / self.weights.file

    @property
    def identity(self) -> ModelIdentity:
        """What results say of their origin."""
        return ModelIdentity(self.name, self.version, self.weights.sha256)

    def verify_weights(self) -> None:
        """Make sure that the weights are there and those of the card.

        Raises
        ------
        ModelError
            If they are missing or others.
        """
        verify_weights(self.name, self.weights_path, self.weights.sha256)


@dataclass(frozen=True)
class ModelCard(WithWeights):
    """One model: identity, input, network, weights, output, licence, data, figures and limits."""

    directory: Path
    name: str
    version: str
    description: str
    labels: tuple[str, ...]
    licence: str
    intended_use: str
    limits: tuple[str, ...]
    training_data: tuple[str, ...]
    training_protocol: tuple[str, ...]
    preprocessing: Preprocessing
    network: NetworkSpec
    weights: Weights
    postprocessing: Postprocessing
    figures: tuple[Figures, ...]
    error: ErrorModel | None = None


def models_directory() -> Path:
    """The folder of models: ``DICOMNODE_MODELS``, else the one inside the package."""
    chosen = os.environ.get(MODELS_VARIABLE)
    return Path(chosen) if chosen else Path(__file__).resolve().parents[1] / "models"


def installed_models(models: Path | None = None) -> list[ModelCard]:
    """Cards of all lesion models in a folder (default :func:`models_directory`), by name, checksums verified.

    Raises
    ------
    ModelError
        If a card or its weights are wrong.
    """
    root = models_directory() if models is None else models
    return [load_card(directory) for directory in model_folders(root, LESIONS)]


def load_installed_card(name: str, models: Path | None = None) -> ModelCard:
    """Card of the model called ``name`` in a folder (default :func:`models_directory`), checksum verified.

    Raises
    ------
    ModelError
        If no model of that name is there, or as :func:`load_card`.
    """
    root = models_directory() if models is None else models
    known = sorted(card.parent.name for card in root.glob(f"*/{CARD_FILE}"))
    if name not in known and (root / name / UNTRAINED_FILE).is_file():
        return load_card(root / name)
    if name not in known:
        listed = ", ".join(known) or "none"
        raise ModelError(f"no model {name!r} in {root}; installed are: {listed}")
    if (kind := kind_of(root / name)) != LESIONS:
        raise ModelError(f"model {name!r} in {root} finds {kind}, no lesions; choose another")
    return load_card(root / name)


def load_card(directory: Path) -> ModelCard:
    """Card of the model in ``directory``; its weights exist and have the card's SHA-256.

    Raises
    ------
    ModelError
        If the card can't be read, has unknown or missing keys, or the weights are missing or others.
    """
    card = read_card(directory)
    if card_path(directory).name == UNTRAINED_FILE:
        raise ModelError(
            f"model {card.name} has no weights yet; "
            f"dicomnode train {card.name} --data DATA --out DIR makes them"
        )
    card.verify_weights()
    return card


def read_card(directory: Path) -> ModelCard:
    """Card of the model in ``directory`` without looking at its weights, which training has yet to make.

    Raises
    ------
    ModelError
        If the card can't be read or has unknown or missing keys.
    """
    return build_card(
        ModelCard,
        directory,
        preprocessing=Preprocessing,
        postprocessing=Postprocessing,
        error=ErrorModel,
    )


def build_card(cls: type[T], directory: Path, **own: type[Any]) -> T:
    """The card in ``directory`` as a ``cls``; ``own`` are its sections beside network, weights and figures.

    Raises
    ------
    ModelError
        If the card can't be read or has unknown or missing keys.
    """
    path, document = card_path(directory), read_document(directory)
    sections: dict[str, type[Any]] = {"network": NetworkSpec, "weights": Weights, **own}
    values: dict[str, Any] = {"directory": directory}
    for key, value in document.items():
        if key in sections:
            values[key] = build_section(sections[key], value, f"{path} [{key}]")
        elif key == "figures":
            tables = value if isinstance(value, list) else [value]
            values[key] = tuple(build_section(Figures, table, f"{path} [[figures]]") for table in tables)
        else:
            values[key] = value
    values.setdefault("figures", ())
    return build_section(cls, values, str(path))

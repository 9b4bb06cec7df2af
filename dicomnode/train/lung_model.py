"""A lung model from chests to a model folder: what ``train`` does for lungs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from dicomnode.segment.card_file import build_section
from dicomnode.segment.lung_card import LungCard, read_lung_card
from dicomnode.segment.networks.factory import build_network
from dicomnode.train.augment import AugmentationSpec
from dicomnode.train.cases import DataError
from dicomnode.train.lung_cases import LungCase, load_lung_cases, phantom_case
from dicomnode.train.lung_training import LungProtocol, Progress, start_training, train_lungs
from dicomnode.train.protocol import TRAINING_FILE, Split, read_document
from dicomnode.train.trainer import CHECKPOINT_FILE, restore_state
from dicomnode.train.training import write_card
from dicomnode.train.training_folder import half_precision, take_folder

FIRST_PHANTOM = 1000
"""Phantoms from here on are trained on, those just below validate, lower ones are for tests."""

VALIDATION_PHANTOMS = 2


@dataclass(frozen=True)
class LungTraining:
    """The sections of a lung model's ``training.toml``."""

    protocol: LungProtocol
    augmentation: AugmentationSpec
    split: Split


def read_lung_training(directory: Path) -> LungTraining:
    """Protocol, augmentation and split of the lung model in ``directory``.

    Raises
    ------
    DataError
        If the file is missing or lacks a section.
    ModelError
        If it has unknown or missing keys.
    """
    path = directory / TRAINING_FILE
    document = read_document(path)
    if document.keys() != {"protocol", "augmentation", "split"}:
        raise DataError(f"{path} must have the sections [protocol], [augmentation], [split] and no other")
    return LungTraining(
        build_section(LungProtocol, document["protocol"], f"{path} [protocol]"),
        build_section(AugmentationSpec, document["augmentation"], f"{path} [augmentation]"),
        build_section(Split, document["split"], f"{path} [split]"),
    )


def train_lung_model(
    source: Path,
    data: Path,
    out: Path,
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> LungCard:
    """Train the lung model in the folder ``source`` on the chests in ``data`` and write it to ``out``.

    ``data`` holds the sets, or is one. ``epochs`` and ``minutes`` are other ends than the protocol's;
    ``resume`` goes on from the checkpoint in ``out``.

    Raises
    ------
    ModelError
        If the card or the protocol is wrong.
    DataError
        If the data lack a case of the split, or ``out`` already holds another training.
    """
    card, training = read_lung_card(source), read_lung_training(source)
    protocol, split = training.protocol, training.split
    if epochs is not None:
        protocol = replace(protocol, epochs=epochs)
    checkpoint = out / CHECKPOINT_FILE
    take_folder(out, CHECKPOINT_FILE, resume=resume)
    names, spacing_mm = {*split.train, *split.validation}, card.input.spacing_mm
    chests = {case.name: case for case in load_lung_cases(data, names, spacing_mm)}
    phantoms = range(FIRST_PHANTOM, FIRST_PHANTOM + protocol.phantoms)
    judging = range(FIRST_PHANTOM - min(VALIDATION_PHANTOMS, protocol.phantoms), FIRST_PHANTOM)
    torch.manual_seed(protocol.seed)
    state = start_training(build_network(card.network), protocol)
    if checkpoint.exists():
        restore_state(state, checkpoint)
    train_lungs(
        state,
        _with_phantoms(chests, split.train, phantoms, spacing_mm),
        _with_phantoms(chests, split.validation, judging, spacing_mm),
        card.input.planes_mm,
        protocol,
        training.augmentation,
        out,
        minutes=minutes,
        progress=progress,
    )
    return export_lung_model(state.best, card, out)


def export_lung_model(weights: dict[str, torch.Tensor], card: LungCard, out: Path) -> LungCard:
    """Weights (as float16) with their card and protocol in ``out``; figures of older weights are left out."""
    save_file(half_precision(weights), out / card.weights.file)
    (out / card.weights.file).chmod(0o644)
    write_card(card.directory, card.name, card.weights.file, out)
    return read_lung_card(out)


def _with_phantoms(
    chests: dict[str, LungCase], names: tuple[str, ...], seeds: range, spacing_mm: float
) -> list[LungCase]:
    return [chests[name] for name in names] + [phantom_case(seed, spacing_mm) for seed in seeds]

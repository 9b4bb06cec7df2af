"""From a model's folder and labelled data to a folder with weights and card: ``train_model``."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from dicomnode.segment.card import CARD_FILE, ModelCard, models_directory, read_card, sha256_of
from dicomnode.segment.card_file import card_path
from dicomnode.segment.networks.factory import build_network
from dicomnode.train.cases import DataError, LabelledCase
from dicomnode.train.datasets import load_cases
from dicomnode.train.ensemble_training import train_ensemble
from dicomnode.train.protocol import (
    TRAINING_FILE,
    Protocol,
    Split,
    read_augmentation,
    read_ensemble,
    read_protocol,
)
from dicomnode.train.slices import Slice, prepare_slices
from dicomnode.train.trainer import CHECKPOINT_FILE, TrainingState, new_state, restore_state, train_network
from dicomnode.train.training_folder import take_folder


def train_model(
    name: str,
    data: Path,
    out: Path,
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    fold: int = 0,
    device: str = "cpu",
    protocol_file: str = TRAINING_FILE,
    models: Path | None = None,
    progress: Callable[[int, float, float], None] | None = None,
) -> ModelCard:
    """Train the model ``name`` on the labelled cases in ``data`` by its protocol and write it to ``out``.

    ``out`` gets the checkpoint, the log (CSV), the weights that did best on the validation cases, and a card
    with their SHA-256: a model folder that can be loaded as it is.

    Parameters
    ----------
    epochs, minutes:
        Other ends than the protocol's; the learning rate falls to zero by then.
    resume:
        Go on from the checkpoint in ``out``, if there is one.
    fold:
        Which fold of a protocol with cross-validation.
    device:
        ``cpu`` or ``cuda``.
    protocol_file:
        Another protocol beside the model's own, such as the one its paper prints.
    progress:
        Gets the epoch, the part of all training done (0 to 1) and the epoch's mean loss so far.

    Raises
    ------
    ModelError
        If there is no such model or its card is wrong.
    DataError
        If the data can't be read, lack a case of the split, or ``out`` already holds another training.
    """
    source = (models_directory() if models is None else models) / name
    card = read_card(source)
    ensemble = read_ensemble(source, protocol_file)
    if ensemble is not None:
        if epochs is not None:
            ensemble = (replace(ensemble[0], epochs=epochs), ensemble[1])
        train_ensemble(card, *ensemble, data, out, minutes=minutes, resume=resume, progress=progress)
        shutil.copy(source / protocol_file, out / TRAINING_FILE)
        return export_card(card, out, members=len(ensemble[1].folds))
    protocol, split = read_protocol(source, fold, protocol_file)
    if epochs is not None:
        protocol = Protocol(**{**vars(protocol), "epochs": epochs})
    checkpoint = out / CHECKPOINT_FILE
    take_folder(out, CHECKPOINT_FILE, resume=resume)

    cases = {case.name: case for case in load_cases(data)}
    training = _slices(cases, split.train, card)
    positives = [item for item in training if item.has_lesion]
    healthy = [item for item in training if not item.has_lesion]
    validation = _slices(cases, split.validation, card)

    torch.manual_seed(protocol.seed)
    state = new_state(build_network(card.network), protocol, device)
    if checkpoint.exists():
        restore_state(state, checkpoint)
    train_network(
        state,
        positives,
        healthy,
        validation,
        card,
        protocol,
        read_augmentation(source, protocol_file),
        out,
        minutes=minutes,
        progress=progress,
    )
    _write_protocol(source / protocol_file, split, out / TRAINING_FILE)
    return export_model(state, card, out)


def _write_protocol(source: Path, split: Split, target: Path) -> None:
    """The protocol with the split that was used, which of several folds is one."""
    text = source.read_text(encoding="utf-8")
    if re.search(r"^\[cross_validation\]", text, flags=re.MULTILINE):
        text = re.sub(r"^\[cross_validation\].*", "[split]\n", text, flags=re.MULTILINE | re.DOTALL)
        text += "".join(f"{use} = {json.dumps(names)}\n" for use, names in vars(split).items())
    target.write_text(text, encoding="utf-8")


def export_model(state: TrainingState, card: ModelCard, out: Path) -> ModelCard:
    """The best weights as safetensors in ``out``, with the card."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in state.best.items()}
    save_file(tensors, out / card.weights.file)
    (out / card.weights.file).chmod(0o644)
    return export_card(card, out)


def export_card(card: ModelCard, out: Path, members: int | None = None) -> ModelCard:
    """The card of the weights in ``out``, with the protocol; figures of older weights are left out.

    ``members`` is how many networks an ensemble has, if that is not what its card says.
    """
    write_card(card.directory, card.name, card.weights.file, out)
    if members is not None:
        path = out / CARD_FILE
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"^members = .*$", f"members = {members}", text, flags=re.MULTILINE), "utf-8")
    return read_card(out)


def write_card(source: Path, name: str, weights_file: str, out: Path) -> None:
    """Card and protocol of the model in ``source`` beside the weights in ``out``, without older figures."""
    text = card_path(source).read_text(encoding="utf-8")
    for older in (r"\[\[figures\]\]", r"\[error\]"):
        text = re.sub(rf"^{older}.*?(?=^\[|\Z)", "", text, flags=re.DOTALL | re.MULTILINE)
    digest = sha256_of(out / weights_file)
    text, replaced = re.subn(r'^sha256 = ".*"$', f'sha256 = "{digest}"', text, flags=re.MULTILINE)
    if replaced != 1:
        raise DataError(f'the card of {name} needs exactly one line sha256 = "..."')
    (out / CARD_FILE).write_text(text.rstrip() + "\n", encoding="utf-8")
    if not (out / TRAINING_FILE).exists():
        shutil.copy(source / TRAINING_FILE, out / TRAINING_FILE)


def _slices(cases: dict[str, LabelledCase], names: tuple[str, ...], card: ModelCard) -> list[Slice]:
    if missing := sorted(set(names) - cases.keys()):
        raise DataError(f"the data lack {', '.join(missing)}, which the split of {card.name} names")
    split_hu = card.postprocessing.consolidation_hu
    return [item for name in names for item in prepare_slices(cases[name], card.preprocessing, split_hu)]

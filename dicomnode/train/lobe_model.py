"""A lobe model from masks to a model folder, and its scores: what ``train`` and ``evaluate`` do for lobes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from dicomnode.segment.card_file import build_section
from dicomnode.segment.lobe_card import LobeCard, read_lobe_card
from dicomnode.segment.lobes import LobeModel
from dicomnode.segment.networks.factory import build_network
from dicomnode.segment.segmentation import Lobe, Side
from dicomnode.train.cases import DataError
from dicomnode.train.evaluation import UNSEEN, Score
from dicomnode.train.lobe_cases import LobeCase, has_lobes, load_lobe_case, lobe_case_names
from dicomnode.train.lobe_shapes import LungShape, lung_shapes
from dicomnode.train.lobe_training import CHECKPOINT_FILE, LobeProtocol, LobeTraining, Progress, train_lobes
from dicomnode.train.protocol import TRAINING_FILE, Split, read_document
from dicomnode.train.training import write_card
from dicomnode.train.training_folder import half_precision, take_folder

SIDE_OF = np.array([Side.NONE, *[Side.RIGHT] * 3, *[Side.LEFT] * 2], np.uint8)


def train_lobe_model(
    source: Path,
    data: Path,
    out: Path,
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> LobeCard:
    """Train the lobe model in the folder ``source`` on the masks in ``data`` and write it to ``out``.

    ``data`` holds the masks, or folders of them. ``epochs`` and ``minutes`` are other ends than the
    protocol's; ``resume`` goes on from the checkpoint in ``out``.

    Raises
    ------
    ModelError
        If the card or the protocol is wrong.
    DataError
        If the data lack a case of the split, or ``out`` already holds another training.
    """
    card = read_lobe_card(source)
    protocol, split = read_lobe_protocol(source)
    if epochs is not None:
        protocol = replace(protocol, epochs=epochs)
    checkpoint = out / CHECKPOINT_FILE
    take_folder(out, CHECKPOINT_FILE, resume=resume)
    places = _places(data)
    training, validation = (_shapes(places, names) for names in (split.train, split.validation))
    torch.manual_seed(protocol.seed)
    state = LobeTraining.start(build_network(card.network), protocol)
    if checkpoint.exists():
        state.restore(checkpoint)
    train_lobes(
        state, training, validation, card.grid.shape, protocol, out, minutes=minutes, progress=progress
    )
    return export_lobe_model(state.best, card, out)


def export_lobe_model(weights: dict[str, torch.Tensor], card: LobeCard, out: Path) -> LobeCard:
    """Weights (as float16) with their card and protocol in ``out``; figures of older weights are left out."""
    save_file(half_precision(weights), out / card.weights.file)
    (out / card.weights.file).chmod(0o644)
    write_card(card.directory, card.name, card.weights.file, out)
    return read_lobe_card(out)


def read_lobe_protocol(directory: Path) -> tuple[LobeProtocol, Split]:
    """Protocol and split of the lobe model in ``directory``.

    Raises
    ------
    DataError
        If the file is missing or lacks a section.
    ModelError
        If it has unknown or missing keys.
    """
    path = directory / TRAINING_FILE
    document = read_document(path)
    if document.keys() != {"protocol", "split"}:
        raise DataError(f"{path} must have the sections [protocol] and [split] and no other")
    return (
        build_section(LobeProtocol, document["protocol"], f"{path} [protocol]"),
        build_section(Split, document["split"], f"{path} [split]"),
    )


def score_lobes(model: LobeModel, data: Path, progress: Callable[[float], None] | None = None) -> list[Score]:
    """Dice and volume error of each lobe of each case in ``data``, the lungs taken from the masks.

    Raises
    ------
    DataError
        If there is no case, or one can't be read.
    """
    directory = model.card.directory
    uses = read_lobe_protocol(directory)[1].uses if (directory / TRAINING_FILE).is_file() else {}
    names = lobe_case_names(data)
    if not names:
        raise DataError(f"{data} holds no lobe masks that dicomnode knows the layout of")
    scores = []
    for index, name in enumerate(names):
        scores += score_lobe_case(model, load_lobe_case(data, name), uses.get(name, UNSEEN))
        if progress is not None:
            progress((index + 1) / len(names))
    return scores


def score_lobe_case(model: LobeModel, case: LobeCase, use: str) -> list[Score]:
    """Scores of one case, one a lobe."""
    found = model.find(SIDE_OF[case.lobes], case.spacing_mm).lobes
    scores, voxel_ml = [], float(np.prod(case.spacing_mm)) / 1000
    for lobe in Lobe:
        if lobe is Lobe.NONE:
            continue
        mask, truth = found == lobe, case.lobes == lobe
        hit, marked, real = (int(np.count_nonzero(m)) for m in (mask & truth, mask, truth))
        scores.append(
            Score(
                case=case.name,
                use=use,
                label=lobe.name.lower(),
                dice=2 * hit / (marked + real) if marked + real else None,
                sensitivity=hit / real if real else None,
                ppv=hit / marked if marked else None,
                volume_error_percent=100 * (marked - real) / real if real else None,
                reference_ml=real * voxel_ml,
                found_ml=marked * voxel_ml,
            )
        )
    return scores


def _places(data: Path) -> dict[str, Path]:
    """Which folder holds each case: ``data`` itself or one in it."""
    folders = [data, *sorted(path for path in data.glob("*") if path.is_dir())]
    return {name: folder for folder in folders if has_lobes(folder) for name in lobe_case_names(folder)}


def _shapes(places: dict[str, Path], names: tuple[str, ...]) -> list[LungShape]:
    if missing := sorted(set(names) - places.keys()):
        raise DataError(f"the data lack {', '.join(missing)}, which the split of the lobe model names")
    return [shape for name in names for shape in lung_shapes(load_lobe_case(places[name], name))]

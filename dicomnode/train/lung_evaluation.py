"""Lungs scored against masks: of whole chests as the node finds them, of pictures by the network alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dicomnode.assemble.refusal import SeriesRefusedError
from dicomnode.segment.lung_network import LungNetwork
from dicomnode.segment.lungs import find_lungs
from dicomnode.train.cases import DataError
from dicomnode.train.chests import chest_pairs, holds_chests, read_chest
from dicomnode.train.evaluation import UNSEEN, Score, score_masks
from dicomnode.train.lung_cases import LungCase, load_lung_cases
from dicomnode.train.lung_model import read_lung_training
from dicomnode.train.protocol import TRAINING_FILE
from dicomnode.train.volumes import find_volumes, load_volumes

LUNG, CLASSICAL_LUNG, NETWORK_LUNG = "lung", "lung_classical", "lung_network"
"""Labels: as the node finds lungs with the network, without it, and what the network alone calls lung."""

Chest = tuple[str, NDArray[np.int16], NDArray[np.bool_], tuple[float, float, float]]


def score_lungs(
    network: LungNetwork, data: Path, progress: Callable[[float], None] | None = None
) -> list[Score]:
    """Scores of every case in ``data``: CT volumes with lung masks, or the sets of single pictures.

    Of a volume the lungs with and without the network are scored, each 0 where the node refuses it. Pictures
    (``covid20_clahe``, ``covid10_linear``) are no volume to the node: of them the network's answer alone is.

    Raises
    ------
    DataError
        If there is no case, or one can't be read.
    """
    directory = network.card.directory
    known = (directory / TRAINING_FILE).is_file()
    uses = read_lung_training(directory).split.uses if known else {}
    chests = _chests(data)
    if chests is not None:
        count, pairs = chests
        scored = (score_chest(network, chest, uses.get(chest[0], UNSEEN)) for chest in pairs)
    else:
        cases = load_lung_cases(data, None, network.card.input.spacing_mm)
        count = len(cases)
        scored = ([score_pictures(network, case, uses.get(case.name, UNSEEN))] for case in cases)
    scores = []
    for index, rows in enumerate(scored):
        scores += rows
        if progress is not None:
            progress((index + 1) / count)
    return scores


def score_chest(network: LungNetwork, chest: Chest, use: str) -> list[Score]:
    """Lungs of one volume with and without the network."""
    name, hu, truth, spacing_mm = chest
    scores = []
    for label, chosen in ((LUNG, network), (CLASSICAL_LUNG, None)):
        try:
            found = find_lungs(hu, spacing_mm, network=chosen).sides > 0
        except SeriesRefusedError:
            found = np.zeros_like(truth)
        scores.append(score_masks(name, use, label, [found], [truth]))
    return scores


def score_pictures(network: LungNetwork, case: LungCase, use: str) -> Score:
    """What the network alone calls lung in the slices of one patient, at its own spacing."""
    found = network.slices(torch.from_numpy(case.hu), case.step_mm).numpy() >= network.card.rules.probability
    return score_masks(case.name, use, NETWORK_LUNG, [found], [case.lung])


def _chests(data: Path) -> tuple[int, Iterator[Chest]] | None:
    """How many volumes with a lung mask there are, and they one after the other; none in another layout."""
    if holds_chests(data):
        pairs = chest_pairs(data)
        return len(pairs), ((name, *read_chest(image, mask)) for name, image, mask in pairs)
    volumes = find_volumes(data)
    return (len(volumes), _volumes(data)) if volumes else None


def _volumes(data: Path) -> Iterator[Chest]:
    found = False
    for case in load_volumes(data):
        if "lung" in case.truth:
            found = True
            yield case.name, case.hu, case.truth["lung"], case.spacing_mm
    if not found:
        raise DataError(f"{data} holds CT volumes but no mask of lungs")

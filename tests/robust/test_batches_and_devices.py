"""The answer must not depend on how many slices are computed at once, nor on where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dicomnode.config_sections import Analysis
from dicomnode.segment.card import load_card, models_directory, read_card, sha256_of
from dicomnode.segment.card_file import CARD_FILE, UNTRAINED_FILE
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.lobe_card import is_lobe_model
from dicomnode.segment.lung_card import is_lung_model
from dicomnode.segment.networks.factory import build_network
from dicomnode.segment.segmentation import Segmentation
from dicomnode.segment.segmenter import Segmenter
from tests.robust.patient import Chest, dice

MODELS = sorted(
    d.name
    for d in models_directory().iterdir()
    if d.is_dir() and not is_lobe_model(d) and not is_lung_model(d)
)
SLICES = slice(24, 28)
BATCHES = (3,)
LAST_CHANNELS = 3
needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device: that CPU and GPU agree can't be seen here"
)

MakeModel = Callable[[str, str], LesionModel]


@pytest.fixture(scope="module")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """A model by name and device; one that isn't trained gets random weights, the same each time."""

    def make(name: str, device: str) -> LesionModel:
        directory = models_directory() / name
        if (directory / CARD_FILE).is_file():
            return LesionModel(load_card(directory), device)
        copy = tmp_path_factory.mktemp("models") / name
        copy.mkdir()
        save_file(_random_network(directory).state_dict(), copy / "weights.safetensors")
        card = (directory / UNTRAINED_FILE).read_text(encoding="utf-8")
        digest = sha256_of(copy / "weights.safetensors")
        (copy / CARD_FILE).write_text(card.replace("none yet", digest), encoding="utf-8")
        return LesionModel(load_card(copy), device)

    return make


def _random_network(directory: Path) -> nn.Module:
    torch.manual_seed(1)
    network = build_network(read_card(directory).network)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.out_channels <= LAST_CHANNELS:
                # Fresh heads hardly tell one voxel from another: differences count more, what all share less.
                module.weight -= module.weight.mean(dim=1, keepdim=True)
                module.weight *= 2
    return network


@pytest.mark.parametrize("name", MODELS)
def test_any_batch_size_gives_the_same_probabilities(
    make_model: MakeModel, chest: Chest, undisturbed: Segmentation, name: str
) -> None:
    model, hu, lung = make_model(name, "cpu"), chest.hu[SLICES], undisturbed.lung[SLICES]
    reference = model.probabilities(hu, lung, chest.spacing_mm).lesion
    levels = reference[lung]
    assert np.ptp(levels) > 10, "nothing to tell apart"
    for batch_size in BATCHES:
        other = model.probabilities(hu, lung, chest.spacing_mm, batch_size=batch_size).lesion[lung]
        for threshold in np.unique(np.percentile(levels, (25, 50, 75, 99)).astype(np.uint8)):
            changed = np.count_nonzero((levels >= threshold) != (other >= threshold))
            assert changed <= levels.size / 10_000


@needs_cuda
@pytest.mark.parametrize("name", MODELS)
def test_cpu_and_gpu_agree(make_model: MakeModel, chest: Chest, undisturbed: Segmentation, name: str) -> None:
    hu, lung = chest.hu[SLICES], undisturbed.lung[SLICES]
    found = [
        make_model(name, device).probabilities(hu, lung, chest.spacing_mm).lesion[lung]
        for device in ("cpu", "cuda")
    ]
    # Random weights may call all or nothing a lesion: a threshold in the middle tells as much.
    trained = (models_directory() / name / CARD_FILE).is_file()
    threshold = 100 if trained else int(np.median(found[0]))
    assert dice(found[0] >= threshold, found[1] >= threshold) >= 0.999


@needs_cuda
def test_cpu_and_gpu_agree_on_a_whole_chest(chest: Chest, undisturbed: Segmentation) -> None:
    other = Segmenter.load(Analysis().model, "cuda").segment(chest.volume())
    assert dice(undisturbed.lesion, other.lesion) >= 0.999
    assert dice(undisturbed.lung, other.lung) >= 0.999

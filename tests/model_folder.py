"""A model folder with a small network, for tests."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from dicomnode.segment.card import ModelCard, load_card, sha256_of
from dicomnode.segment.networks.unet2d import UNet2d

CARD = """name = "small"
version = "1"
description = "a small U-Net"
labels = ["normal lung", "ground-glass opacity", "consolidation"]
licence = "none"
intended_use = "tests"
limits = []
training_data = []
training_protocol = []

[preprocessing]
window_center_hu = -600
window_width_hu = 1500
outside_hu = -3024
spacing_mm = 2.0
crop_margin_mm = 4

[network]
module = "unet2d"
class_name = "UNet2d"

[network.parameters]
width = 4

[weights]
file = "weights.safetensors"
sha256 = "{sha256}"

[postprocessing]
probability_threshold = 0.5
consolidation_hu = -300
minimum_lesion_ml = 0.05
"""


def make_model(directory: Path, network: UNet2d | None = None) -> ModelCard:
    """Card of a model written into ``directory``; random weights unless a network is given."""
    torch.manual_seed(1)
    directory.mkdir(parents=True, exist_ok=True)
    save_file((network or UNet2d(width=4)).state_dict(), directory / "weights.safetensors")
    digest = sha256_of(directory / "weights.safetensors")
    (directory / "model.toml").write_text(CARD.replace("{sha256}", digest), encoding="utf-8")
    return load_card(directory)


def density_network() -> UNet2d:
    """A network that marks what is denser than about -600 HU: one channel carries the image to the end."""
    network = UNet2d(width=4).eval()
    state = network.state_dict()
    for name, tensor in state.items():
        if name.endswith("running_var"):
            tensor.fill_(1 - 1e-5)
        elif tensor.is_floating_point():
            tensor.zero_()
    for name in ("initial.0", "initial.3", "decoders.3.0", "decoders.3.3"):
        state[f"{name}.weight"][0, 0, 1, 1] = 1
    for name, tensor in state.items():
        if name.endswith((".1.weight", ".4.weight")):
            tensor.fill_(1)
    state["final.weight"][0, 0] = 100
    state["final.bias"].fill_(-50)
    network.load_state_dict(state)
    return network

"""The MEDIP U-Net: shape, receptive field, initialisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dicomnode.segment.card import ModelError, NetworkSpec
from dicomnode.segment.networks.factory import build_network
from dicomnode.segment.networks.unet2d import UNet2d


def test_logits_have_the_image_s_shape_and_no_sigmoid_in_them() -> None:
    torch.manual_seed(0)
    logits = UNet2d(width=4).eval()(torch.randn(2, 1, 32, 48))
    assert logits.shape == (2, 1, 32, 48)
    assert logits.min() < 0


def test_it_has_four_encoders_and_four_decoders_of_convolution_normalisation_and_relu() -> None:
    network = UNet2d(width=4)
    assert len(network.encoders) == len(network.decoders) == 4
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [m.kernel_size for m in convolutions] == [(3, 3)] * 18 + [(1, 1)]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 18
    assert sum(isinstance(m, nn.ReLU) for m in network.modules()) == 18


def test_the_width_doubles_with_each_encoder() -> None:
    channels = [m.out_channels for m in UNet2d(width=6).encoders.modules() if isinstance(m, nn.Conv2d)]
    assert channels == [12, 12, 24, 24, 48, 48, 96, 96]


def test_weights_follow_kaiming() -> None:
    torch.manual_seed(0)
    last = [m for m in UNet2d(width=32).modules() if isinstance(m, nn.Conv2d)][8]
    assert last.weight.std().item() == pytest.approx((2 / (9 * last.out_channels)) ** 0.5, rel=0.02)


def test_a_pixel_far_away_changes_the_answer() -> None:
    torch.manual_seed(0)
    network = UNet2d(width=4).eval()
    image = torch.randn(1, 1, 64, 64)
    changed = image.clone()
    changed[0, 0, 10, 10] = 5
    assert not torch.equal(network(image)[0, 0, 40, 40], network(changed)[0, 0, 40, 40])


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        UNet2d(width=4)(torch.zeros(1, 1, 40, 32))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (NetworkSpec("nowhere", "UNet2d"), "no network"),
        (NetworkSpec("unet2d", "Absent"), "no network"),
        (NetworkSpec("unet2d", "ENCODERS"), "is no network"),
        (NetworkSpec("unet2d", "UNet2d", {"depth": 3}), "doesn't take"),
        (NetworkSpec("..evil", "UNet2d"), "no module name"),
    ],
)
def test_a_card_that_names_no_network_is_told_so(spec: NetworkSpec, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        build_network(spec)

"""COVID-Lesion Net: the parts that its paper counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dicomnode.segment.networks.lesion_net import LesionNet


def test_it_has_twelve_segments_three_transposed_convolutions_and_bridges_that_concatenate() -> None:
    network = LesionNet(width=4)
    kernels = [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [(3, 3)] * 12 + [(1, 1)]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == 12
    assert sum(isinstance(m, nn.ReLU) for m in network.modules()) == 12
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in network.modules()) == 3
    merged = [m[0].in_channels for m in network.merge if isinstance(m, nn.Sequential)]
    assert merged == [32, 16, 8]  # twice what each level has


def test_three_poolings_leave_an_eighth() -> None:
    seen: list[torch.Size] = []
    network = LesionNet(width=4)
    network.bottom.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    assert network(torch.zeros(2, 1, 32, 48)).shape == (2, 1, 32, 48)
    assert seen == [torch.Size((2, 32, 4, 6))]


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        LesionNet(width=4)(torch.zeros(1, 1, 36, 32))

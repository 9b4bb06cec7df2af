"""Exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def average_weights(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move ``average`` towards ``network`` by 1 - ``decay``; counters are copied."""
    current = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])

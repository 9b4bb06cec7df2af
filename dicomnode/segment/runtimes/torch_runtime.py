"""Torch: the network as it is, the reference; and with batch normalisation folded into its convolutions."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from dicomnode.segment.runtimes.runtime import BFLOAT16, FUSED, TORCH, Choice, batches

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class TorchRuntime:
    """The network itself, on any device."""

    def __init__(self, network: nn.Module, device: torch.device, precision: str) -> None:
        self.choice = Choice(TORCH, precision)
        self._device = device
        self._network = placed(network.eval(), device, torch.float32)

    def run(self, method: str, planes: Tensor, *, batch: int, overlap: int = 0) -> Tensor:
        """See :class:`~dicomnode.segment.runtimes.runtime.Runtime`."""
        found = []
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self.choice.precision == BFLOAT16),
        ):
            for count, part in batches(planes, batch, overlap):
                found.append(getattr(self._network, method)(in_order(part))[:count])
        return torch.cat(found)


class FusedRuntime:
    """A copy of the network without batch normalisations, its weights in the precision it computes in."""

    def __init__(self, network: nn.Module, device: torch.device, precision: str) -> None:
        self.choice = Choice(FUSED, precision)
        self._dtype = DTYPES[precision]
        self._network = placed(folded(network), device, self._dtype)

    def run(self, method: str, planes: Tensor, *, batch: int, overlap: int = 0) -> Tensor:
        """See :class:`~dicomnode.segment.runtimes.runtime.Runtime`."""
        found = []
        with torch.inference_mode():
            for count, part in batches(planes.to(self._dtype), batch, overlap):
                found.append(getattr(self._network, method)(in_order(part))[:count])
        return torch.cat(found)


def placed(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The network itself on a device, the weights of 2D convolutions in the order they are fastest in."""
    if any(isinstance(module, nn.Conv3d) for module in network.modules()):
        return network.to(device, dtype=dtype)
    moved: nn.Module = network.to(device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def in_order(planes: Tensor) -> Tensor:
    """Planes in the order of memory that convolutions are fastest with; volumes as they are."""
    return planes.contiguous(memory_format=torch.channels_last) if planes.ndim == 4 else planes.contiguous()


def folded(network: nn.Module) -> nn.Module:
    """A copy in which a batch normalisation right behind a convolution is part of its weights."""
    copied = copy.deepcopy(network).eval()
    for module in copied.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(len(module) - 1):
            layer, norm = module[index], module[index + 1]
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                if isinstance(layer, nn.Conv2d | nn.Conv3d):
                    module[index] = fuse_conv_bn_eval(layer, norm)
                elif isinstance(layer, nn.Linear):
                    module[index] = fuse_linear_bn_eval(layer, norm)
                else:
                    continue
                module[index + 1] = nn.Identity()
    return copied

"""A U-Net on patches of 2 x 2 pixels, and several of them averaged: what two CPU cores train and run quickly.

The image is folded into channels at half resolution and the logits are unfolded again, so that every
convolution has at least ``width`` channels: the work per pixel is that of a U-Net twice as coarse.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dicomnode.segment.networks.layers import check_sides, double_convolution, initialise_kaiming

PATCH = 2
WIDEST = 8
"""The deepest levels have at most this many times the channels of the first."""


class PatchUNet(nn.Module):
    """2D U-Net between a pixel-unshuffle and a pixel-shuffle; 3x3 convolution, batch normalisation, ReLU.

    Parameters
    ----------
    in_channels, out_channels:
        Channels of the image and of the logits.
    width:
        Channels at half resolution; each level below doubles them up to eightfold.
    levels:
        Resolutions, the first one at half the image's.
    """

    def __init__(self, in_channels: int = 2, out_channels: int = 2, width: int = 32, levels: int = 4) -> None:
        super().__init__()
        self.stride = PATCH * 2 ** (levels - 1)
        widths = [width * min(2**level, WIDEST) for level in range(levels)]
        self.initial = double_convolution(in_channels * PATCH**2, widths[0])
        self.encoders = nn.ModuleList(double_convolution(fine, coarse) for fine, coarse in pairwise(widths))
        self.decoders = nn.ModuleList(
            double_convolution(coarse + fine, fine)
            for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.final = nn.Conv2d(widths[0], out_channels * PATCH**2, kernel_size=1)
        initialise_kaiming(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, out_channels, rows, columns) of an image (batch, in_channels, rows, columns).

        Raises
        ------
        ValueError
            If rows or columns are no multiple of ``stride``.
        """
        check_sides("PatchUNet", image, self.stride)
        features = self.initial(F.pixel_unshuffle(image, PATCH))
        skipped = []
        for encoder in self.encoders:
            skipped.append(features)
            features = encoder(F.max_pool2d(features, 2))
        for decoder in self.decoders:
            features = F.interpolate(features, scale_factor=2, mode="nearest")
            features = decoder(torch.cat((skipped.pop(), features), dim=1))
        return F.pixel_shuffle(self.final(features), PATCH)


class PatchUNetEnsemble(nn.Module):
    """``members`` networks :class:`PatchUNet` whose probabilities are averaged."""

    def __init__(self, members: int, **parameters: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(PatchUNet(**parameters) for _ in range(members))
        self.stride = int(self.members[0].stride)  # type: ignore[arg-type]
        self.chosen: tuple[int, ...] = tuple(range(members))

    def choose(self, members: Sequence[int]) -> None:
        """Average these members only: those that never saw a case score it."""
        if not members or not set(members) <= set(range(len(self.members))):
            raise ValueError(f"members {tuple(members)} are no choice of {len(self.members)}")
        self.chosen = tuple(members)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the mean probability of the chosen members; image and logits as in the members."""
        mean = sum(torch.sigmoid(self.members[index](image).float()) for index in self.chosen)
        return logit(torch.as_tensor(mean) / len(self.chosen))


def logit(probability: Tensor) -> Tensor:
    """``torch.logit`` in words that converters know."""
    probability = probability.clamp(1e-6, 1 - 1e-6)
    return torch.log(probability / (1 - probability))

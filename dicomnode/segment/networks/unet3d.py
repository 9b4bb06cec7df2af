"""A small 3D U-Net for coarse grids: lobes from the shape of a lung."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_GROUPS = 4


class UNet3d(nn.Module):
    """Double convolutions (3 x 3 x 3, group normalisation, leaky ReLU) on ``levels`` + 1 resolutions.

    Group normalisation, not batch normalisation: a lung's result must not depend on what is computed beside
    it. Decoders upsample trilinearly and concatenate the encoder's features.

    Parameters
    ----------
    in_channels, out_channels:
        Channels of the input and of the logits.
    width:
        Channels at full resolution, a multiple of 4; each level doubles them.
    levels:
        How often the resolution is halved.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int = 12, levels: int = 3) -> None:
        super().__init__()
        self.stride = 2**levels
        widths = [width * 2**level for level in range(levels + 1)]
        self.initial = _double_convolution(in_channels, widths[0])
        self.encoders = nn.ModuleList(_double_convolution(fine, coarse) for fine, coarse in pairwise(widths))
        self.decoders = nn.ModuleList(
            _double_convolution(coarse + fine, fine)
            for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.final = nn.Conv3d(widths[0], out_channels, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, out_channels, z, y, x) of an image (batch, in_channels, z, y, x).

        Raises
        ------
        ValueError
            If a side of the grid is no multiple of ``stride``.
        """
        if any(size % self.stride for size in image.shape[2:]):
            raise ValueError(
                f"UNet3d needs a grid in multiples of {self.stride}, got {tuple(image.shape[2:])}"
            )
        features = self.initial(image)
        skipped = []
        for encoder in self.encoders:
            skipped.append(features)
            features = encoder(F.max_pool3d(features, 2))
        for decoder in self.decoders:
            features = F.interpolate(features, scale_factor=2, mode="trilinear", align_corners=False)
            features = decoder(torch.cat((skipped.pop(), features), dim=1))
        logits: Tensor = self.final(features)
        return logits


def _double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.GroupNorm(NORM_GROUPS, out_channels),
        nn.LeakyReLU(0.05, inplace=True),
        nn.Conv3d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.GroupNorm(NORM_GROUPS, out_channels),
        nn.LeakyReLU(0.05, inplace=True),
    )

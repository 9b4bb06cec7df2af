"""COVID-Lesion Net (Pan, Li et al. 2020): U-Net combined with FCN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dicomnode.segment.networks.layers import check_sides

POOLINGS = 3


class LesionNet(nn.Module):
    """12 convolutional segments, 3 max-poolings, 3 transposed convolutions, concatenating bridges, 1x1 last.

    A segment is a 3x3 convolution, batch normalisation and ReLU. Two segments stand at each of three
    resolutions on the way down, three at the lowest, and one after each transposed convolution on the way up
    and its bridge. The paper prints the numbers of the parts, not where they stand, nor widths.

    Parameters
    ----------
    width:
        Channels at full resolution; each pooling doubles them.
    """

    stride = 2**POOLINGS
    """Rows and columns of the input must be multiples of this."""

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 16) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(POOLINGS + 1)]
        self.down = nn.ModuleList()
        channels = in_channels
        for wide in widths[:-1]:
            self.down.append(nn.Sequential(_segment(channels, wide), _segment(wide, wide)))
            channels = wide
        deepest = widths[-1]
        self.bottom = nn.Sequential(
            _segment(channels, deepest), _segment(deepest, deepest), _segment(deepest, deepest)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * wide, wide, kernel_size=2, stride=2) for wide in widths[-2::-1]
        )
        self.merge = nn.ModuleList(_segment(2 * wide, wide) for wide in widths[-2::-1])
        self.final = nn.Conv2d(width, out_channels, kernel_size=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, out_channels, rows, columns) of an image (batch, in_channels, rows, columns).

        Raises
        ------
        ValueError
            If rows or columns are no multiple of ``stride``.
        """
        check_sides("LesionNet", image, self.stride)
        features, bridges = image, []
        for segments in self.down:
            features = segments(features)
            bridges.append(features)
            features = F.max_pool2d(features, 2)
        features = self.bottom(features)
        for transposed, segment in zip(self.up, self.merge, strict=True):
            features = segment(torch.cat((bridges.pop(), transposed(features)), dim=1))
        logits: Tensor = self.final(features)
        return logits


def _segment(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )

"""The 2D U-Net of MEDIP (Yoo et al., "Automatic CT quantification of coronavirus disease 2019 pneumonia")."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dicomnode.segment.networks.layers import check_sides, double_convolution, initialise_kaiming

ENCODERS = 4


class UNet2d(nn.Module):
    """Initial convolutions, 4 encoders, 4 decoders, final 1x1 convolution.

    Every convolution but the last is 3x3 + batch normalisation + ReLU; decoders upsample bilinearly and
    concatenate the encoder's features. Kaiming initialisation.

    Parameters
    ----------
    in_channels, out_channels:
        Channels of the image and of the logits.
    width:
        Channels of the initial convolutions; each encoder doubles them. The paper does not print its width.
    """

    stride = 2**ENCODERS
    """Rows and columns of the input must be multiples of this."""

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 16) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(ENCODERS + 1)]
        self.initial = double_convolution(in_channels, widths[0])
        self.encoders = nn.ModuleList(double_convolution(fine, coarse) for fine, coarse in pairwise(widths))
        self.decoders = nn.ModuleList(
            double_convolution(coarse + fine, fine)
            for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.final = nn.Conv2d(widths[0], out_channels, kernel_size=1)
        initialise_kaiming(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, out_channels, rows, columns) of an image (batch, in_channels, rows, columns).

        Raises
        ------
        ValueError
            If rows or columns are no multiple of ``stride``.
        """
        check_sides("UNet2d", image, self.stride)
        features = self.initial(image)
        skipped = []
        for encoder in self.encoders:
            skipped.append(features)
            features = encoder(F.max_pool2d(features, 2))
        for decoder in self.decoders:
            features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = decoder(torch.cat((skipped.pop(), features), dim=1))
        logits: Tensor = self.final(features)
        return logits

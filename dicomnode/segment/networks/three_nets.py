"""The three slice-wise CNNs of the Marseille pipeline (Bartoli, Fournel et al. 2022) as one module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dicomnode.segment.networks.unet2d import UNet2d


class ThreeNets(nn.Module):
    """A U-Net each for lungs, lesions, and what of a lesion is consolidation.

    They share nothing: no gradient of one reaches another, so training them side by side is training three.
    The paper calls them 2D, slice-based and of U-Net type and prints no more; here each is a
    :class:`~dicomnode.segment.networks.unet2d.UNet2d`.

    Parameters
    ----------
    width:
        Channels of each network's initial convolutions.
    """

    stride = UNet2d.stride
    """Rows and columns of the input must be multiples of this."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.lung = UNet2d(width=width)
        self.lesion = UNet2d(width=width)
        self.consolidation = UNet2d(width=width)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of lung, lesion and consolidation (batch, 3, rows, columns) of an image (batch, 1, ...)."""
        return torch.cat((self.lung(image), self.lesion(image), self.consolidation(image)), dim=1)

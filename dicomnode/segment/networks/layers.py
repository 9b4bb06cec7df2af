"""What the 2D networks share: their pairs of convolutions, their first weights, the sizes they take."""

from __future__ import annotations

from torch import Tensor, nn


def double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice: convolution 3 x 3, batch normalisation, ReLU; rows and columns stay."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def initialise_kaiming(network: nn.Module) -> None:
    """First weights of all 2D convolutions for ReLU (He et al. 2015), over what goes out of each; no bias."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def check_sides(name: str, image: Tensor, stride: int) -> None:
    """Refuse an image (batch, channels, rows, columns) that the network ``name`` can't halve often enough.

    Raises
    ------
    ValueError
        If rows or columns are no multiple of ``stride``.
    """
    if image.shape[-1] % stride or image.shape[-2] % stride:
        raise ValueError(
            f"{name} needs rows and columns in multiples of {stride}, got {tuple(image.shape[-2:])}"
        )

"""DeepLung (Grodecki, Killekar et al.): a ConvLSTM over neighbouring slices with an attention head.

The paper prints the parts and how they meet, but no widths. Chosen here: growth, layers and stem of the dense
block as in DenseNet, but few of them; ``hidden`` channels of the ConvLSTM.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BOTTLENECK = 4
"""DenseNet's 1x1 convolutions give so many times the growth."""


class DenseBlock(nn.Module):
    """Stem and first dense block of a DenseNet: each layer sees the features of all before it.

    The stem is DenseNet's 7x7 convolution with a stride of 2; its pooling is left out, and so are the later
    blocks, which would lose what a mask needs.
    """

    def __init__(self, in_channels: int, growth: int, layers: int) -> None:
        super().__init__()
        channels = 2 * growth
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, kernel_size=7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.layers = nn.ModuleList()
        for layer in range(layers):
            self.layers.append(
                nn.Sequential(
                    nn.BatchNorm2d(channels + layer * growth),
                    nn.ReLU(),
                    nn.Conv2d(channels + layer * growth, BOTTLENECK * growth, kernel_size=1, bias=False),
                    nn.BatchNorm2d(BOTTLENECK * growth),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(BOTTLENECK * growth, growth, kernel_size=3, padding=1, bias=False),
                )
            )
        self.out_channels = channels + layers * growth

    def forward(self, image: Tensor) -> Tensor:
        """Features (batch, ``out_channels``, rows / 2, columns / 2)."""
        features: Tensor = self.stem(image)
        for layer in self.layers:
            features = torch.cat((features, layer(features)), dim=1)
        return features


class ConvLSTM(nn.Module):
    """Convolutional LSTM (Shi et al. 2015) without peepholes, its state zero before the first slice.

    The four gates are the sum of a convolution of the input and one of the state. The first doesn't depend
    on the sequence a slice is part of, so :meth:`drive` gives it once for all of them.
    """

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.from_input = nn.Conv2d(in_channels, 4 * hidden, kernel_size=3, padding=1)
        self.from_state = nn.Conv2d(hidden, 4 * hidden, kernel_size=3, padding=1, bias=False)

    def drive(self, slices: Tensor) -> Tensor:
        """What each slice (slices, channels, rows, columns) does to the gates: (slices, 4 hidden, ...)."""
        drive: Tensor = self.from_input(slices)
        return drive

    def run(self, drives: list[Tensor]) -> Tensor:
        """The state after a sequence, from what each of its slices does to the gates."""
        state = memory = None
        for drive in drives:
            gates = drive if state is None else drive + self.from_state(state)
            # channels interleaved with others would slow down everything below threefold, and its gradients
            enter, forget, out, candidate = (
                gate.contiguous(memory_format=torch.channels_last) for gate in gates.chunk(4, dim=1)
            )
            entering = torch.sigmoid(enter) * torch.tanh(candidate)
            memory = entering if memory is None else torch.sigmoid(forget) * memory + entering
            state = torch.sigmoid(out) * torch.tanh(memory)
        assert state is not None
        return state


class DeepLung(nn.Module):
    """Main branch: slice, dense block, segmentation head. Attention branch: slices, ConvLSTM, two heads.

    The logits are S = S_main * alpha + S_attention * (1 - alpha), alpha being the attention head's sigmoid.

    Parameters
    ----------
    context:
        Slices above and as many below that the ConvLSTM sees, from the first to the last.
    classes:
        Channels of the logits.
    growth, layers:
        Of the dense block.
    hidden:
        Channels of the ConvLSTM's state and of the heads.
    """

    stride = 2
    """Rows and columns of the input must be multiples of this."""

    def __init__(
        self, context: int = 5, classes: int = 3, growth: int = 16, layers: int = 6, hidden: int = 16
    ) -> None:
        super().__init__()
        self.context = context
        self.classes = classes
        self.dense = DenseBlock(1, growth, layers)
        self.main_head = _head(self.dense.out_channels, 2 * hidden, classes)
        self.lstm = ConvLSTM(1, hidden)
        self.attention_segmentation = _head(hidden, hidden, classes)
        self.attention_head = _head(hidden, hidden, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="leaky_relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (batch, classes, rows, columns) of the middle one of 2 x context + 1 slices.

        ``slices`` has the shape (batch, 2 x context + 1, rows, columns), in order.
        """
        count, depth, rows, columns = slices.shape
        if depth != 2 * self.context + 1:
            raise ValueError(f"DeepLung needs {2 * self.context + 1} slices, got {depth}")
        drives = self.lstm.drive(slices.reshape(count * depth, 1, rows, columns))
        in_order = drives.reshape(count, depth, -1, rows, columns).unbind(1)
        return self._join(self._main(slices[:, self.context, None]), list(in_order))

    def encode(self, slices: Tensor) -> Tensor:
        """What slices (slices, 1, rows, columns) bring into every window, as channels of one tensor."""
        return torch.cat((self._main(slices), self.lstm.drive(slices)), dim=1)

    def decode(self, encoded: Tensor) -> Tensor:
        """Logits of the n middle ones of n + 2 x context consecutive slices from what :meth:`encode` gave."""
        main, drives = encoded[:, : self.classes], encoded[:, self.classes :]
        count = len(encoded) - 2 * self.context
        windows = [drives[step : step + count] for step in range(2 * self.context + 1)]
        return self._join(main[self.context : self.context + count], windows)

    def _main(self, slices: Tensor) -> Tensor:
        logits = self.main_head(self.dense(slices))
        return F.interpolate(logits, slices.shape[-2:], mode="bilinear", align_corners=False)

    def _join(self, main: Tensor, drives: list[Tensor]) -> Tensor:
        state = self.lstm.run(drives)
        alpha = torch.sigmoid(self.attention_head(state))
        return main * alpha + self.attention_segmentation(state) * (1 - alpha)


def _head(in_channels: int, width: int, out_channels: int) -> nn.Sequential:
    """Two blocks of 3x3 convolution, batch normalisation, LeakyReLU, then a 1x1 convolution."""
    return nn.Sequential(
        nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(inplace=True),
        nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(inplace=True),
        nn.Conv2d(width, out_channels, kernel_size=1),
    )

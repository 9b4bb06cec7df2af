"""Losses on logits; targets are soft (0 to 1) because masks are resampled."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def bce_dice(logits: Tensor, target: Tensor, lung: Tensor, dice_weight: float) -> Tensor:
    """Binary cross-entropy over the lung plus ``dice_weight`` times the Dice loss over the whole batch.

    Outside the lung the input is constant and the result discarded, so it teaches nothing. All tensors have
    the shape (slices, rows, columns); the batch must hold some lung, else the loss is 0.
    """
    inside = lung.sum().clamp(min=1)
    bce = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * lung).sum() / inside
    probability = torch.sigmoid(logits) * lung
    overlap = 2 * (probability * target).sum() + 1
    dice = 1 - overlap / (probability.sum() + target.sum() + 1)
    return bce + dice_weight * dice

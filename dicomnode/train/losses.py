"""Losses on logits; targets are soft (0 to 1) because masks are resampled.

Logits, target and weight (where a pixel counts, 0 or 1) have the shape (slices, channels, rows, columns).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

REGION = 3
"""Side of the regions whose mutual information is taken, in pixels; their pixels are 9 dimensions."""

POOLING = 3
"""Target and prediction are averaged over so many pixels a side before regions are taken."""

RIDGE = 5e-4
"""Added to the diagonals of covariance matrices, which are singular where a mask is empty; the number is that
of the loss's authors' code (github.com/ZJULearning/RMI)."""


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


def channels_bce_dice(logits: Tensor, target: Tensor, weight: Tensor, dice_weight: float) -> Tensor:
    """Sum over the channels of :func:`bce_dice`, ``weight`` taking the lung's place."""
    planes = zip(logits.unbind(1), target.unbind(1), weight.unbind(1), strict=True)
    return torch.stack([bce_dice(*plane, dice_weight) for plane in planes]).sum()


def rmi(logits: Tensor, target: Tensor, weight: Tensor, cross_entropy_share: float) -> Tensor:
    """Region mutual information loss (Zhao et al., NeurIPS 2019) of one-hot targets.

    ``cross_entropy_share`` x binary cross-entropy + (1 - that) x the mean over the slices of the sum over the
    channels of 1/2 log det(M) / d, where M = cov(Y) - cov(Y, P) cov(P)^-1 cov(Y, P)^T is the covariance of
    the target's regions Y given the prediction's P, each a vector of d pixels: -1/2 log det(M) bounds their
    mutual information from below, but for a constant. Pixels of no weight count as background in both.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    cross_entropy = (cross_entropy * weight).sum(dim=1).mean() / weight.mean().clamp(min=1e-6)
    probability = torch.sigmoid(logits) * weight
    log_determinant = _conditional_log_determinant(_regions(target * weight), _regions(probability))
    information = 0.5 * log_determinant.mean(dim=0).sum() / REGION**2
    return cross_entropy_share * cross_entropy + (1 - cross_entropy_share) * information.to(logits.dtype)


def _regions(planes: Tensor) -> Tensor:
    """Centred vectors of all regions of the pooled planes: (slices, channels, d, regions) in float64."""
    pooled = F.avg_pool2d(planes.double(), POOLING)
    count, channels = pooled.shape[:2]
    vectors = F.unfold(pooled, REGION).reshape(count, channels, REGION**2, -1)
    return vectors - vectors.mean(dim=-1, keepdim=True)


def _conditional_log_determinant(y: Tensor, p: Tensor) -> Tensor:
    """log det of the covariance of y given p; (slices, channels)."""
    number = y.shape[-1]
    ridge = RIDGE * torch.eye(y.shape[-2], dtype=y.dtype, device=y.device)
    cov_y, cov_p, cov_yp = (a @ b.transpose(-1, -2) / number for a, b in ((y, y), (p, p), (y, p)))
    given = cov_y - cov_yp @ torch.linalg.solve(cov_p + ridge, cov_yp.transpose(-1, -2)) + ridge
    return 2 * torch.linalg.cholesky(given).diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)

"""Region mutual information against its formula, computed region by region."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dicomnode.train.losses import POOLING, REGION, RIDGE, channels_bce_dice, rmi


def _logits_and_target(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    target = torch.nn.functional.one_hot(torch.randint(0, 3, (2, 24, 30)), 3).permute(0, 3, 1, 2).float()
    target = torch.nn.functional.avg_pool2d(target, 5, stride=1, padding=2)
    return torch.randn(2, 3, 24, 30), target


def _regions(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pooled plane -> one row of REGION x REGION numbers a region, by loops."""
    rows, columns = (size // POOLING for size in plane.shape)
    pooled = np.array(
        [
            [
                plane[POOLING * r : POOLING * (r + 1), POOLING * c : POOLING * (c + 1)].mean()
                for c in range(columns)
            ]
            for r in range(rows)
        ]
    )
    return np.array(
        [
            pooled[r : r + REGION, c : c + REGION].ravel()
            for r in range(rows - REGION + 1)
            for c in range(columns - REGION + 1)
        ]
    )


def test_it_is_what_the_formula_gives_region_by_region() -> None:
    logits, target = _logits_and_target()
    probability = torch.sigmoid(logits).double().numpy()
    total = 0.0
    for item in range(2):
        for channel in range(3):
            y, p = _regions(target[item, channel].double().numpy()), _regions(probability[item, channel])
            both = np.cov(y.T, p.T, bias=True)
            d = REGION**2
            cov_y, cov_yp, cov_p = both[:d, :d], both[:d, d:], both[d:, d:]
            given = cov_y - cov_yp @ np.linalg.inv(cov_p + RIDGE * np.eye(d)) @ cov_yp.T
            total += 0.5 * np.log(np.linalg.det(given + RIDGE * np.eye(d))) / d
    found = rmi(logits, target, torch.ones_like(target), cross_entropy_share=0.0)
    assert found.item() == pytest.approx(total / 2, rel=1e-5)


def test_its_cross_entropy_is_the_mean_over_pixels_of_the_sum_over_channels() -> None:
    logits, target = _logits_and_target()
    p, y = torch.sigmoid(logits), target
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).sum(dim=1).mean()
    found = rmi(logits, target, torch.ones_like(target), cross_entropy_share=1.0)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_prediction_nearer_to_the_truth_has_a_lower_loss_and_the_gradient_leads_there() -> None:
    logits, target = _logits_and_target()
    near = torch.logit(target.clamp(0.02, 0.98))
    weight = torch.ones_like(target)
    assert rmi(near, target, weight, 0.0) < rmi(logits, target, weight, 0.0) - 0.5
    moving = logits.clone().requires_grad_()
    before = rmi(moving, target, weight, 0.5)
    before.backward()  # type: ignore[no-untyped-call]
    assert moving.grad is not None
    assert rmi(logits - 20 * moving.grad, target, weight, 0.5) < before


def test_an_empty_or_full_mask_gives_a_finite_loss_and_gradient() -> None:
    target = torch.zeros(1, 3, 24, 24)
    target[:, 0] = 1
    for level in (-40.0, 0.0, 40.0):
        logits = torch.full((1, 3, 24, 24), level, requires_grad=True)
        loss = rmi(logits, target, torch.ones_like(target), 0.5)
        loss.backward()  # type: ignore[no-untyped-call]
        assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()


def test_channels_each_count_where_their_weight_is() -> None:
    logits, target = _logits_and_target()
    weight = torch.ones_like(target)
    weight[:, 1, :12] = 0
    changed = logits.clone()
    changed[:, 1, :12] += 5
    before, after = (channels_bce_dice(x, target, weight, 0.5).item() for x in (logits, changed))
    assert before == pytest.approx(after)
    changed[:, 2, :12] += 5
    assert channels_bce_dice(changed, target, weight, 0.5).item() > after

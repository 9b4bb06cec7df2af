"""Training slices, negatives, augmentation and loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dicomnode.segment.card import Preprocessing
from dicomnode.segment.preprocess import lung_crop, normalise
from dicomnode.train.augment import AugmentationSpec, augment
from dicomnode.train.cases import LabelledCase
from dicomnode.train.losses import bce_dice
from dicomnode.train.slices import Slice, epoch_batches, erase_lesions, prepare_slices, stack_slices

PREPROCESSING = Preprocessing(-600, 1500, -3024, 2.0, 4)


def _case() -> LabelledCase:
    hu = np.full((60, 80), 40, dtype=np.int16)
    lung = np.zeros(hu.shape, dtype=np.bool_)
    lung[10:50, 20:60] = True
    lesion = np.zeros_like(lung)
    lesion[20:30, 25:45] = True
    hu[lung], hu[lesion] = -860, -400
    empty = np.zeros_like(lung)
    return LabelledCase("x", [hu, hu, hu], [lung, lung, empty], [lesion, empty, empty], 1.0)


def _slice() -> Slice:
    return prepare_slices(_case(), PREPROCESSING)[0]


def test_slices_without_lung_are_dropped_and_the_others_cut_and_resampled() -> None:
    slices = prepare_slices(_case(), PREPROCESSING)
    assert [item.has_lesion for item in slices] == [True, False]
    assert slices[0].hu.shape == (1, 24, 24)  # (40 + 2 x 4) / 2
    assert slices[0].lung.sum().item() == pytest.approx(400, rel=0.02)
    assert slices[0].lesion.sum().item() == pytest.approx(50, rel=0.02)


def test_outside_the_lung_the_input_is_zero_and_the_window_is_linear() -> None:
    hu = torch.tensor([[[-1350.0, -600.0, 150.0, 3000.0, -600.0]]])
    lung = torch.tensor([[[True, True, True, True, False]]])
    assert normalise(hu, lung, PREPROCESSING)[0, 0].tolist() == pytest.approx([0, 0.5, 1, 1, 0])


def test_the_crop_stays_inside_the_picture() -> None:
    lung = np.zeros((2, 10, 12), dtype=np.bool_)
    lung[1, 0:3, 11] = True
    crop = lung_crop(lung, (1.0, 2.0), 4.0)
    assert (crop.top, crop.bottom, crop.left, crop.right) == (0, 7, 9, 12)
    with pytest.raises(ValueError, match="empty"):
        lung_crop(np.zeros_like(lung), (1.0, 2.0), 4.0)


def test_an_erased_slice_has_no_lesion_and_no_rim_of_one() -> None:
    item = _slice()
    negative = erase_lesions(item)
    assert not negative.has_lesion
    rim = F.max_pool2d(item.lesion[None, None], 3, stride=1, padding=1)[0, 0] > 0
    assert not negative.lung[rim].any()
    assert 0 < negative.lung.sum() < item.lung.sum()


def test_an_epoch_holds_every_positive_and_the_share_of_negatives() -> None:
    positives = [_slice() for _ in range(6)]
    negatives = [erase_lesions(item) for item in positives]
    rng = np.random.default_rng(0)
    batches = list(epoch_batches(positives, negatives, 1.0, 4, (32, 32), AugmentationSpec(), rng))
    lesions = torch.cat([batch.lesion for batch in batches])
    assert lesions.shape == (12, 32, 32)
    assert int((lesions.sum(dim=(1, 2)) > 0).sum()) == 6


def test_stacking_centres_slices_on_a_canvas_the_network_takes() -> None:
    item = _slice()
    small = Slice(*(tensor[..., 4:20, 4:20] for tensor in vars(item).values()))
    batch = stack_slices([item, small], multiple=16)
    assert batch.hu.shape == (2, 1, 32, 32)
    assert batch.lesion[1].sum() == small.lesion.sum()
    assert torch.equal(batch.hu[0, :, 4:28, 4:28], item.hu)
    assert batch.hu[1, 0, 0, 0] == -1024 and batch.lung[1, 0, 0] == 0


def test_augmentation_keeps_masks_on_what_they_mask() -> None:
    batch = stack_slices([_slice()] * 40)
    calm = AugmentationSpec(hu_offset=0, hu_slope=0, noise_hu=0, lung_jitter=0)
    moved = augment(batch, (40, 40), calm, np.random.default_rng(1))
    inside = F.avg_pool2d(moved.lesion[:, None], 3, stride=1, padding=1)[:, 0] > 0.99
    outside = (F.max_pool2d(moved.lesion[:, None], 5, stride=1, padding=2)[:, 0] < 0.01) & (
        F.avg_pool2d(moved.lung[:, None], 5, stride=1, padding=2)[:, 0] > 0.99
    )
    assert moved.hu[:, 0][inside].mean().item() == pytest.approx(-400, abs=15)
    assert moved.hu[:, 0][outside].mean().item() == pytest.approx(-860, abs=15)
    areas = moved.lesion.sum(dim=(1, 2))
    assert areas.max() / areas.min() > 1.5  # zoom does something


def test_augmentation_without_movement_changes_nothing_but_flips() -> None:
    item = _slice()
    still = AugmentationSpec(1, 1, 0, 0, 0, True, False, 0, 0, 0, 0, 0)
    moved = augment(stack_slices([item] * 8), tuple(item.lung.shape), still, np.random.default_rng(3))
    for index in range(8):
        same = torch.allclose(moved.lesion[index], item.lesion, atol=1e-4)
        flipped = torch.allclose(moved.lesion[index], item.lesion.flip(1), atol=1e-4)
        assert same or flipped


def test_augmentation_repeats_with_its_seed_and_jitters_lungs() -> None:
    batch = stack_slices([_slice()] * 20)
    first, second = (augment(batch, (32, 32), AugmentationSpec(), np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(first.hu, second.hu) and torch.equal(first.lung, second.lung)
    assert torch.isfinite(first.hu).all()
    assert not (first.lesion[first.lung == 0] > 0).any()


def test_the_loss_is_small_for_the_truth_and_counts_only_the_lung() -> None:
    item = _slice()
    truth, lung = (item.lesion > 0.5).float()[None], item.lung[None]
    right = (truth * 2 - 1) * 12
    assert bce_dice(right, truth, lung, 0.5).item() < 0.01
    assert bce_dice(-right, truth, lung, 0.5).item() > 5
    disturbed = torch.where(lung > 0, right, torch.full_like(right, 30.0))
    assert bce_dice(disturbed, truth, lung, 0.5).item() == pytest.approx(
        bce_dice(right, truth, lung, 0.5).item()
    )


def test_the_loss_of_a_batch_without_lung_is_finite() -> None:
    zero = torch.zeros(1, 8, 8)
    assert torch.isfinite(bce_dice(zero, zero, zero, 1.0))

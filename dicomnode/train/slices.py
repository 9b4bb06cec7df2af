"""Training slices at the network's spacing, and the negatives that the public sets lack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dicomnode.segment.card import Preprocessing
from dicomnode.segment.preprocess import clip_to_tissue, lung_crop, resample, resampled_shape
from dicomnode.train.augment import AugmentationSpec, SliceBatch, augment
from dicomnode.train.cases import LabelledCase

ERASED_MARGIN = 5
"""Pixels around an erased lesion that go with it: mask edges are good to about two pixels."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice cut to the lungs at the network's spacing; float32 tensors (rows, columns), masks 0 to 1."""

    hu: Tensor
    lung: Tensor
    lesion: Tensor

    @property
    def has_lesion(self) -> bool:
        """Whether an expert marked anything."""
        return bool((self.lesion > 0.5).any())


def prepare_slices(case: LabelledCase, preprocessing: Preprocessing) -> list[Slice]:
    """The case's slices with lung, each cut to its lungs and resampled."""
    spacing = (case.spacing_mm, case.spacing_mm)
    prepared = []
    for hu, lung, lesion in zip(case.hu, case.lung, case.lesion, strict=True):
        if not lung.any():
            continue
        crop = lung_crop(lung[None], spacing, preprocessing.crop_margin_mm)
        stack = torch.from_numpy(
            np.stack([array[crop.slices].astype(np.float32) for array in (hu, lung, lesion & lung)])
        )
        stack[0] = clip_to_tissue(stack[0])
        stack = resample(stack, resampled_shape(crop.shape, spacing, preprocessing.spacing_mm))
        prepared.append(Slice(stack[0], (stack[1] > 0.5).float(), stack[2]))
    return prepared


def erase_lesions(item: Slice) -> Slice:
    """The slice as a negative: its lesions, with a margin, taken out of the lung mask.

    The public sets hold only slices with lesions; what remains of the lung here is healthy.
    """
    size = 2 * ERASED_MARGIN + 1
    wide = F.max_pool2d((item.lesion > 0.01).float()[None, None], size, stride=1, padding=ERASED_MARGIN)[0, 0]
    return Slice(item.hu, item.lung * (1 - wide), torch.zeros_like(item.lesion))


def epoch_batches(
    positives: list[Slice],
    negatives: list[Slice],
    negatives_per_positive: float,
    batch_size: int,
    shape: tuple[int, int],
    spec: AugmentationSpec,
    rng: np.random.Generator,
) -> Iterator[SliceBatch]:
    """One epoch in random order: all positives and a fresh random choice of negatives, augmented."""
    count = min(round(len(positives) * negatives_per_positive), len(negatives))
    chosen = rng.permutation(len(negatives))[:count]
    items = positives + [negatives[index] for index in chosen]
    order = rng.permutation(len(items))
    for start in range(0, len(order) - batch_size + 1, batch_size):
        members = [items[index] for index in order[start : start + batch_size]]
        yield augment(stack_slices(members), shape, spec, rng)


def stack_slices(items: list[Slice], multiple: int = 1) -> SliceBatch:
    """Slices of different shapes centred on one canvas, sides in multiples of ``multiple``, air around."""
    rows = -(-max(item.hu.shape[0] for item in items) // multiple) * multiple
    columns = -(-max(item.hu.shape[1] for item in items) // multiple) * multiple
    batch = SliceBatch(*(torch.zeros((len(items), rows, columns)) for _ in range(3)))
    batch.hu.fill_(-1024.0)
    for index, item in enumerate(items):
        top, left = (rows - item.hu.shape[0]) // 2, (columns - item.hu.shape[1]) // 2
        box = (index, slice(top, top + item.hu.shape[0]), slice(left, left + item.hu.shape[1]))
        batch.hu[box], batch.lung[box], batch.lesion[box] = item.hu, item.lung, item.lesion
    return batch

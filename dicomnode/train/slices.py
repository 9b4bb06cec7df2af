"""Training slices at the network's spacing, and the negatives that the public sets lack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dicomnode.segment.card import Preprocessing
from dicomnode.segment.lesion_rules import find_consolidation
from dicomnode.segment.preprocess import (
    Crop,
    choose_crop,
    clip_to_tissue,
    input_shape,
    lung_crop,
    network_input,
    resample,
)
from dicomnode.train.augment import AugmentationSpec, SliceBatch, augment
from dicomnode.train.bodies import in_body
from dicomnode.train.cases import LabelledCase

ERASED_MARGIN = 5
"""Pixels around an erased lesion that go with it: mask edges are good to about two pixels."""

SPLIT_THICKNESS_MM = 5.0
"""Assumed of sets of single slices when HU tell GGO and consolidation apart; it only enters small volumes."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice with its neighbours at the network's resolution; float32 tensors, masks 0 to 1.

    ``hu`` has the shape (planes, rows, columns), the slice itself in the middle; the others (rows, columns).
    """

    hu: Tensor
    lung: Tensor
    lesion: Tensor
    dense: Tensor

    @property
    def has_lesion(self) -> bool:
        """Whether an expert marked anything."""
        return bool((self.lesion > 0.5).any())


def prepare_slices(
    case: LabelledCase, preprocessing: Preprocessing, consolidation_hu: float | None = None
) -> list[Slice]:
    """The case's slices with lung, cropped and resampled as the card says.

    Where the set doesn't tell GGO and consolidation apart, ``consolidation_hu`` does, as in the node.
    """
    if preprocessing.crop == "body" or preprocessing.context_slices:
        return _whole_case(in_body(case), preprocessing, consolidation_hu)
    prepared = []
    for index, lung in enumerate(case.lung):
        if lung.any():
            stack = _planes(
                case,
                index,
                lung_crop(lung[None], (case.spacing_mm,) * 2, preprocessing.crop_margin_mm),
                preprocessing,
                consolidation_hu,
            )
            prepared.append(Slice(stack[:1], (stack[1] > 0.5).float(), stack[2], stack[3]))
    return prepared


def _whole_case(
    case: LabelledCase, preprocessing: Preprocessing, consolidation_hu: float | None
) -> list[Slice]:
    """Slices of one shape, each a view into its case's volume, so that neighbours cost no memory."""
    spacing = (SPLIT_THICKNESS_MM, case.spacing_mm, case.spacing_mm)
    crop = choose_crop(np.stack(case.hu), np.stack(case.lung), spacing, preprocessing)
    volume = torch.stack(
        [_planes(case, index, crop, preprocessing, consolidation_hu) for index in range(len(case.hu))]
    )
    context = preprocessing.context_slices
    hu = torch.cat(
        (volume[:1, 0].expand(context, -1, -1), volume[:, 0], volume[-1:, 0].expand(context, -1, -1))
    )
    return [
        Slice(hu[index : index + 2 * context + 1], (planes[1] > 0.5).float(), planes[2], planes[3])
        for index, planes in enumerate(volume)
        if case.lung[index].any()
    ]


def _planes(
    case: LabelledCase,
    index: int,
    crop: Crop,
    preprocessing: Preprocessing,
    consolidation_hu: float | None,
) -> Tensor:
    """HU, lung, lesion and its consolidated part (4, rows, columns) of a slice, cropped and resampled."""
    spacing = (case.spacing_mm, case.spacing_mm)
    hu, lung, lesion = case.hu[index], case.lung[index], case.lesion[index] & case.lung[index]
    dense = np.zeros_like(lesion)
    if case.consolidation is not None:
        dense = case.consolidation[index] & lesion
    elif consolidation_hu is not None and lesion.any():
        dense = find_consolidation(
            hu[None], lung[None], lesion[None], (SPLIT_THICKNESS_MM, *spacing), consolidation_hu
        )[0]
    arrays = [array[crop.slices].astype(np.float32) for array in (hu, lung, lesion, dense)]
    stack = torch.from_numpy(np.stack(arrays))
    stack[0] = clip_to_tissue(stack[0])
    return resample(stack, input_shape(crop.shape, spacing, preprocessing))


def erase_lesions(item: Slice) -> Slice:
    """The slice as a negative: its lesions, with a margin, taken out of the lung mask.

    The public sets hold only slices with lesions; what remains of the lung here is healthy.
    """
    size = 2 * ERASED_MARGIN + 1
    wide = F.max_pool2d((item.lesion > 0.01).float()[None, None], size, stride=1, padding=ERASED_MARGIN)[0, 0]
    return Slice(item.hu, item.lung * (1 - wide), *(torch.zeros_like(item.lesion),) * 2)


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
    rows = -(-max(item.lung.shape[0] for item in items) // multiple) * multiple
    columns = -(-max(item.lung.shape[1] for item in items) // multiple) * multiple
    depth = len(items[0].hu)
    masks = [torch.zeros((len(items), rows, columns)) for _ in range(3)]
    batch = SliceBatch(torch.full((len(items), depth, rows, columns), -1024.0), *masks)
    for index, item in enumerate(items):
        height, width = item.lung.shape
        top, left = (rows - height) // 2, (columns - width) // 2
        box = (index, ..., slice(top, top + height), slice(left, left + width))
        batch.hu[box], batch.lung[box] = item.hu, item.lung
        batch.lesion[box], batch.dense[box] = item.lesion, item.dense
    return batch


def network_planes(batch: SliceBatch, preprocessing: Preprocessing) -> Tensor:
    """What the network sees of a batch: (slices, channels, rows, columns)."""
    depth = batch.hu.shape[1]
    return torch.cat(
        [network_input(batch.hu[:, plane], batch.lung, preprocessing) for plane in range(depth)], dim=1
    )


def targets(batch: SliceBatch, outputs: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """What the network's channels should say, and where it counts; both (slices, channels, rows, columns).

    Lesions count inside the lung, consolidation inside lesions; channels that exclude each other everywhere.
    """
    everywhere = torch.ones_like(batch.lung)
    known = {
        "lung": (batch.lung, everywhere),
        "lesion": (batch.lesion, batch.lung),
        "consolidation": (batch.dense, (batch.lesion > 0.5).float()),
        "background": (1 - batch.lesion, everywhere),
        "ggo": ((batch.lesion - batch.dense).clamp(min=0), everywhere),
        "high_opacity": (torch.minimum(batch.dense, batch.lesion), everywhere),
    }
    target, weight = zip(*(known[name] for name in outputs), strict=True)
    return torch.stack(target, dim=1), torch.stack(weight, dim=1)

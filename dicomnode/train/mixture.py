"""Slices of several sets in one training: what each set knows, and the augmentation that makes them one.

A set may lack lung masks (``lung`` is then ``UNKNOWN_LUNG`` everywhere) or the split of lesions into GGO and
consolidation (its weight is then small and the target a threshold).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dicomnode.segment.card import Preprocessing
from dicomnode.segment.lesion_rules import find_consolidation
from dicomnode.segment.preprocess import UNKNOWN_LUNG, clip_to_tissue, input_shape, lung_crop, resample
from dicomnode.train.augment import disturb_lung, sometimes
from dicomnode.train.cases import LabelledCase

WEAK_SPLIT = 0.15
"""Weight of a split that a threshold made, against 1 for an expert's."""

HU, LUNG, LESION, CONSOLIDATION = range(4)


@dataclass(frozen=True, eq=False)
class Example:
    """One slice at the network's spacing: ``planes`` (4, rows, columns) HU, lung, lesion, consolidation."""

    planes: Tensor
    split_weight: float
    lung_known: bool


@dataclass(frozen=True)
class MixtureBatch:
    """Network input's sources and targets as float tensors (slices, rows, columns); weights a slice."""

    hu: Tensor
    lung: Tensor
    lesion: Tensor
    consolidation: Tensor
    split_weight: Tensor


@dataclass(frozen=True)
class MixtureAugmentation:
    """Strengths of what scanners, windows, bodies and masks vary."""

    scale: float = 0.25
    stretch: float = 0.1
    rotation_degrees: float = 15.0
    shift: float = 0.08
    bend: float = 0.018
    """Size of the smooth random displacement, in parts of the canvas."""
    hu_offset: float = 60.0
    hu_slope: float = 0.10
    gamma: float = 0.2
    known_hu: float = 0.4
    """Part of offset, slope and gamma that slices with known lungs get: pictures whose lungs nobody drew are
    re-windowed, their HU a guess; faint ground glass is known by its HU where those can be relied on."""
    noise_hu: float = 90.0
    lung_jitter: float = 0.4
    forget_lung: float = 0.15
    """Share of slices whose known lung mask is withheld."""
    paste: float = 0.2
    """Share of slices that get another slice's lesions where they fall into the lung."""
    fade: float = 0.2
    """Share of slices whose lesions lose contrast to the normal lung, down to ``faintest`` of it."""
    faintest: float = 0.35


def prepare_examples(case: LabelledCase, preprocessing: Preprocessing, weak_split_hu: float) -> list[Example]:
    """A case's slices cut to the lungs (the whole picture where they are unknown) and resampled."""
    spacing = (case.spacing_mm, case.spacing_mm)
    examples = []
    for index, (hu, lung, lesion) in enumerate(zip(case.hu, case.lung, case.lesion, strict=True)):
        if not lung.any():
            continue
        inside = lung if case.lung_known else np.ones_like(lung)
        if case.consolidation is not None:
            dense = case.consolidation[index]
        else:
            dense = find_consolidation(
                hu[None], inside[None], (lesion & inside)[None], (5.0, *spacing), weak_split_hu
            )[0]
        crop = lung_crop(inside[None], spacing, preprocessing.crop_margin_mm)
        stack = torch.from_numpy(
            np.stack([a[crop.slices].astype(np.float32) for a in (hu, inside, lesion & inside, dense)])
        )
        stack[HU] = clip_to_tissue(stack[HU])
        stack = resample(stack, input_shape(crop.shape, spacing, preprocessing))
        weight = WEAK_SPLIT if case.consolidation is None else 1.0
        examples.append(Example(stack, weight, case.lung_known))
    return examples


def mixture_batch(
    items: list[Example], shape: tuple[int, int], spec: MixtureAugmentation, rng: np.random.Generator
) -> MixtureBatch:
    """The examples moved, bent, zoomed and cut to ``shape`` at random, their HU and lung masks disturbed."""
    planes = _move(_stack(items), shape, spec, rng)
    hu, lung = planes[:, HU] - 1024, (planes[:, LUNG] > 0.5).float()
    lesion, dense = planes[:, LESION], planes[:, CONSOLIDATION]
    known = torch.tensor([item.lung_known for item in items])
    weight = torch.tensor([item.split_weight for item in items])
    hu, lesion, dense = _paste(hu, lung, lesion, dense, known, spec, rng)
    hu, faded = _fade(hu, lesion, spec, rng)
    weight = torch.where(faded, 0.0, weight)
    hu = _disturb_hu(hu, known, spec, rng)
    kept = known & torch.from_numpy(rng.random(len(items)) >= spec.forget_lung)
    lung = torch.where(
        kept[:, None, None], disturb_lung(lung, spec.lung_jitter, rng), torch.tensor(UNKNOWN_LUNG)
    )
    inside = (lung > 0).float()
    return MixtureBatch(hu, lung, lesion * inside, dense * inside, weight)


def _stack(items: list[Example]) -> Tensor:
    rows = max(item.planes.shape[1] for item in items)
    columns = max(item.planes.shape[2] for item in items)
    out = torch.zeros((len(items), 4, rows, columns))
    for index, item in enumerate(items):
        _, height, width = item.planes.shape
        top, left = (rows - height) // 2, (columns - width) // 2
        out[index, :, top : top + height, left : left + width] = item.planes
        out[index, HU, top : top + height, left : left + width] += 1024
    return out


def _move(
    planes: Tensor, shape: tuple[int, int], spec: MixtureAugmentation, rng: np.random.Generator
) -> Tensor:
    count, _, rows, columns = planes.shape
    zoom = np.exp(rng.uniform(-1, 1, count) * math.log1p(spec.scale))
    stretch = np.exp(rng.uniform(-1, 1, count) * math.log1p(spec.stretch))
    angle = np.radians(rng.normal(0, spec.rotation_degrees / 2, count))
    flip = rng.choice([-1.0, 1.0], count)
    matrix = np.empty((count, 2, 3))
    matrix[:, 0, 0] = np.cos(angle) * flip / zoom * stretch * shape[1] / columns
    matrix[:, 0, 1] = -np.sin(angle) / zoom * shape[0] / columns
    matrix[:, 1, 0] = np.sin(angle) * flip / zoom * shape[1] / rows
    matrix[:, 1, 1] = np.cos(angle) / zoom / stretch * shape[0] / rows
    matrix[:, :, 2] = rng.uniform(-spec.shift, spec.shift, (count, 2))
    grid = F.affine_grid(torch.from_numpy(matrix).float(), [count, 1, *shape], align_corners=False)
    knots = torch.from_numpy(rng.normal(0, spec.bend, (count, 2, 6, 6))).float()
    bend = F.interpolate(knots, shape, mode="bicubic", align_corners=False).permute(0, 2, 3, 1)
    return F.grid_sample(planes, grid + bend, align_corners=False)


def _paste(
    hu: Tensor,
    lung: Tensor,
    lesion: Tensor,
    dense: Tensor,
    known: Tensor,
    spec: MixtureAugmentation,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Lesions of the batch's next slice, where both lungs are known and it is denser than what lies there."""
    chosen = known & known.roll(1) & torch.from_numpy(rng.random(len(hu)) < spec.paste)
    share = lesion.roll(1, 0) * lung * chosen[:, None, None]
    share = share * (hu.roll(1, 0) > hu - 100)
    return (
        hu + share * (hu.roll(1, 0) - hu),
        torch.maximum(lesion, share),
        dense * (1 - share) + share * dense.roll(1, 0),
    )


def _fade(
    hu: Tensor, lesion: Tensor, spec: MixtureAugmentation, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Lesions drawn towards the slice's normal lung, and which slices; their split means nothing any more."""
    count = len(hu)
    chosen = torch.from_numpy(rng.random(count) < spec.fade)
    contrast = torch.from_numpy(np.where(chosen, rng.uniform(spec.faintest, 1.1, count), 1.0)).float()
    normal = (hu > -980) & (hu < -700) & (lesion < 0.01)
    level = (hu * normal).sum((1, 2)) / normal.sum((1, 2)).clamp(min=1)
    level = torch.where(normal.sum((1, 2)) > 500, level, -870.0)[:, None, None]
    part = lesion * (1 - contrast)[:, None, None] * (hu > level)
    return hu - part * (hu - level), chosen


def _disturb_hu(hu: Tensor, known: Tensor, spec: MixtureAugmentation, rng: np.random.Generator) -> Tensor:
    count, rows, columns = hu.shape
    trust = np.where(known.numpy(), spec.known_hu, 1.0)

    def each(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).float()[:, None, None]

    slope = each(1 + trust * rng.normal(0, spec.hu_slope / 2, count))
    offset = each(trust * rng.normal(0, spec.hu_offset / 2, count))
    level = ((hu + 1000) * slope + offset).clamp(min=-100)
    bent = (level.clamp(min=0) / 1000) ** each(
        np.exp(trust * sometimes(rng, 0.4, rng.uniform(-1, 1, count)) * spec.gamma)
    )
    hu = torch.where(level > 0, 1000 * bent, level) - 1000
    ceiling = each(np.where(rng.random(count) < 0.3, rng.uniform(0, 300, count), 3000.0))
    hu = torch.minimum(hu, ceiling)

    soft = F.avg_pool2d(hu[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    hu = hu + each(sometimes(rng, 0.5, rng.uniform(-1.0, 0.8, count))) * (hu - soft)

    seed = torch.Generator().manual_seed(int(rng.integers(2**31)))
    noise = torch.randn((count, 1, rows, columns), generator=seed)
    if rng.random() < 0.5:
        noise = 2 * F.avg_pool2d(noise, 3, stride=1, padding=1)
    return hu + each(sometimes(rng, 0.5, rng.uniform(0, spec.noise_hu, count))) * noise[:, 0]

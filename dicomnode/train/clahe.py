"""The ``covid20_clahe`` layout: equalised whole-field slices of the same collection, turned back into HU.

Contrast-limited equalisation can't be undone by formula, but slices that ``covid10_linear`` holds too show
what it did: a small network learns the way back from these pairs. It serves the patients of other scanners,
whose slices come in no other form.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dicomnode.segment.networks.patch_unet import PatchUNet
from dicomnode.train.cases import ADULT_LUNG_WIDTH_MM, DataError, LabelledCase, lung_width, read_grey
from dicomnode.train.linear import INDEX_FILE

OTHER_SCANNERS = {
    "clahe-a": range(1247, 1259),
    "clahe-b": range(1259, 1376, 4),
    "clahe-c": range(1376, 1442),
    "clahe-d": range(1442, 1474),
}
"""File numbers of the Radiopaedia patients, all upside down; the second is one lesion in 116 slices."""

BATCH, CROP, RATE = 8, 192, 3e-3
SCALE_HU = 500.0
HIGHEST_HU, LOWEST_HU = 300, -1024
LEAST_OVERLAP = 0.9
"""Lungs of a pair agree at least so far (intersection over union); other pairs are left out."""


@dataclass(frozen=True, eq=False)
class _Pair:
    image: Tensor
    """Equalised grey (0 to 1) and lung."""
    hu: Tensor
    """NaN outside the part that the linear slice shows."""


def load_clahe(
    directory: Path, linear: Path, linear_cases: Sequence[LabelledCase], *, seed: int, steps: int
) -> list[LabelledCase]:
    """The patients of other scanners, in HU as a network learned them from the pairs of ``linear_cases``.

    Cases that a model shall be tested on must not be among ``linear_cases``.
    """
    network = _learn(_pairs(directory, linear, linear_cases), seed, steps)
    return [_load(name, numbers, directory, network) for name, numbers in OTHER_SCANNERS.items()]


def _load(name: str, numbers: range, directory: Path, network: PatchUNet) -> LabelledCase:
    hu, lungs, lesions = [], [], []
    for number in numbers:
        if not _path(directory, "ct", number).is_file():
            continue
        grey, lung, lesion = (_read(directory, kind, number)[::-1] for kind in ("ct", "lungs", "covid"))
        if not (lung > 127).any():
            continue
        # The network saw pictures the right way up.
        with torch.inference_mode():
            found = (network(_image(grey, lung > 127)[None])[0, 0] - 1) * SCALE_HU
        hu.append(found.numpy().clip(LOWEST_HU, HIGHEST_HU).astype(np.int16))
        lungs.append(np.ascontiguousarray(lung > 127))
        lesions.append(np.ascontiguousarray(lesion > 127))
    if not hu:
        raise DataError(f"{directory} holds no slice of {name}")
    return LabelledCase(name, hu, lungs, lesions, ADULT_LUNG_WIDTH_MM / max(lung_width(m) for m in lungs))


def _pairs(directory: Path, linear: Path, linear_cases: Sequence[LabelledCase]) -> list[_Pair]:
    cases = {case.name: case for case in linear_cases}
    with (linear / INDEX_FILE).open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (int(row["case"]), int(row["slice_order"])))
    position: dict[str, int] = {}
    pairs = []
    for row in rows:
        name, number = f"case{int(row['case']):02d}", int(row["dstaroff_index"])
        index = position[name] = position.get(name, -1) + 1
        if name in cases and _path(directory, "ct", number).is_file():
            pair = _pair(cases[name], index, directory, number)
            pairs += [pair] if pair is not None else []
    if len(pairs) < BATCH:
        raise DataError(f"{directory} and {linear} share {len(pairs)} slices; at least {BATCH} are needed")
    return pairs


def _pair(case: LabelledCase, index: int, directory: Path, number: int) -> _Pair | None:
    """The linear slice brought onto the equalised one by the bounding boxes of their lungs."""
    grey, lung = _read(directory, "ct", number), _read(directory, "lungs", number) > 127
    ours = case.lung[index]
    if not lung.any() or not ours.any():
        return None
    box, own = _box(lung), _box(ours)
    stack = torch.from_numpy(np.stack([case.hu[index][own], ours[own]]).astype(np.float32))[None]
    shape = lung[box].shape
    moved = F.interpolate(stack, shape, mode="bilinear", antialias=True)[0]
    seen = moved[1].numpy() > 0.5
    if (seen & lung[box]).sum() < LEAST_OVERLAP * (seen | lung[box]).sum():
        return None
    hu = torch.full(lung.shape, math.nan)
    hu[box] = moved[0]
    return _Pair(_image(grey, lung), hu)


def _learn(pairs: list[_Pair], seed: int, steps: int) -> PatchUNet:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = PatchUNet(in_channels=2, out_channels=1, width=24)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    for step in range(steps):
        rise, fall = min(1.0, step / 30 + 0.03), 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = RATE * rise * max(0.01, fall)
        chosen = [_cut(pairs[index], rng) for index in rng.choice(len(pairs), BATCH)]
        image, hu = (torch.stack(tensors) for tensors in zip(*chosen, strict=True))
        gamma = torch.from_numpy(np.exp(rng.uniform(-0.25, 0.25, BATCH))).float()[:, None, None]
        image = torch.stack((image[:, 0] ** gamma, image[:, 1]), dim=1)
        found = network(image.contiguous(memory_format=torch.channels_last))[:, 0]
        weight = ~torch.isnan(hu) * (0.2 + image[:, 1])
        target = torch.nan_to_num(hu).clamp(LOWEST_HU, 200) / SCALE_HU + 1
        loss = ((found - target).abs() * weight).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def _cut(pair: _Pair, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    rows, columns = pair.hu.shape
    top, left = rng.integers(0, rows - CROP + 1), rng.integers(0, columns - CROP + 1)
    box = (..., slice(top, top + CROP), slice(left, left + CROP))
    axes = [axis for axis, share in ((-1, 0.5), (-2, 0.3)) if rng.random() < share]
    return pair.image[box].flip(axes), pair.hu[box].flip(axes)


def _image(grey: NDArray[np.uint8], lung: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(np.stack([grey / np.float32(255), lung.astype(np.float32)]))


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _read(directory: Path, kind: str, number: int) -> NDArray[np.uint8]:
    return read_grey(_path(directory, kind, number))


def _path(directory: Path, kind: str, number: int) -> Path:
    return directory / kind / f"{number:04d}.png"

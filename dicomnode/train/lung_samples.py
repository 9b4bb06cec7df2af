"""Slices drawn from chests at random, with airless lung put into them: what the lung network learns from.

Consolidation, atelectasis and effusion are rare in the sets and, beside liver and heart, the hard part.
Wherever a mask says lung, it stays lung whatever its density: so parts of it are given that of soft tissue
or fluid. A raised diaphragm looks much the same and is no lung: liver, spleen and stomach are pushed up into
others, and taken from their masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from dicomnode.segment.lung_input import AIR_HU, plane_indices
from dicomnode.train.augment import AugmentationSpec, SliceBatch, augment, sometimes
from dicomnode.train.lung_cases import LungCase

AIRLESS_SHARE = 0.65
"""Share of the slices that get airless lung."""

RAISED_SHARE = 0.25
"""Share of the slices under one of whose lungs the diaphragm is raised."""

LONELY_SHARE = 0.2
"""Share of the slices of a volume that are shown without their neighbours, as sets of single slices are."""

MARGIN = 16
"""Pixels around the canvas that moving and zooming may bring into it."""

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Window:
    """Planes around a slice: (planes, rows, columns), how far they lie from it, and the size of a pixel."""

    hu: Float
    lung: NDArray[np.bool_]
    distance_mm: Float
    spacing_mm: float


def draw_batch(
    cases: list[LungCase],
    planes_mm: tuple[float, ...],
    count: int,
    shape: tuple[int, int],
    spec: AugmentationSpec,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Planes in HU (slices, planes, rows, columns), lung and its part made airless (slices, rows, columns).

    Every collection is drawn as often as any other, and within it every case, whatever its number of slices.
    """
    canvas = (shape[0] + MARGIN, shape[1] + MARGIN)
    collections = sorted({case.collection for case in cases})
    drawn = []
    for index in rng.integers(len(collections), size=count):
        members = [case for case in cases if case.collection == collections[index]]
        window = _window(members[rng.integers(len(members))], planes_mm, rng)
        if rng.random() < RAISED_SHARE and window.lung.any():
            window = with_raised_diaphragm(window, rng)
        airless = np.zeros_like(window.lung)
        if rng.random() < AIRLESS_SHARE and window.lung.any():
            window, airless = with_airless(window, rng)
        middle = len(window.hu) // 2
        drawn.append(
            (
                _placed(_contrast(window.hu, rng), canvas, AIR_HU),
                _placed(window.lung[middle, None], canvas, 0)[0],
                _placed(airless[middle, None], canvas, 0)[0],
            )
        )
    hu, lung, marked = (
        torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*drawn, strict=True)
    )
    moved = augment(SliceBatch(hu, lung, marked, marked), shape, spec, rng)
    return moved.hu, moved.lung, moved.lesion


def with_airless(window: _Window, rng: np.random.Generator) -> tuple[_Window, NDArray[np.bool_]]:
    """The window with a consolidation or an effusion in its lungs, and where that is."""
    side = _one_side(window.lung, rng)
    weight = _effusion(window, side, rng) if rng.random() < 0.3 else _consolidation(window, side, rng)
    weight = weight * (side if rng.random() < 0.8 else window.lung)
    marked = weight > 0.5
    tissue = rng.uniform(-10, 70) if rng.random() < 0.8 else rng.uniform(70, 160)
    grain = rng.standard_normal(window.hu.shape, dtype=np.float32) * np.float32(rng.uniform(0, 20))
    strength = 1.0 if rng.random() < 0.7 else rng.uniform(0.4, 1)
    share = np.float32(strength) * weight
    hu = window.hu * (1 - share) + share * (tissue + grain)
    # Half-filled pixels along the pleura would draw a dark line that no patient has.
    rim = ndimage.binary_dilation(marked, iterations=2, structure=np.ones((1, 3, 3))) & ~window.lung
    hu[rim] = np.maximum(hu[rim], tissue * strength - 850 * (1 - strength) - rng.uniform(0, 120))
    changed = _Window(hu.astype(np.float32), window.lung, window.distance_mm, window.spacing_mm)
    return changed, marked


def with_raised_diaphragm(window: _Window, rng: np.random.Generator) -> _Window:
    """The window with a dome of liver, spleen or stomach under one lung, which is lung no more."""
    side = _one_side(window.lung, rng)
    organ = _dome(window, side, rng) * side
    fluid = rng.uniform(-10, 60) if rng.random() < 0.3 else rng.uniform(40, 120)
    grain = rng.standard_normal(window.hu.shape, dtype=np.float32) * np.float32(rng.uniform(0, 20))
    tissue = (fluid + grain).astype(np.float32)
    if rng.random() < 0.35:  # gas in stomach or colon rises to the front
        rows = np.flatnonzero(organ.any(axis=(0, 2)))
        level = rows[0] + rng.uniform(0.1, 0.7) * len(rows) if len(rows) else 0
        inner = ndimage.binary_erosion(organ > 0.5, structure=np.ones((1, 3, 3)))
        tissue[inner & (np.arange(side.shape[1]) < level)[None, :, None]] = rng.uniform(-1000, -850)
    hu = window.hu * (1 - organ) + organ * tissue
    lung = window.lung & (organ <= 0.5)
    return _Window(hu.astype(np.float32), lung, window.distance_mm, window.spacing_mm)


def _dome(window: _Window, side: NDArray[np.bool_], rng: np.random.Generator) -> Float:
    """A smooth cap below a level near the slice, wider from plane to plane downwards; 0 to 1."""
    rows, columns = (np.flatnonzero(side.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    top_mm, height_mm = rng.uniform(-15, 80), rng.uniform(40, 120)
    depth = np.clip((top_mm - window.distance_mm) / height_mm, 0, 1)[:, None, None]
    width = np.sqrt(1 - (1 - depth) ** 2)
    centre = [np.median(part) + rng.uniform(-0.15, 0.15) * len(part) for part in (rows, columns)]
    half = [rng.uniform(0.35, 0.6) * len(part) for part in (rows, columns)]
    y = (np.arange(side.shape[1]) - centre[0])[None, :, None] / half[0]
    x = (np.arange(side.shape[2]) - centre[1])[None, None, :] / half[1]
    inside = width - np.sqrt(y * y + x * x) - rng.uniform(0, 0.08) * _frays(side.shape, rng)
    edge = rng.uniform(1, 4) / min(half)
    return _ramp(inside / edge + 0.5) * (depth > 0)


def _consolidation(window: _Window, side: NDArray[np.bool_], rng: np.random.Generator) -> Float:
    """A frayed ellipsoid around a voxel of the lung, mostly of its back; 0 to 1, soft at the edge."""
    places = np.argwhere(side)
    if rng.random() < 0.7:
        behind = places[places[:, 1] >= np.quantile(places[:, 1], 0.6)]
        places = behind if len(behind) else places
    plane, row, column = places[rng.integers(len(places))]
    radii = np.exp(rng.uniform(np.log(15), np.log(110))) * np.exp(rng.uniform(-0.5, 0.5, 3))
    z = (window.distance_mm - window.distance_mm[plane])[:, None, None] / radii[0]
    y = (np.arange(side.shape[1]) - row)[None, :, None] * window.spacing_mm / radii[1]
    x = (np.arange(side.shape[2]) - column)[None, None, :] * window.spacing_mm / radii[2]
    distance = np.sqrt(z * z + y * y + x * x) + rng.uniform(0, 0.45) * _frays(side.shape, rng)
    edge = rng.uniform(2, 10) / radii.mean()
    return _ramp((1 - distance) / edge + 0.5)


def _effusion(window: _Window, side: NDArray[np.bool_], rng: np.random.Generator) -> Float:
    """Fluid behind a lung with a level that rises towards the wall and falls from slice to slice."""
    rows = np.flatnonzero(side.any(axis=(0, 2)))
    columns = np.flatnonzero(side.any(axis=(0, 1)))
    depth = np.exp(rng.uniform(np.log(12), np.log(130))) / window.spacing_mm
    level = rows[-1] + 1 - depth + window.distance_mm * rng.uniform(-0.3, 0.8) / window.spacing_mm
    centre, half = columns.mean(), max(len(columns) / 2, 1)
    bend = rng.uniform(-0.2, 0.9) * depth * ((np.arange(side.shape[2]) - centre) / half) ** 2
    height = np.arange(side.shape[1])[None, :, None] - (level[:, None, None] - bend[None, None, :])
    return _ramp(height + 2 * rng.uniform(0, 1) * _frays(side.shape, rng) + 0.5)


def _one_side(lung: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The lung left or right of the middle of both."""
    columns = np.flatnonzero(lung.any(axis=(0, 1)))
    first = np.arange(lung.shape[2]) < columns.mean()
    side: NDArray[np.bool_] = lung & (first if rng.random() < 0.5 else ~first)
    return side if side.any() else lung


def _frays(shape: tuple[int, ...], rng: np.random.Generator) -> Float:
    """Smooth noise of unit size, the same in all planes."""
    noise = rng.standard_normal(shape[1:], dtype=np.float32)
    flat = ndimage.gaussian_filter(noise, rng.uniform(2, 7), truncate=3)
    return np.broadcast_to(flat / flat.std(), shape)


def _ramp(value: NDArray[np.floating]) -> Float:
    return np.clip(value, 0, 1).astype(np.float32)


def _window(case: LungCase, planes_mm: tuple[float, ...], rng: np.random.Generator) -> _Window:
    count = len(case.hu)
    index = int(rng.integers(count))
    distance = np.zeros(len(planes_mm), np.float32)
    chosen = np.full(len(planes_mm), index)
    if case.step_mm and rng.random() >= LONELY_SHARE:
        chosen = plane_indices(count, case.step_mm, planes_mm)[index].numpy()
        distance = ((chosen - index) * case.step_mm).astype(np.float32)
    return _Window(case.hu[chosen], case.lung[chosen], distance, case.spacing_mm)


def _contrast(hu: Float, rng: np.random.Generator) -> Float:
    """In some slices all above water is brighter, as with a contrast agent or at a lower tube voltage."""
    gain = 1 + float(sometimes(rng, 0.3, np.array([rng.uniform(-0.3, 2.0)]))[0])
    return np.where(hu > 0, hu * np.float32(gain), hu)


def _placed(planes: NDArray[np.generic], canvas: tuple[int, int], outside: float) -> NDArray[np.generic]:
    """Planes (planes, rows, columns) cut or padded to the canvas about their middle."""
    for axis, wanted in ((1, canvas[0]), (2, canvas[1])):
        have = planes.shape[axis]
        if have > wanted:
            first = (have - wanted) // 2
            planes = np.take(planes, np.arange(first, first + wanted), axis=axis)
        else:
            before = (wanted - have) // 2
            pad = [(0, 0)] * 3
            pad[axis] = (before, wanted - have - before)
            planes = np.pad(planes, pad, constant_values=outside)
    return planes

"""Pictures cut to the lungs, put back into something like a body, for models that look at whole slices."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from dicomnode.train.cases import LabelledCase

T = TypeVar("T", np.bool_, np.int16)

LUNGS_IN_BODY = (0.72, 0.70)
"""Depth and width of the lungs as parts of the body's, arms up."""

TISSUE_HU, AIR_HU = 40, -1000
FARTHEST_SHIFT = 24
"""Pixels by which the frames of two neighbouring slices may differ."""


def in_body(case: LabelledCase) -> LabelledCase:
    """The case with slices of one shape, aligned, in an ellipse of soft tissue; as it is if ``whole``.

    Each picture of the public sets is cut to its own lungs, so the anatomy jumps from one to the next; the
    shift between neighbours is that of their best correlation. What the frame cut off is not known: soft
    tissue stands in for ribs, muscle and fat, air for what lies around.
    """
    if case.whole:
        return case
    corners = _corners(case.hu)
    corners -= corners.min(axis=0)
    extent = np.max([corner + image.shape for corner, image in zip(corners, case.hu, strict=True)], axis=0)
    body = np.ceil(extent / LUNGS_IN_BODY).astype(int)
    corners += (body - extent) // 2
    rows, columns = ((np.arange(n) + 0.5) / n * 2 - 1 for n in body)
    inside = rows[:, None] ** 2 + columns**2 <= 1
    background = np.where(inside, TISSUE_HU, AIR_HU).astype(np.int16)
    empty = np.zeros_like(inside)

    return replace(
        case,
        hu=_placed(case.hu, corners, background),
        lung=_placed(case.lung, corners, empty),
        lesion=_placed(case.lesion, corners, empty),
        consolidation=None if case.consolidation is None else _placed(case.consolidation, corners, empty),
    )


def _placed(images: list[NDArray[T]], corners: NDArray[np.int64], around: NDArray[T]) -> list[NDArray[T]]:
    out = []
    for image, (top, left) in zip(images, corners, strict=True):
        canvas = around.copy()
        canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
        out.append(canvas)
    return out


def _corners(images: list[NDArray[np.int16]]) -> NDArray[np.int64]:
    """Upper left corner of each image (images, 2) such that neighbours lie on each other."""
    corners = [np.zeros(2, dtype=np.int64)]
    for previous, image in pairwise(images):
        corners.append(corners[-1] + _shift(previous, image))
    return np.array(corners)


def _shift(first: NDArray[np.int16], second: NDArray[np.int16]) -> NDArray[np.int64]:
    """Whole pixels by which ``second`` moves to lie on ``first``, at most ``FARTHEST_SHIFT`` from centred.

    The correlation of edges is used, which doesn't mind how much of the frame is lung.
    """
    shape = [max(a, b) + FARTHEST_SHIFT for a, b in zip(first.shape, second.shape, strict=True)]
    size = [fft.next_fast_len(n, real=True) for n in shape]
    spectra = [fft.rfft2(_edges(image), size) for image in (first, second)]
    correlation = fft.irfft2(spectra[0] * np.conj(spectra[1]), size)
    centred = [(a - b) // 2 for a, b in zip(first.shape, second.shape, strict=True)]
    tried = np.arange(-FARTHEST_SHIFT, FARTHEST_SHIFT + 1)
    near = correlation[np.ix_((tried + centred[0]) % size[0], (tried + centred[1]) % size[1])]
    best = np.unravel_index(int(near.argmax()), near.shape)
    return np.array([tried[index] + middle for index, middle in zip(best, centred, strict=True)])


def _edges(image: NDArray[np.int16]) -> NDArray[np.float32]:
    clipped = np.clip(image, AIR_HU, 200).astype(np.float32)
    return np.hypot(*np.gradient(clipped)).astype(np.float32)

"""Steps of the segmentation on the slices that hold lung, remembered by what went into them.

A series that is still arriving is segmented before it is whole. Slices that come later and hold no lung
change neither what the lesion network sees nor the lobes; a step whose input was seen before is not computed
again. What it gave is kept under a digest of that input, so that nothing else can be taken for it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dicomnode.segment.grid import WorkGrid

T = TypeVar("T")
Spacing = tuple[float, float, float]

SPACING_DIGITS = 4
"""Digits of a spacing in mm: positions are told in micrometres or coarser, their mean step is no finer."""


class StageMemory:
    """Results of the last steps by the digest of their input.

    Parameters
    ----------
    capacity:
        How many results are kept, the last used ones; 0 keeps none and makes no digests.
    """

    def __init__(self, capacity: int = 0) -> None:
        self.capacity = capacity
        self.found = 0
        self._results: OrderedDict[bytes, Any] = OrderedDict()

    def recall(self, step: str, inputs: Sequence[object], compute: Callable[[], T]) -> T:
        """What ``compute`` gives, or gave for the same step and inputs (arrays, numbers and words)."""
        if not self.capacity:
            return compute()
        key = _digest(step, inputs)
        if key in self._results:
            self.found += 1
            result: T = self._results[key]
        else:
            result = compute()
        self._results[key] = result
        self._results.move_to_end(key)
        while len(self._results) > self.capacity:
            self._results.popitem(last=False)
        return result

    def clear(self) -> None:
        """Forget all."""
        self._results.clear()


@dataclass(frozen=True)
class LungSlices:
    """The slices [first, stop) of a volume that hold lung, with a margin, and how many there are in all."""

    first: int
    stop: int
    count: int

    @classmethod
    def of(cls, sides: NDArray[np.uint8], margin: int) -> LungSlices:
        """Of a map (slices, rows, columns); without lung all slices."""
        found = np.flatnonzero(sides.any(axis=(1, 2)))
        if not found.size:
            return cls(0, len(sides), len(sides))
        return cls(max(int(found[0]) - margin, 0), min(int(found[-1]) + 1 + margin, len(sides)), len(sides))

    def of_volume(self, volume: NDArray[Any]) -> NDArray[Any]:
        """These slices."""
        return volume[self.first : self.stop]

    def in_volume(self, part: NDArray[Any]) -> NDArray[Any]:
        """A new volume with ``part`` in these slices, 0 elsewhere."""
        whole = np.zeros((self.count, *part.shape[1:]), part.dtype)
        whole[self.first : self.stop] = part
        return whole


def aligned(hu: NDArray[np.int16], spacing_mm: Spacing, feet_mm: float) -> tuple[NDArray[np.int16], int]:
    """The volume with its lowest slice repeated, and how often, so that blocks of slices keep their place.

    Lungs are looked for on blocks of slices. Counted from a fixed height, that of the frame of reference's
    origin, they hold the same slices however many more there are below.

    Parameters
    ----------
    hu:
        (slices, rows, columns) from feet to head.
    spacing_mm:
        Spacing of these axes.
    feet_mm:
        Height of the lowest slice.
    """
    shape = (hu.shape[0], hu.shape[1], hu.shape[2])
    repeated = round(feet_mm / spacing_mm[0]) % WorkGrid.for_volume(shape, spacing_mm).factors[0]
    if not repeated:
        return hu, 0
    return np.concatenate([np.repeat(hu[:1], repeated, axis=0), hu]), repeated


def rounded(spacing_mm: Spacing) -> Spacing:
    """A spacing without the noise of its last digits, which depends on how many slices there are."""
    z, y, x = (round(step, SPACING_DIGITS) for step in spacing_mm)
    return z, y, x


def _digest(step: str, inputs: Sequence[object]) -> bytes:
    digest = hashlib.blake2b(step.encode(), digest_size=32)
    for value in inputs:
        if isinstance(value, np.ndarray):
            digest.update(f"{value.shape} {value.dtype} ".encode())
            digest.update(np.ascontiguousarray(value).data)
        else:
            digest.update(f"{value!r} ".encode())
    return digest.digest()

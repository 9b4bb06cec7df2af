"""A series that is still arriving, as the worker sees it: is it time to segment what is there?"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.assemble.decoded import DecodedSlice

QUIET_SECONDS = 0.3
"""After so long without a slice the series may be whole; doubled each time that it was not."""

ENDED_SECONDS = 0.05
FEWEST_SLICES = 8
FIRST_TRIES, MISSING_SECONDS = 20, 0.05

LUNG_HU = (-960, -500)
SUBSAMPLING = 8
LARGE_CM2 = 60.0
SMALL_CM2 = 3.0
BEHIND_MM = 15.0


class ArrivingSeries:
    """Which slices came, which of them are decoded, and what was tried with them."""

    def __init__(self) -> None:
        self.pending: deque[Path] = deque()
        self.paths: set[Path] = set()
        self.key: frozenset[Path] = frozenset()
        self.ended = False
        self.last_arrival = time.monotonic()
        self._interval = 0.0
        self._quiet_seconds = QUIET_SECONDS
        self._lungs: list[tuple[float, float]] = []
        self._tried: frozenset[Path] = frozenset()
        self._tried_behind = 0
        self._hopeless = False
        self._missing: dict[Path, int] = {}

    def arrived(self, path: Path) -> None:
        """One more slice is on the disk."""
        now = time.monotonic()
        if self.paths:
            self._interval = max(0.8 * self._interval, now - self.last_arrival)
        if self._tried and self._tried == self.key:
            self._quiet_seconds *= 2  # it was not whole
        self.last_arrival = now
        self.ended = False
        self.paths.add(path)
        self.pending.append(path)

    def missing(self, path: Path) -> None:
        """The file isn't there yet; it is asked for again, a few times."""
        self._missing[path] = self._missing.get(path, 0) + 1
        if self._missing[path] < FIRST_TRIES:
            time.sleep(MISSING_SECONDS)
            self.pending.append(path)
        else:
            self._hopeless = True

    def decoded(self, path: Path, found: DecodedSlice | None) -> None:
        """A slice was decoded, or can't be."""
        if found is None:
            self._hopeless = True
            return
        self.key |= {path}
        position, spacing = found.header.position, found.header.pixel_spacing
        assert position is not None and spacing is not None  # the gate saw to it
        pixel_cm2 = spacing[0] * spacing[1] / 100.0
        self._lungs.append((position[2], lung_area_cm2(found.hu, pixel_cm2)))

    def is_due(self, now: float) -> bool:
        """Whether to segment what is there."""
        if self._hopeless or self.pending or len(self.key) < FEWEST_SLICES or self.key == self._tried:
            return False
        return self._rest(now) <= 0 or self._lungs_lie_behind()

    def seconds_to_wait(self, now: float) -> float:
        """Until :meth:`is_due` may change without another slice."""
        if self._hopeless or self.key == self._tried:
            return 60.0
        return min(max(self._rest(now), 0.01), 60.0)

    def begin(self) -> frozenset[Path]:
        """Segment now: the slices that it is done with."""
        self._tried = self.key
        self._tried_behind = self._slices_behind()
        return self.key

    def cannot_be_prepared(self) -> None:
        """What is there is refused; wait longer before the next attempt."""
        self._quiet_seconds *= 2

    def give_up(self) -> None:
        """Leave this series to the request."""
        self._hopeless = True

    def _rest(self, now: float) -> float:
        """Seconds that must pass without a slice."""
        patience = ENDED_SECONDS if self.ended else max(self._quiet_seconds, 4 * self._interval)
        return self.last_arrival + patience - now

    def _lungs_lie_behind(self) -> bool:
        """Whether the lungs were seen and the last slices have none; asked again when as many more came."""
        behind = self._slices_behind()
        return behind > 0 and (not self._tried_behind or behind >= 2 * self._tried_behind)

    def _slices_behind(self) -> int:
        """How many slices in a row have come since the lungs, or 0 if those don't reach far enough."""
        count, heights = 0, [z for z, _ in self._lungs]
        for _, area in reversed(self._lungs):
            if area > SMALL_CM2:
                break
            count += 1
        if count == len(self._lungs) or max(area for _, area in self._lungs) < LARGE_CM2 or count < 2:
            return 0
        return count if abs(heights[-1] - heights[-count]) >= BEHIND_MM else 0


def lung_area_cm2(hu: NDArray[np.int16], pixel_cm2: float) -> float:
    """Roughly the area of lung in a slice (rows, columns): aerated tissue away from the image's edge."""
    coarse = hu[::SUBSAMPLING, ::SUBSAMPLING]
    labels, count = ndimage.label(coarse < LUNG_HU[1])
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    inside = np.ones(count + 1, bool)
    inside[edge] = False
    inside[0] = False
    lung = inside[labels] & (coarse > LUNG_HU[0])
    return float(np.count_nonzero(lung)) * SUBSAMPLING**2 * pixel_cm2

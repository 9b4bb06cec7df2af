"""The lungs, lobes and regions with what the model found in them, and what it found sure and suspected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.segment.confidence import SURE, SUSPECTED, ErrorModel
from dicomnode.segment.segmentation import Label, Lobe, Region

KINDS = SURE + 1
LESION = [Label.GROUND_GLASS, Label.CONSOLIDATION]
LABELS = len(Label)


@dataclass(frozen=True)
class Piece:
    """Lungs, a lobe or a region: its volume, what was found in it, and from which probability on, in mL."""

    volume_ml: float
    lesion_ml: float
    low_ml: float
    high_ml: float

    def percent(self, part_ml: float) -> float:
        """Share of the piece."""
        return min(100.0, 100 * part_ml / self.volume_ml) if self.volume_ml > 0 else 0.0

    def root(self) -> float:
        """Root of the share found, in %."""
        return math.sqrt(self.percent(self.lesion_ml))

    def spread(self, error: ErrorModel, *, is_piece: bool = False) -> float:
        """How much the root depends on the probability asked for."""
        return error.spread(self.percent(self.low_ml), self.percent(self.high_ml), is_piece=is_piece)


@dataclass(frozen=True)
class Pieces:
    """The whole lungs, and the lobes and regions that have volume."""

    lungs: Piece
    lobes: Sequence[Piece] = ()
    regions: Sequence[Piece] = ()


def find_pieces(
    labels: NDArray[np.uint8],
    lobes: NDArray[np.uint8],
    regions: NDArray[np.uint8],
    doubt: NDArray[np.uint8],
    voxel_ml: float,
) -> Pieces:
    """The pieces of maps of one shape: values of ``Label``, ``Lobe``, ``Region`` and the doubt map."""
    inside = labels > 0
    what = (labels * np.uint8(KINDS) + doubt)[inside].astype(np.int64)  # at most 14
    cells = LABELS * KINDS

    def pieces(place: NDArray[np.uint8], count: int) -> list[Piece]:
        counts = np.bincount(place[inside].astype(np.int64) * cells + what, minlength=count * cells)
        counted = counts.reshape(count, LABELS, KINDS)
        return [_piece(part, voxel_ml) for part in counted[1:] if part.any()]

    everything = np.bincount(what, minlength=cells).reshape(LABELS, KINDS)
    return Pieces(_piece(everything, voxel_ml), pieces(lobes, len(Lobe)), pieces(regions, len(Region)))


def _piece(counts: NDArray[np.int64], voxel_ml: float) -> Piece:
    """From voxels (labels, kinds of doubt)."""
    sure, suspected = (int(counts[:, kind].sum()) for kind in (SURE, SUSPECTED))
    found = int(counts[LESION].sum())
    numbers = (int(counts.sum()), found, sure + suspected, sure)
    return Piece(*(voxel_ml * number for number in numbers))

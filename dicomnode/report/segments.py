"""The segments of a result: which masks, under which codes and in which colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code

from dicomnode.report import codes
from dicomnode.segment.segmentation import Label, Lobe, Segmentation, Side

Mask = NDArray[np.bool_]
MapName = Literal["labels", "sides", "lobes"]
Condition = tuple[MapName, tuple[int, ...]]
"""A map of the segmentation, and values one of which a voxel has there."""


@dataclass(frozen=True)
class Segment:
    """One segment of the SEG and its group in the SR.

    ``key`` is the measurement contract's word ("lungs", "right", "right_upper", "lesion", "ggo" ...),
    ``rgb`` the display colour, ``laterality`` the side of an organ, None for what has none; its voxels meet
    all conditions of ``where``. A ``finding`` is abnormal and may be absent; in a label map it lies within
    ``region``, a lobe or lung.
    """

    key: str
    label: str
    kind: Code
    laterality: Code | None
    rgb: tuple[int, int, int]
    where: tuple[Condition, ...]
    finding: bool = False
    region: Segment | None = None

    @property
    def category(self) -> Code:
        """Segmented property category (CID 7150)."""
        return codes.ABNORMAL_STRUCTURE if self.finding else codes.ANATOMICAL_STRUCTURE

    def mask(self, segmentation: Segmentation) -> Mask:
        """Its voxels, on the grid of the segmentation."""
        return np.logical_and.reduce(
            [
                np.logical_or.reduce([getattr(segmentation, name) == value for value in values])
                for name, values in self.where
            ]
        )


def _side(*sides: Side) -> tuple[Condition, ...]:
    return (("sides", sides),)


def _lobe(lobe: Lobe) -> tuple[Condition, ...]:
    return (("lobes", (lobe,)),)


def _label(*labels: Label) -> tuple[Condition, ...]:
    return (("labels", labels),)


LUNGS = (
    Segment("lungs", "Lungs", codes.LUNG, codes.BILATERAL, (143, 188, 187), _side(Side.RIGHT, Side.LEFT)),
    Segment("right", "Right lung", codes.LUNG, codes.RIGHT, (94, 160, 213), _side(Side.RIGHT)),
    Segment("left", "Left lung", codes.LUNG, codes.LEFT, (120, 196, 148), _side(Side.LEFT)),
)
SIDES = LUNGS[1:]
LOBES = (
    Segment("right_upper", "Right upper lobe", codes.UPPER_LOBE, codes.RIGHT, (86, 180, 233), _lobe(Lobe(1))),
    Segment("right_middle", "Right middle lobe", codes.MIDDLE_LOBE, None, (148, 120, 200), _lobe(Lobe(2))),
    Segment("right_lower", "Right lower lobe", codes.LOWER_LOBE, codes.RIGHT, (0, 114, 178), _lobe(Lobe(3))),
    Segment("left_upper", "Left upper lobe", codes.UPPER_LOBE, codes.LEFT, (140, 200, 90), _lobe(Lobe(4))),
    Segment("left_lower", "Left lower lobe", codes.LOWER_LOBE, codes.LEFT, (0, 158, 115), _lobe(Lobe(5))),
)
FINDINGS = (
    Segment(
        "lesion",
        "Lesion (GGO and consolidation)",
        codes.LESION,
        None,
        (240, 128, 60),
        _label(Label.GROUND_GLASS, Label.CONSOLIDATION),
        True,
    ),
    Segment(
        "ggo",
        "Ground glass opacity",
        codes.GROUND_GLASS,
        None,
        (250, 190, 60),
        _label(Label.GROUND_GLASS),
        True,
    ),
    Segment(
        "consolidation",
        "Consolidation",
        codes.CONSOLIDATION,
        None,
        (225, 60, 70),
        _label(Label.CONSOLIDATION),
        True,
    ),
)
EFFUSION = Segment("effusion", "Effusion", codes.EFFUSION, None, (70, 130, 230), _label(Label.EFFUSION), True)


def segments_of(segmentation: Segmentation) -> tuple[Segment, ...]:
    """The segments of a result in the order of their numbers, from 1.

    Lobes where the model tells them apart, the effusion where there is one; lesions always, so that their
    absence is a statement.
    """
    lobes = LOBES if segmentation.has_lobes else ()
    effusion = (EFFUSION,) if bool((segmentation.labels[segmentation.box] == Label.EFFUSION).any()) else ()
    return (*LUNGS, *lobes, *FINDINGS, *effusion)

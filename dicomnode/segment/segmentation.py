"""What a model found, voxel by voxel, on the volume's grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dicomnode.segment.confidence import Confidence


class Label(IntEnum):
    """Values of the label map. Every value but background lies inside the lung."""

    BACKGROUND = 0
    NORMAL_LUNG = 1
    GROUND_GLASS = 2
    CONSOLIDATION = 3
    EFFUSION = 4


class Side(IntEnum):
    """Values of the side map: the patient's right and left lung."""

    NONE = 0
    RIGHT = 1
    LEFT = 2


class Lobe(IntEnum):
    """Values of the lobe map; NONE inside the lung means that no model told lobes apart."""

    NONE = 0
    RIGHT_UPPER = 1
    RIGHT_MIDDLE = 2
    RIGHT_LOWER = 3
    LEFT_UPPER = 4
    LEFT_LOWER = 5


class Region(IntEnum):
    """The 20 regions of the CT-SS: the 18 segments, two of the left lung's taken as two regions each."""

    NONE = 0
    RIGHT_APICAL = 1
    RIGHT_POSTERIOR = 2
    RIGHT_ANTERIOR = 3
    RIGHT_LATERAL = 4
    RIGHT_MEDIAL = 5
    RIGHT_SUPERIOR = 6
    RIGHT_MEDIAL_BASAL = 7
    RIGHT_ANTERIOR_BASAL = 8
    RIGHT_LATERAL_BASAL = 9
    RIGHT_POSTERIOR_BASAL = 10
    LEFT_APICAL = 11
    LEFT_POSTERIOR = 12
    LEFT_ANTERIOR = 13
    LEFT_SUPERIOR_LINGULAR = 14
    LEFT_INFERIOR_LINGULAR = 15
    LEFT_SUPERIOR = 16
    LEFT_MEDIAL_BASAL = 17
    LEFT_ANTERIOR_BASAL = 18
    LEFT_LATERAL_BASAL = 19
    LEFT_POSTERIOR_BASAL = 20


REGIONS_OF_LOBE: Mapping[Lobe, tuple[Region, ...]] = MappingProxyType(
    {
        Lobe.RIGHT_UPPER: tuple(map(Region, range(1, 4))),
        Lobe.RIGHT_MIDDLE: tuple(map(Region, range(4, 6))),
        Lobe.RIGHT_LOWER: tuple(map(Region, range(6, 11))),
        Lobe.LEFT_UPPER: tuple(map(Region, range(11, 16))),
        Lobe.LEFT_LOWER: tuple(map(Region, range(16, 21))),
    }
)


class QualityFlag(StrEnum):
    """Findings about the segmentation itself that a reader must know; they warn, they don't refuse."""

    LUNGS_UNCERTAIN = "lungs_uncertain"
    SIDES_TOUCH = "sides_touch"
    ONE_LUNG = "one_lung"
    LUNG_EDGE_CUT = "lung_edge_cut"
    LUNGS_DISAGREE = "lungs_disagree"
    LOBES_UNCERTAIN = "lobes_uncertain"


CHECKED_SLICES = 4


@dataclass(frozen=True)
class ModelIdentity:
    """Which model made the masks: name and version of its card, SHA-256 of its weights."""

    name: str
    version: str
    weights_sha256: str


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Label, side and lobe maps on the grid of the volume they were made from.

    Parameters
    ----------
    labels, sides, lobes:
        uint8 arrays of the volume's shape (z, y, x) with the values of :class:`Label`, :class:`Side`,
        :class:`Lobe`. A voxel has a side exactly when its label isn't background; a voxel with a lobe has a
        side.
    model:
        Identity of the model.
    flags:
        What the reader must know about the masks.
    confidence:
        The model's measured errors and its doubt; ``None`` where no error was measured.

    Raises
    ------
    ValueError
        If the maps contradict each other.
    """

    labels: NDArray[np.uint8]
    sides: NDArray[np.uint8]
    lobes: NDArray[np.uint8]
    model: ModelIdentity
    flags: tuple[QualityFlag, ...] = ()
    confidence: Confidence | None = None

    def __post_init__(self) -> None:
        for name, array, top in (
            ("labels", self.labels, max(Label)),
            ("sides", self.sides, max(Side)),
            ("lobes", self.lobes, max(Lobe)),
        ):
            if array.dtype != np.uint8 or array.ndim != 3:
                raise ValueError(
                    f"Segmentation.{name} must be a 3D uint8 array, got {array.ndim}D {array.dtype}"
                )
            if array.shape != self.labels.shape:
                raise ValueError(f"Segmentation.{name} has shape {array.shape}, labels {self.labels.shape}")
            if array.size and int(array.max()) > top:
                raise ValueError(
                    f"Segmentation.{name} has the value {int(array.max())}, known are 0 to {int(top)}"
                )
        self._check_places()
        if self.confidence is not None and self.confidence.doubt.shape != self.labels.shape:
            raise ValueError("Segmentation: the doubt map has another shape than the labels")

    def _check_places(self) -> None:
        """A few slices at once: what is compared stays in the processor's cache."""
        for start in range(0, len(self.labels), CHECKED_SLICES):
            part = slice(start, start + CHECKED_SLICES)
            labelled, sided = self.labels[part] > 0, self.sides[part] > 0
            if not np.array_equal(labelled, sided):
                raise ValueError("Segmentation: each voxel with a label needs a side and the other way round")
            if np.any(self.lobes[part] > sided * np.uint8(255)):
                raise ValueError("Segmentation: a voxel has a lobe but lies outside both lungs")

    @cached_property
    def box(self) -> tuple[slice, slice, slice]:
        """The smallest box (z, y, x) that holds both lungs; empty where there is no lung."""
        ahead = self.labels.max(axis=0, initial=0)
        z, y, x = (
            np.flatnonzero(part) for part in (self.labels.max(axis=(1, 2)), ahead.any(1), ahead.any(0))
        )
        if not z.size:
            return slice(0, 0), slice(0, 0), slice(0, 0)
        return slice(z[0], z[-1] + 1), slice(y[0], y[-1] + 1), slice(x[0], x[-1] + 1)

    @property
    def lung(self) -> NDArray[np.bool_]:
        """Both lungs, lesions included."""
        return self.labels > 0

    @property
    def lesion(self) -> NDArray[np.bool_]:
        """GGO and consolidation together."""
        return (self.labels == Label.GROUND_GLASS) | (self.labels == Label.CONSOLIDATION)

    @property
    def has_lobes(self) -> bool:
        """Whether the model tells lobes apart."""
        return bool(self.lobes.any())


@dataclass(frozen=True, eq=False)
class SeparateLesions:
    """The lesion's voxels one by one: which separate lesion each belongs to, and how deep it lies.

    Parameters
    ----------
    places:
        int64 (n,), index of each voxel of GGO or consolidation into the flattened maps.
    numbers:
        int32 (n,), the separate lesion of each from 1: 26-connected within a lung, the largest first.
    depth_mm:
        float32 (n,), distance to the surface of its lung in mm; infinite where the scan shows no surface.
    outer:
        float32 (n,), how much of the voxel belongs to the outer third of its lung, 0 to 1.

    Raises
    ------
    ValueError
        If the arrays differ in length.
    """

    places: NDArray[np.int64]
    numbers: NDArray[np.int32]
    depth_mm: NDArray[np.float32]
    outer: NDArray[np.float32]

    def __post_init__(self) -> None:
        lengths = {part.shape for part in (self.places, self.numbers, self.depth_mm, self.outer)}
        if lengths != {(len(self.places),)}:
            raise ValueError(f"SeparateLesions: the arrays differ in length: {sorted(lengths)}")

    @property
    def count(self) -> int:
        """How many separate lesions there are."""
        return int(self.numbers.max(initial=0))


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What follows from the masks by geometry alone, on the grid of the :class:`Segmentation`.

    Parameters
    ----------
    regions:
        uint8 (z, y, x) with the values of :class:`Region`; NONE everywhere without lobes.
    lesions:
        The separate lesions.
    affine:
        4 x 4, index x, y, z to patient mm (LPS).
    """

    regions: NDArray[np.uint8]
    lesions: SeparateLesions
    affine: NDArray[np.float64]

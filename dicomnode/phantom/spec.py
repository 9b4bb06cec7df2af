"""What a phantom shall be: size, lesions, noise; validated before anything is built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from dicomnode.segment.segmentation import Lobe

FIELD_CENTRE_MM = (0.0, -58.0, 5.0)
"""Middle of the grid, x, y, z in patient mm (LPS; the origin is the eighth thoracic vertebra)."""

WHOLE_LUNG_HEIGHT_MM = 312.0
FIELD_OF_VIEW_MM = 360.0
MAXIMUM_VOXELS = 1024 * 1024 * 1024
HU_RANGE = (-1024, 3071)


class PhantomError(ValueError):
    """A phantom or its series can't be made as asked; the message says what to change."""


class LesionKind(StrEnum):
    """Pneumonic opacities the phantom knows."""

    GGO = "ggo"
    CONSOLIDATION = "consolidation"


class Place(StrEnum):
    """Where in its lobe a lesion grows."""

    PERIPHERAL = "peripheral"  # on the posterior pleura, as COVID-19 likes it
    CENTRAL = "central"  # towards the hilum


class Kernel(StrEnum):
    """Reconstruction kernels: sharpness and noise grain."""

    SOFT = "soft"
    STANDARD = "standard"
    SHARP = "sharp"


@dataclass(frozen=True)
class LesionSpec:
    """One lesion.

    Parameters
    ----------
    kind:
        Ground-glass opacity or consolidation.
    volume_ml:
        Volume wanted, mL; reached to the nearest voxel.
    lobe:
        Lobe it stays in. With ``centre_mm`` the lobe is that of the centre unless given.
    place:
        Part of the lobe, when no centre is given.
    centre_mm:
        Explicit centre, patient mm (LPS x, y, z); must lie in the lung.

    Raises
    ------
    PhantomError
        If the values contradict each other.
    """

    kind: LesionKind | str
    volume_ml: float
    lobe: Lobe = Lobe.NONE
    place: Place | str = Place.PERIPHERAL
    centre_mm: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", LesionKind(self.kind))
            object.__setattr__(self, "place", Place(self.place))
            object.__setattr__(self, "lobe", Lobe(self.lobe))
        except ValueError as error:
            raise PhantomError(f"LesionSpec: {error}") from error
        if not (math.isfinite(self.volume_ml) and self.volume_ml > 0):
            raise PhantomError(f"LesionSpec.volume_ml must be above 0 mL, got {self.volume_ml}")
        if self.lobe is Lobe.NONE and self.centre_mm is None:
            raise PhantomError("LesionSpec needs a lobe or a centre_mm to know where to grow")
        if self.centre_mm is not None and (
            len(self.centre_mm) != 3 or not all(math.isfinite(value) for value in self.centre_mm)
        ):
            raise PhantomError("LesionSpec.centre_mm must be three finite numbers: x, y, z in patient mm")


@dataclass(frozen=True)
class PhantomSpec:
    """A whole phantom. The patient depends on ``seed`` only; the grid samples the same patient.

    Parameters
    ----------
    seed:
        Which patient.
    matrix:
        Slices, rows, columns.
    spacing_mm:
        Distance of voxel centres along z, y, x in mm. The grid is centred on the thorax.
    lesions:
        Lesions in the order they are grown; a later one leaves an earlier one alone.
    noise_hu:
        Standard deviation of the noise in HU; 0 for none.
    kernel:
        Sharpness of edges and grain of the noise.
    ggo_hu, consolidation_hu:
        Mean attenuation of the lesion tissue before vessels and airways are drawn through it, HU.
    reconstruction_circle:
        Whether only a circle is reconstructed and voxels outside it hold ``padding_hu``.
    padding_hu:
        What such voxels hold, in HU, e.g. -3024 or -2000.

    Raises
    ------
    PhantomError
        If a value is out of range.
    """

    seed: int = 0
    matrix: tuple[int, int, int] = (60, 96, 96)
    spacing_mm: tuple[float, float, float] = (5.2, 3.75, 3.75)
    lesions: tuple[LesionSpec, ...] = ()
    noise_hu: float = 15.0
    kernel: Kernel | str = Kernel.STANDARD
    ggo_hu: float = -560.0
    consolidation_hu: float = 5.0
    reconstruction_circle: bool = False
    padding_hu: int = -3024

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kernel", Kernel(self.kernel))
        except ValueError as error:
            raise PhantomError(f"PhantomSpec: {error}") from error
        if self.seed < 0:
            raise PhantomError(f"PhantomSpec.seed must not be negative, got {self.seed}")
        if len(self.matrix) != 3 or min(self.matrix) < 3 or math.prod(self.matrix) > MAXIMUM_VOXELS:
            raise PhantomError(
                f"PhantomSpec.matrix must be slices, rows, columns of 3 or more and at most "
                f"{MAXIMUM_VOXELS} voxels, got {self.matrix}"
            )
        if len(self.spacing_mm) != 3 or not all(0.2 <= step <= 20 for step in self.spacing_mm):
            raise PhantomError(f"PhantomSpec.spacing_mm must be three of 0.2 to 20 mm, got {self.spacing_mm}")
        if not 0 <= self.noise_hu <= 200:
            raise PhantomError(f"PhantomSpec.noise_hu must be 0 to 200 HU, got {self.noise_hu}")
        if not -800 <= self.ggo_hu <= -200:
            raise PhantomError(f"PhantomSpec.ggo_hu must be -800 to -200 HU, got {self.ggo_hu}")
        if not -100 <= self.consolidation_hu <= 100:
            raise PhantomError(
                f"PhantomSpec.consolidation_hu must be -100 to 100 HU, got {self.consolidation_hu}"
            )
        if not -32768 <= self.padding_hu <= HU_RANGE[0]:
            raise PhantomError(
                f"PhantomSpec.padding_hu must be -32768 to {HU_RANGE[0]} HU, got {self.padding_hu}"
            )

    @classmethod
    def whole_lung(
        cls,
        matrix: tuple[int, int, int],
        *,
        seed: int = 0,
        lesions: tuple[LesionSpec, ...] = (),
        noise_hu: float = 15.0,
        kernel: Kernel | str = Kernel.STANDARD,
    ) -> PhantomSpec:
        """Spec whose spacing makes ``matrix`` (slices, rows, columns) cover both lungs."""
        slices, rows, columns = matrix
        if min(matrix) < 3:
            raise PhantomError(f"PhantomSpec.matrix needs 3 or more along each axis, got {matrix}")
        spacing = (WHOLE_LUNG_HEIGHT_MM / slices, FIELD_OF_VIEW_MM / rows, FIELD_OF_VIEW_MM / columns)
        rounded = (round(spacing[0], 4), round(spacing[1], 6), round(spacing[2], 6))
        return cls(
            seed=seed, matrix=matrix, spacing_mm=rounded, lesions=lesions, noise_hu=noise_hu, kernel=kernel
        )

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, mL."""
        return math.prod(self.spacing_mm) / 1000.0

    def axis_mm(self, axis: int) -> NDArray[np.float64]:
        """Patient mm of the voxel centres along array axis 0 (z), 1 (y) or 2 (x)."""
        count, step = self.matrix[axis], self.spacing_mm[axis]
        centred = np.arange(count, dtype=np.float64) - (count - 1) / 2
        centres: NDArray[np.float64] = centred * step + FIELD_CENTRE_MM[2 - axis]
        return centres

    @property
    def affine(self) -> NDArray[np.float64]:
        """4 x 4; voxel index (x, y, z, 1) to patient mm (LPS)."""
        matrix = np.diag([self.spacing_mm[2], self.spacing_mm[1], self.spacing_mm[0], 1.0])
        matrix[:3, 3] = [self.axis_mm(axis)[0] for axis in (2, 1, 0)]
        return matrix

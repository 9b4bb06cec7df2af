"""The CT series as one array with its place in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MINIMUM_SLICES = 3


@dataclass(frozen=True)
class SourceInstance:
    """One SOP instance of the source series and the file that holds it."""

    sop_instance_uid: str
    sop_class_uid: str
    path: Path


@dataclass(frozen=True)
class Acquisition:
    """What the header says of how the series was made; ``None`` where it is silent or the slices disagree.

    ``lossy`` is True if any slice ever went through lossy compression (PS3.3 C.7.6.1.1.5).
    """

    slice_thickness_mm: float | None = None
    kernel: str | None = None
    contrast: bool | None = None
    manufacturer: str | None = None
    body_part: str | None = None
    lossy: bool = False


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT series on one regular grid.

    Parameters
    ----------
    hu:
        int16 array of shape (slices, rows, columns), axis order z, y, x, in Hounsfield units from -1024 to
        32767. What lies below -1024, the floor of the scale in most scanners, is padding outside the field of
        view (often -2000 or -3024) or noise in air: both become -1024. Padding above the scale becomes -1024.
    affine:
        4 x 4 float64; takes the homogeneous voxel index (x = column, y = row, z = slice, 1) to the voxel's
        centre in mm in the patient coordinate system LPS (PS3.3 C.7.6.2.1.1).
    instances:
        The source instances, one a slice, in the order of the z axis.
    study_instance_uid, series_instance_uid, frame_of_reference_uid:
        Identity of the source.
    acquisition:
        Header facts that quality flags need.

    Raises
    ------
    ValueError
        If shapes, types or the affine don't agree: such a volume can't exist.
    """

    hu: NDArray[np.int16]
    affine: NDArray[np.float64]
    instances: tuple[SourceInstance, ...]
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    acquisition: Acquisition = field(default_factory=Acquisition)

    def __post_init__(self) -> None:
        if self.hu.ndim != 3 or self.hu.dtype != np.int16:
            raise ValueError(f"Volume.hu must be a 3D int16 array, got {self.hu.ndim}D {self.hu.dtype}")
        if self.hu.shape[0] < MINIMUM_SLICES:
            raise ValueError(f"Volume.hu needs at least {MINIMUM_SLICES} slices, got {self.hu.shape[0]}")
        if len(self.instances) != self.hu.shape[0]:
            raise ValueError(f"Volume has {self.hu.shape[0]} slices but {len(self.instances)} instances")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise ValueError("Volume.affine must be a finite 4 x 4 matrix")
        if not np.allclose(self.affine[3], (0.0, 0.0, 0.0, 1.0)):
            raise ValueError("Volume.affine must end in the row 0, 0, 0, 1")
        if abs(np.linalg.det(self.affine[:3, :3])) < 1e-9:
            raise ValueError("Volume.affine is singular: a voxel without volume")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of voxel centres in mm along the array axes z, y, x."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in mL (cm3)."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

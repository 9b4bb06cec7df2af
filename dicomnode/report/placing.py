"""Where a slice of the volume lies in the patient, as attributes of images and functional groups."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from dicomnode.assemble.volume import Volume
from dicomnode.report.seg_parts import decimal
from dicomnode.report.uids import derive_uid


def frame_of_reference(volume: Volume) -> str:
    """That of the source; one derived from its series where it has none."""
    return volume.frame_of_reference_uid or derive_uid(volume.series_instance_uid, "frame of reference")


def orientation(volume: Volume) -> list[str]:
    """Image Orientation (Patient) of all slices."""
    directions = volume.affine[:3, :2] / np.linalg.norm(volume.affine[:3, :2], axis=0)
    return [decimal(value) for value in directions.T.reshape(-1)]


def position(volume: Volume, z: int) -> list[str]:
    """Image Position (Patient) of a slice."""
    return [decimal(value) for value in (volume.affine @ (0.0, 0.0, z, 1.0))[:3]]


def location(volume: Volume, z: int) -> str:
    """Slice Location: mm along the normal of the slices."""
    axes = volume.affine[:3, :2] / np.linalg.norm(volume.affine[:3, :2], axis=0)
    normal = np.cross(axes[:, 0], axes[:, 1])
    return decimal(float(normal @ (volume.affine @ (0.0, 0.0, z, 1.0))[:3]))


def pixel_measures(volume: Volume) -> Dataset:
    """Pixel Spacing and Slice Thickness."""
    z_mm, y_mm, x_mm = volume.spacing_mm
    measures = Dataset()
    measures.PixelSpacing = [decimal(y_mm), decimal(x_mm)]
    measures.SliceThickness = decimal(volume.acquisition.slice_thickness_mm or z_mm)
    return measures

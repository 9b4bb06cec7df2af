"""The masks as NIfTI, for those who go on with them outside DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from dicomnode.assemble.volume import Volume
from dicomnode.segment.segmentation import Anatomy, Segmentation

LABELS_FILE = "labels.nii.gz"
SIDES_FILE = "sides.nii.gz"
LOBES_FILE = "lobes.nii.gz"
REGIONS_FILE = "regions.nii.gz"
LESIONS_FILE = "lesions.nii.gz"
LAST_NUMBER = int(np.iinfo(np.uint16).max)
"""Lesions beyond so many share it."""


def write_nifti(volume: Volume, segmentation: Segmentation, anatomy: Anatomy, out: Path) -> tuple[Path, ...]:
    """Write ``labels.nii.gz``, ``sides.nii.gz``, ``lesions.nii.gz``; with lobes, them and the regions too.

    Values are those of :class:`~dicomnode.segment.segmentation.Label`, ``Side``, ``Lobe`` and ``Region``, and
    the numbers of the separate lesions. The grid is the CT's; SimpleITK turns its LPS coordinates into
    NIfTI's RAS.
    """
    spacing = np.array(volume.spacing_mm[::-1])
    lesions = np.zeros(segmentation.labels.shape, np.uint16)
    lesions.ravel()[anatomy.lesions.places] = np.minimum(anatomy.lesions.numbers, LAST_NUMBER)
    arrays: dict[Path, NDArray[np.uint8] | NDArray[np.uint16]] = {
        out / LABELS_FILE: segmentation.labels,
        out / SIDES_FILE: segmentation.sides,
        out / LESIONS_FILE: lesions,
    }
    if segmentation.has_lobes:
        arrays[out / LOBES_FILE] = segmentation.lobes
        arrays[out / REGIONS_FILE] = anatomy.regions
    for path, array in arrays.items():
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((volume.affine[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(volume.affine[:3, 3].tolist())
        SimpleITK.WriteImage(image, path, useCompression=True)
    return tuple(arrays)

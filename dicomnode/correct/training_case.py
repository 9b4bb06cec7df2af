"""Corrected masks kept for training: CT and masks as NIfTI, without any patient data."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from dicomnode.assemble.volume import Volume
from dicomnode.segment.segmentation import Segmentation


def keep_for_training(volume: Volume, segmentation: Segmentation, directory: Path) -> Path:
    """Write ``CASE.nii.gz`` (HU), ``CASE_lung.nii.gz`` and ``CASE_lesion.nii.gz`` to ``directory``.

    It is the layout that ``dicomnode evaluate`` and ``train`` read; in the lesion's mask 1 is GGO and 2
    consolidation. A case is a digest of the series' UID: a later correction of the series replaces it.
    Returns the CT's file.
    """
    case = hashlib.sha256(volume.series_instance_uid.encode()).hexdigest()[:16]
    directory.mkdir(parents=True, exist_ok=True)
    lesion = np.where(segmentation.lesion, segmentation.labels - 1, 0).astype(np.uint8)
    ct = directory / f"{case}.nii.gz"
    _write(np.rint(volume.hu).astype(np.int16), volume, ct)
    _write(segmentation.lung.astype(np.uint8), volume, directory / f"{case}_lung.nii.gz")
    _write(lesion, volume, directory / f"{case}_lesion.nii.gz")
    return ct


def _write(array: NDArray[np.int16] | NDArray[np.uint8], volume: Volume, path: Path) -> None:
    image = SimpleITK.GetImageFromArray(array)
    spacing = np.array(volume.spacing_mm[::-1])
    image.SetSpacing(spacing.tolist())
    image.SetDirection((volume.affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(volume.affine[:3, 3].tolist())
    partial = path.with_name(f".{path.name}")
    SimpleITK.WriteImage(image, partial, useCompression=True)
    partial.replace(path)

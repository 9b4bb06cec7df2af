"""The masks as NIfTI, for those who go on with them outside DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK

from dicomnode.assemble.volume import Volume
from dicomnode.segment.segmentation import Segmentation

LABELS_FILE = "labels.nii.gz"
SIDES_FILE = "sides.nii.gz"
LOBES_FILE = "lobes.nii.gz"


def write_nifti(volume: Volume, segmentation: Segmentation, out: Path) -> tuple[Path, ...]:
    """Write ``labels.nii.gz``, ``sides.nii.gz`` and, where there are lobes, ``lobes.nii.gz`` into ``out``.

    Values are those of :class:`~dicomnode.segment.segmentation.Label`, ``Side`` and ``Lobe``. The grid is the
    CT's; SimpleITK turns its LPS coordinates into NIfTI's RAS.
    """
    spacing = np.array(volume.spacing_mm[::-1])
    arrays = {out / LABELS_FILE: segmentation.labels, out / SIDES_FILE: segmentation.sides}
    if segmentation.has_lobes:
        arrays[out / LOBES_FILE] = segmentation.lobes
    for path, array in arrays.items():
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((volume.affine[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(volume.affine[:3, 3].tolist())
        SimpleITK.WriteImage(image, path, useCompression=True)
    return tuple(arrays)

"""The masks as NIfTI, for those who go on with them outside DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK

from dicomnode.assemble.volume import Volume
from dicomnode.segment.segmentation import Segmentation

LABELS_FILE = "labels.nii.gz"
SIDES_FILE = "sides.nii.gz"


def write_nifti(volume: Volume, segmentation: Segmentation, out: Path) -> tuple[Path, Path]:
    """Write ``labels.nii.gz`` and ``sides.nii.gz`` into the folder ``out``.

    Values are those of :class:`~dicomnode.segment.segmentation.Label` and ``Side``. The grid is the CT's;
    SimpleITK turns its LPS coordinates into NIfTI's RAS.
    """
    spacing = np.array(volume.spacing_mm[::-1])
    paths = (out / LABELS_FILE, out / SIDES_FILE)
    for path, array in zip(paths, (segmentation.labels, segmentation.sides), strict=True):
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((volume.affine[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(volume.affine[:3, 3].tolist())
        SimpleITK.WriteImage(image, path, useCompression=True)
    return paths

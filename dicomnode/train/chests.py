"""Whole chest CT in real HU with a lung mask beside it: ``NAME.nii.gz`` and ``NAME-msk.nii.gz``, or NRRD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK

from dicomnode.train.cases import DataError, LabelledCase

NIFTI, MASK_SUFFIX = ".nii.gz", "-msk.nii.gz"
NRRD_CT, NRRD_MASK = Path("reference") / "ct-64.nrrd", Path("reference") / "wholeLung-64.nrrd"


def holds_chests(directory: Path) -> bool:
    """Whether the folder has the layout of ``imlab_chest_ct`` or ``cip_ct64_chest``."""
    return any(directory.glob(f"*{MASK_SUFFIX}")) or (directory / NRRD_MASK).is_file()


def load_chests(directory: Path) -> list[LabelledCase]:
    """One case a CT, in the radiological view; nobody drew lesions, so they count as free of them."""
    pairs = [
        (mask.with_name(mask.name.replace(MASK_SUFFIX, NIFTI)), mask)
        for mask in sorted(directory.glob(f"*{MASK_SUFFIX}"))
    ]
    if (directory / NRRD_MASK).is_file():
        pairs.append((directory / NRRD_CT, directory / NRRD_MASK))
    return [_load(directory, image, mask) for image, mask in pairs]


def _load(directory: Path, image: Path, mask: Path) -> LabelledCase:
    try:
        ct, lung = (SimpleITK.DICOMOrient(SimpleITK.ReadImage(path), "LPS") for path in (image, mask))
    except RuntimeError as error:
        raise DataError(f"{image} or {mask} can't be read") from error
    hu = np.rint(SimpleITK.GetArrayFromImage(ct)).clip(-1024, 3071).astype(np.int16)
    inside = SimpleITK.GetArrayFromImage(lung)
    inside = inside > inside.max() / 2
    return LabelledCase(
        name=f"{directory.name}-{image.name.split('.')[0].split('-')[0]}",
        hu=list(hu),
        lung=list(inside),
        lesion=list(np.zeros_like(inside)),
        spacing_mm=float(ct.GetSpacing()[0]),
        whole=True,
    )

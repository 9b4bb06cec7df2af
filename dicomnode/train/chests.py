"""Whole chest CT in real HU with a lung mask beside it: ``NAME.nii.gz`` and ``NAME-msk.nii.gz``, or NRRD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from dicomnode.train.cases import DataError, LabelledCase

NIFTI, MASK_SUFFIX = ".nii.gz", "-msk.nii.gz"
NRRD_CT, NRRD_MASK = Path("reference") / "ct-64.nrrd", Path("reference") / "wholeLung-64.nrrd"


def holds_chests(directory: Path) -> bool:
    """Whether the folder has the layout of ``imlab_chest_ct`` or ``cip_ct64_chest``."""
    return any(directory.glob(f"*{MASK_SUFFIX}")) or (directory / NRRD_MASK).is_file()


def chest_pairs(directory: Path) -> list[tuple[str, Path, Path]]:
    """Name, CT and lung mask of each case."""
    pairs = [
        (mask.with_name(mask.name.replace(MASK_SUFFIX, NIFTI)), mask)
        for mask in sorted(directory.glob(f"*{MASK_SUFFIX}"))
    ]
    if (directory / NRRD_MASK).is_file():
        pairs.append((directory / NRRD_CT, directory / NRRD_MASK))
    return [(f"{directory.name}-{_patient(image)}", image, mask) for image, mask in pairs]


def load_chests(directory: Path) -> list[LabelledCase]:
    """One case a CT, in the radiological view; nobody drew lesions, so they count as free of them."""
    return [_load(*pair) for pair in chest_pairs(directory)]


def read_chest(
    image: Path, mask: Path
) -> tuple[NDArray[np.int16], NDArray[np.bool_], tuple[float, float, float]]:
    """HU, lung and spacing with axes superior, posterior, left.

    Raises
    ------
    DataError
        If a file can't be read.
    """
    try:
        ct, lung = (SimpleITK.DICOMOrient(SimpleITK.ReadImage(path), "LPS") for path in (image, mask))
    except RuntimeError as error:
        raise DataError(f"{image} or {mask} can't be read") from error
    hu = np.rint(SimpleITK.GetArrayFromImage(ct)).clip(-1024, 3071).astype(np.int16)
    inside = SimpleITK.GetArrayFromImage(lung)
    inside = inside > inside.max() / 2
    x, y, z = ct.GetSpacing()
    return hu, inside, (z, y, x)


def _load(name: str, image: Path, mask: Path) -> LabelledCase:
    hu, lung, spacing = read_chest(image, mask)
    return LabelledCase(
        name=name,
        hu=list(hu),
        lung=list(lung),
        lesion=list(np.zeros_like(lung)),
        spacing_mm=spacing[2],
        whole=True,
    )


def _patient(image: Path) -> str:
    return image.name.split(".")[0].split("-")[0]

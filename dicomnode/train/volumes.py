"""CT volumes with masks as NIfTI, NRRD or MetaImage: which file is which, and what a mask marks.

Two layouts are read. In one folder, masks stand beside their CT with a suffix: ``p1.nii.gz`` with
``p1_lesion.nii.gz``, ``p1_lung.nii.gz`` or ``p1-msk.nii.gz``. In several, CT lie in ``ct``, ``img``,
``image`` or ``images``, masks of the same names in folders whose names say ``lung``, ``lesion``,
``infection`` or ``mask``. A mask whose name doesn't say what it marks is taken for lungs if it is as large
as lungs, else for lesions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from dicomnode.train.cases import DataError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
CT_FOLDERS = frozenset({"ct", "cts", "img", "image", "images", "imagestr", "volumes"})
MASK_WORDS = {
    "lung": "lung",
    "lungs": "lung",
    "lesion": "lesion",
    "lesions": "lesion",
    "infection": "lesion",
    "covid": "lesion",
    "mask": "",
    "masks": "",
    "msk": "",
    "seg": "",
    "gt": "",
    "label": "",
    "labels": "",
    "labelstr": "",
}
"""What the words in a mask's name say; empty: that it is a mask."""

LUNGS_AT_LEAST_ML = 1000.0
"""A mask of this volume or more marks lungs; lesions of a living patient are smaller."""

LUNGS_BELOW_HU = -500.0
GGO_VALUE, CONSOLIDATION_VALUE = 1, 2
BRIGHT = 128
"""Masks written as pictures have 255 instead of 1, and values in between where they were resampled."""


@dataclass(frozen=True, eq=False)
class VolumeCase:
    """One CT and what experts marked in it.

    Parameters
    ----------
    hu:
        int16 with axes superior, posterior, left of the patient.
    spacing_mm:
        Of these axes.
    truth:
        Masks on the same grid by label: ``lung``, ``lesion``, ``ggo``, ``consolidation``.
    """

    name: str
    hu: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    truth: dict[str, NDArray[np.bool_]]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in mL."""
        return float(np.prod(self.spacing_mm)) / 1000


def find_volumes(directory: Path) -> dict[str, tuple[Path, tuple[Path, ...]]]:
    """CT and masks of each case by its name; empty if the folder has no CT with a mask."""
    files = [path for path in sorted(directory.rglob("*")) if path.name.endswith(SUFFIXES) and path.is_file()]
    scans = [path for path in files if not _words(path, directory) & MASK_WORDS.keys()]
    scans_alone = [path for path in scans if path.parent.name.lower() in CT_FOLDERS]
    masks = [path for path in files if path not in scans]
    found = {}
    for scan in scans_alone or scans:
        name = _stem(scan)
        own = tuple(mask for mask in masks if _case_of(mask) == _case_of(scan))
        if own:
            found[name] = (scan, own)
    return found


def load_volumes(directory: Path) -> Iterator[VolumeCase]:
    """Cases one after the other: volumes are large.

    Raises
    ------
    DataError
        If a file can't be read or a mask lies on another grid than its CT.
    """
    for name, (scan, masks) in find_volumes(directory).items():
        image = _read(scan)
        hu = np.clip(SimpleITK.GetArrayFromImage(image), -32768, 32767).round().astype(np.int16)
        x, y, z = image.GetSpacing()
        truth: dict[str, NDArray[np.bool_]] = {}
        for path in masks:
            mask = _read(path)
            if mask.GetSize() != image.GetSize():
                raise DataError(f"{path} has the size {mask.GetSize()}, its CT {image.GetSize()}")
            values = SimpleITK.GetArrayFromImage(mask)
            truth |= _marked(path, directory, values, hu, x * y * z / 1000)
        yield VolumeCase(name, hu, (z, y, x), truth)


def _marked(
    path: Path, directory: Path, values: NDArray[np.generic], hu: NDArray[np.int16], voxel_ml: float
) -> dict[str, NDArray[np.bool_]]:
    """What one mask marks, by label."""
    numbers = values.astype(np.float32)
    top = float(numbers.max()) if numbers.size else 0.0
    meanings = {MASK_WORDS[word] for word in _words(path, directory) & MASK_WORDS.keys()} - {""}
    if meanings == {"lung", "lesion"} and top == 3:  # left lung, right lung, infection
        return {"lung": numbers > 0, "lesion": numbers == 3}
    marked: NDArray[np.bool_] = numbers > (BRIGHT if top > 10 else 0.5)
    if not meanings:
        large = float(marked.sum()) * voxel_ml >= LUNGS_AT_LEAST_ML
        meanings = {"lung" if large and float(np.median(hu[marked])) < LUNGS_BELOW_HU else "lesion"}
    if meanings == {"lung"}:
        return {"lung": marked}
    found = {"lesion": marked}
    if top == CONSOLIDATION_VALUE:
        found |= {"ggo": numbers == GGO_VALUE, "consolidation": numbers == CONSOLIDATION_VALUE}
    return found


def _read(path: Path) -> SimpleITK.Image:
    """The image with its axes turned to superior, posterior, left (as numpy has them)."""
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise DataError(f"{path} can't be read") from error
    if image.GetDimension() != 3:
        raise DataError(f"{path} has {image.GetDimension()} dimensions, a volume has 3")
    return SimpleITK.DICOMOrient(image, "LPS")


def _stem(path: Path) -> str:
    return path.name.removesuffix(next(suffix for suffix in SUFFIXES if path.name.endswith(suffix)))


def _words(path: Path, directory: Path) -> set[str]:
    """Words of the file's name and of its folders below ``directory``."""
    parts = (*path.relative_to(directory).parts[:-1], _stem(path))
    return {word for part in parts for word in re.split(r"[^a-z0-9]+", part.lower()) if word}


def _case_of(path: Path) -> str:
    """The name without the words that say what it is: the same for a CT and its masks."""
    words = re.split(r"[^A-Za-z0-9]+", _stem(path))
    return " ".join(word for word in words if word.lower() not in MASK_WORDS.keys() | {"ct", "and"})

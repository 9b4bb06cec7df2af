"""Lobe masks as training and scoring see them; no CT is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from dicomnode.assemble.orientation import AxisOrder
from dicomnode.segment.segmentation import Lobe
from dicomnode.train.cases import DataError

LUNA_SUFFIX = "_LobeSegmentation.nrrd"
LUNA_LOBES = {
    4: Lobe.RIGHT_UPPER,
    5: Lobe.RIGHT_MIDDLE,
    6: Lobe.RIGHT_LOWER,
    7: Lobe.LEFT_UPPER,
    8: Lobe.LEFT_LOWER,
}
TOTALSEG_FILES = {
    "lung_upper_lobe_right.nii.gz": Lobe.RIGHT_UPPER,
    "lung_middle_lobe_right.nii.gz": Lobe.RIGHT_MIDDLE,
    "lung_lower_lobe_right.nii.gz": Lobe.RIGHT_LOWER,
    "lung_upper_lobe_left.nii.gz": Lobe.LEFT_UPPER,
    "lung_lower_lobe_left.nii.gz": Lobe.LEFT_LOWER,
}


@dataclass(frozen=True, eq=False)
class LobeCase:
    """Lobes of one patient: values of :class:`Lobe`, axes (superior, posterior, left), spacing in mm."""

    name: str
    lobes: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def has_lobes(directory: Path) -> bool:
    """Whether a folder is laid out like ``luna16_lobe_masks`` or ``totalseg_masks``."""
    return any(True for _ in directory.glob(f"*{LUNA_SUFFIX}")) or any(_totalseg_folders(directory))


def lobe_case_names(directory: Path) -> list[str]:
    """Names of all cases of a folder, sorted."""
    luna = [path.name.removesuffix(LUNA_SUFFIX) for path in directory.glob(f"*{LUNA_SUFFIX}")]
    return sorted([*luna, *(folder.name for folder in _totalseg_folders(directory))])


def load_lobe_case(directory: Path, name: str) -> LobeCase:
    """One case of a folder.

    Raises
    ------
    DataError
        If a file can't be read or shows no lobe.
    """
    luna = directory / f"{name}{LUNA_SUFFIX}"
    return _luna_case(name, luna) if luna.is_file() else _totalseg_case(directory / name)


def _totalseg_folders(directory: Path) -> Iterator[Path]:
    for folder in sorted(directory.iterdir()) if directory.is_dir() else []:
        if all((folder / file).is_file() for file in TOTALSEG_FILES):
            yield folder


def _luna_case(name: str, path: Path) -> LobeCase:
    values, spacing = _read(path)
    table = np.zeros(256, np.uint8)
    for value, lobe in LUNA_LOBES.items():
        table[value] = lobe
    lobes = table[values & 255]
    if not lobes.any():
        raise DataError(f"{path} shows no lobe")
    return LobeCase(name, lobes, spacing)


def _totalseg_case(folder: Path) -> LobeCase:
    lobes: NDArray[np.uint8] | None = None
    spacing = (0.0, 0.0, 0.0)
    for file, lobe in TOTALSEG_FILES.items():
        values, spacing = _read(folder / file)
        lobes = np.zeros(values.shape, np.uint8) if lobes is None else lobes
        if values.shape != lobes.shape:
            raise DataError(f"{folder / file} has another grid than the other lobes")
        lobes[values > 0] = lobe
    if lobes is None or not lobes.any():
        raise DataError(f"{folder} shows no lobe")
    return LobeCase(folder.name, lobes, spacing)


def _read(path: Path) -> tuple[NDArray[np.uint16], tuple[float, float, float]]:
    """An image turned to (superior, posterior, left) by its own directions, and its spacing there."""
    try:
        image = SimpleITK.ReadImage(str(path), SimpleITK.sitkUInt16)
    except RuntimeError as error:
        raise DataError(f"{path} can't be read as a mask") from error
    if image.GetDimension() != 3:
        raise DataError(f"{path} is not three-dimensional")
    x, y, z = image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * (x, y, z)
    order = AxisOrder.from_affine(affine)
    values = np.ascontiguousarray(order.to_patient(SimpleITK.GetArrayFromImage(image)))
    return values, order.patient_spacing((z, y, x))

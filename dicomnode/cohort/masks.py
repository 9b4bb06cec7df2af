"""Masks of two readers, or of a reader and a model: overlap and volumes, a row a case and label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from dicomnode.cohort.agreement import AgreementError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")

GRID_TOLERANCE_MM = 0.01


@dataclass(frozen=True)
class Overlap:
    """One label of one case. Ratios lie between 0 and 1; one without anything to divide by is ``None``.

    Parameters
    ----------
    label:
        Value in the label map; ``any`` is everything that isn't 0.
    reference_ml, prediction_ml:
        Volumes.
    """

    case: str
    label: str
    dice: float | None
    sensitivity: float | None
    ppv: float | None
    reference_ml: float
    prediction_ml: float


def paired_files(reference: Path, prediction: Path) -> list[tuple[str, Path, Path]]:
    """Cases by the names of their files: two files, or the files of two folders with the same names.

    Raises
    ------
    AgreementError
        If nothing pairs, or a reference has no prediction.
    """
    if reference.is_file() and prediction.is_file():
        return [(_case(reference), reference, prediction)]
    ours, theirs = _masks(reference), _masks(prediction)
    missing = sorted(ours.keys() - theirs.keys())
    if not ours or missing:
        what = f"no mask for {', '.join(missing[:5])}" if ours else "no masks"
        where = prediction if ours else reference
        raise AgreementError(f"{where} has {what}; masks are {', '.join(SUFFIXES)} files of the same names")
    return [(case, path, theirs[case]) for case, path in sorted(ours.items())]


def overlaps(case: str, reference: Path, prediction: Path) -> Iterator[Overlap]:
    """Each label of the two maps, and all of them together.

    Raises
    ------
    AgreementError
        If a file can't be read or the two lie on different grids.
    """
    image, other = _read(reference), _read(prediction)
    if image.GetSize() != other.GetSize() or not np.allclose(
        _geometry(image), _geometry(other), atol=GRID_TOLERANCE_MM
    ):
        raise AgreementError(f"{case}: the two masks lie on different grids; resample one of them first")
    voxel_ml = float(np.prod(image.GetSpacing())) / 1000
    r, p = SimpleITK.GetArrayFromImage(image), SimpleITK.GetArrayFromImage(other)
    labels = sorted({int(value) for value in np.union1d(np.unique(r), np.unique(p)) if value})
    yield _overlap(case, "any", r != 0, p != 0, voxel_ml)
    if len(labels) > 1:
        for label in labels:
            yield _overlap(case, str(label), r == label, p == label, voxel_ml)


def _overlap(case: str, label: str, r: NDArray[np.bool_], p: NDArray[np.bool_], voxel_ml: float) -> Overlap:
    both, in_r, in_p = (int(np.count_nonzero(mask)) for mask in (r & p, r, p))
    return Overlap(
        case=case,
        label=label,
        dice=2 * both / (in_r + in_p) if in_r + in_p else None,
        sensitivity=both / in_r if in_r else None,
        ppv=both / in_p if in_p else None,
        reference_ml=in_r * voxel_ml,
        prediction_ml=in_p * voxel_ml,
    )


def _masks(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise AgreementError(f"{folder} is neither a folder nor a file")
    return {
        _case(path): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name.endswith(SUFFIXES)
    }


def _case(path: Path) -> str:
    suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), path.suffix)
    return path.name.removesuffix(suffix)


def _read(path: Path) -> SimpleITK.Image:
    try:
        return SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise AgreementError(f"{path} can't be read as a mask") from error


def _geometry(image: SimpleITK.Image) -> list[float]:
    return [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]

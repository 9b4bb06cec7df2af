"""Labelled CT as training and scoring see it: HU with a lung and a lesion mask a case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ADULT_LUNG_WIDTH_MM = 275.0
"""Transverse width of both lungs together, used as a ruler where a set doesn't give its pixel spacing."""


class DataError(Exception):
    """Labelled data can't be read; one sentence that says which file and why."""


@dataclass(frozen=True, eq=False)
class LabelledCase:
    """Slices of one patient; shapes (rows, columns) may differ from slice to slice.

    ``hu`` int16, ``lung`` and ``lesion`` boolean, ``spacing_mm`` in-plane (square pixels).
    ``consolidation`` is the part of ``lesion`` an expert called so, where the set tells it apart.
    Without ``lung_known`` the lung masks are a stand-in made from the picture, for models that need one.
    ``whole`` slices show the body in one frame, others are cut to their lungs.
    """

    name: str
    hu: list[NDArray[np.int16]]
    lung: list[NDArray[np.bool_]]
    lesion: list[NDArray[np.bool_]]
    spacing_mm: float
    consolidation: list[NDArray[np.bool_]] | None = None
    lung_known: bool = True
    whole: bool = False

    def __post_init__(self) -> None:
        lists = [self.lung, self.lesion, *([self.consolidation] if self.consolidation is not None else [])]
        if not self.hu or any(len(entry) != len(self.hu) for entry in lists):
            raise DataError(f"case {self.name}: images and masks differ in number")
        for index, image in enumerate(self.hu):
            if any(entry[index].shape != image.shape for entry in lists):
                raise DataError(f"case {self.name}: slice {index} and its masks differ in shape")


def read_grey(path: Path) -> NDArray[np.uint8]:
    """An 8-bit picture as it is stored, of a palette the indices; colour is refused."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise DataError(f"{path} is no 8-bit grey or palette picture but {image.mode}")
            return np.asarray(image)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error}") from error


def lung_width(lung: NDArray[np.bool_]) -> int:
    """Columns from the first to the last with lung; 0 without lung."""
    columns = np.flatnonzero(lung.any(axis=0))
    return int(columns[-1] - columns[0]) + 1 if columns.size else 0

"""The whole way from HU to labels scored on CT volumes: lungs found by the product, lesions in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicomnode.assemble.refusal import SeriesRefusedError
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.lungs import find_lungs
from dicomnode.segment.segmentation import Label
from dicomnode.train.evaluation import UNSEEN, Score, score_masks
from dicomnode.train.volumes import VolumeCase, find_volumes, load_volumes


def score_volumes(
    model: LesionModel, directory: Path, progress: Callable[[float], None] | None = None
) -> list[Score]:
    """Scores of every case, an own row for each label that an expert marked.

    A case whose lungs the product refuses to measure scores 0 for every label: the user gets nothing.

    Raises
    ------
    DataError
        If a file can't be read.
    """
    total, scores = len(find_volumes(directory)), []
    for number, case in enumerate(load_volumes(directory), start=1):
        found = find_labels(model, case)
        lung = case.truth.get("lung")
        lung_ml = None if lung is None else float(np.count_nonzero(lung)) * case.voxel_ml
        scores += [
            score_masks(case.name, UNSEEN, label, [found[label]], [truth], case.voxel_ml, lung_ml)
            for label, truth in case.truth.items()
        ]
        if progress is not None:
            progress(number / total)
    return scores


def find_labels(model: LesionModel, case: VolumeCase) -> dict[str, NDArray[np.bool_]]:
    """What the product finds, by the labels of the truth."""
    try:
        lungs = find_lungs(case.hu, case.spacing_mm)
        labels = model.label(case.hu, lungs.sides > 0, case.spacing_mm)
    except SeriesRefusedError:
        labels = np.zeros(case.hu.shape, dtype=np.uint8)
    return {
        "lung": labels > 0,
        "lesion": (labels == Label.GROUND_GLASS) | (labels == Label.CONSOLIDATION),
        "ggo": labels == Label.GROUND_GLASS,
        "consolidation": labels == Label.CONSOLIDATION,
    }

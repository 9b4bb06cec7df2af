"""From the scores of a model to what ``dicomnode agree`` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicomnode.cohort.agreement import agree
from dicomnode.cohort.tables import paired_columns
from dicomnode.train.cases import DataError
from dicomnode.train.evaluation import CROSS_VALIDATED, Score, score_masks
from dicomnode.train.tables import write_tables


def _score(case: str, use: str, real: int, marked: int, label: str = "lesion") -> Score:
    truth, found = np.zeros((2, 10, 10, 10), np.bool_)
    truth.ravel()[:real], found.ravel()[:marked] = True, True
    return score_masks(case, use, label, [found], [truth], voxel_ml=0.5, lung_ml=500.0)


def test_agree_reads_the_volumes_and_extents_of_unseen_cases_only(tmp_path: Path) -> None:
    scores = [
        _score("a", CROSS_VALIDATED, 100, 120),
        _score("b", "test", 40, 40),
        _score("c", "unseen", 0, 10),
        _score("seen", "train", 900, 900),
    ]
    assert write_tables(scores, tmp_path) == 3
    columns = {c.name: c for c in paired_columns(tmp_path / "reference.csv", tmp_path / "prediction.csv")}
    assert set(columns) == {"lesion mL", "lesion extent %"}
    volumes = columns["lesion mL"]
    assert volumes.cases == ("a", "b", "c")
    assert volumes.reference == (50.0, 20.0, 0.0) and volumes.prediction == (60.0, 20.0, 5.0)
    assert columns["lesion extent %"].prediction == (12.0, 4.0, 1.0)
    assert agree(volumes.reference, volumes.prediction).bias == pytest.approx(5.0)


def test_cases_that_were_all_seen_give_no_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="never saw"):
        write_tables([_score("a", "train", 10, 10)], tmp_path)

"""Scores as the two tables that ``dicomnode agree`` compares: volumes of experts and of a model by case."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from dicomnode.train.cases import DataError
from dicomnode.train.evaluation import CROSS_VALIDATED, UNSEEN, Score

REFERENCE_TABLE, PREDICTION_TABLE = "reference.csv", "prediction.csv"
HELD_BACK = ("test", UNSEEN, CROSS_VALIDATED)


def write_tables(scores: Sequence[Score], directory: Path) -> int:
    """Write ``reference.csv`` and ``prediction.csv`` of cases that the model never saw; how many those are.

    Columns are ``case``, each label's volume in mL, and its share of the lungs where they are known.

    Raises
    ------
    DataError
        If the model was trained or chosen on every case, or none has volumes.
    """
    chosen = [s for s in scores if s.use in HELD_BACK and s.reference_ml is not None]
    if not chosen:
        raise DataError(
            "there is no case that the model never saw; ensembles need --cross-validate to have some"
        )
    directory.mkdir(parents=True, exist_ok=True)
    for name in (REFERENCE_TABLE, PREDICTION_TABLE):
        rows: dict[str, dict[str, str]] = {}
        for score in chosen:
            ml = score.reference_ml if name == REFERENCE_TABLE else score.found_ml
            row = rows.setdefault(score.case, {"case": score.case})
            row[f"{score.label} mL"] = f"{ml:.3f}"
            if score.lung_ml and score.label != "lung":
                row[f"{score.label} extent %"] = f"{100 * (ml or 0.0) / score.lung_ml:.4f}"
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        with (directory / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows.values())
    return len({score.case for score in chosen})

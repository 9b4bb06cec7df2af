"""The ``covid10_linear`` layout: 8-bit slices linear in HU, expert lung and infection masks."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from dicomnode.train.calibration import linear_grey_to_hu
from dicomnode.train.cases import ADULT_LUNG_WIDTH_MM, LabelledCase, lung_width, read_grey

INDEX_FILE = "index.csv"


def load_linear(directory: Path) -> list[LabelledCase]:
    """Cases ``case01``, ... with slices in the order of z, calibrated to HU.

    The set gives no pixel spacing: the widest slice's lungs are taken as an adult's.
    """
    with (directory / INDEX_FILE).open(newline="", encoding="utf-8") as file:
        rows_by_case: dict[int, list[dict[str, str]]] = defaultdict(list)
        for row in csv.DictReader(file):
            rows_by_case[int(row["case"])].append(row)
    cases = []
    for number, rows in sorted(rows_by_case.items()):
        files = [row["file"] for row in sorted(rows, key=lambda row: int(row["slice_order"]))]
        greys = [read_grey(directory / "img" / name) for name in files]
        lungs = [read_grey(directory / "lung" / name) > 127 for name in files]
        lesions = [read_grey(directory / "infection" / name) > 127 for name in files]
        cases.append(
            LabelledCase(
                name=f"case{number:02d}",
                hu=linear_grey_to_hu(greys, lungs),
                lung=lungs,
                lesion=lesions,
                spacing_mm=ADULT_LUNG_WIDTH_MM / max(lung_width(lung) for lung in lungs),
            )
        )
    return cases

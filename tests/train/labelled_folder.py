"""A small labelled set in the layout of ``covid10_linear``, drawn by formula."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

AIR, LUNG, LESION, TISSUE = 2, 13, 50, 100
"""Grey levels; with air at -1000 and soft tissue at 45 HU one level is 10.7 HU."""


def make_linear_set(directory: Path, cases: int = 3, slices: int = 4) -> None:
    """Elliptic lungs with a round lesion each and bright vessels; other places in every slice."""
    rng = np.random.default_rng(5)
    for folder in ("img", "lung", "infection"):
        (directory / folder).mkdir(parents=True)
    with (directory / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "case", "slice_order"))
        for case in range(1, cases + 1):
            for order in range(1, slices + 1):
                name = f"case{case:02d}_{order:03d}.png"
                writer.writerow((name, case, order))
                _draw(directory, name, rng)


def _draw(directory: Path, name: str, rng: np.random.Generator) -> None:
    rows, columns = np.mgrid[:72, :100]
    lung = _disc(rows, columns, 36, 27, 28, 19) | _disc(rows, columns, 36, 73, 28, 19)
    lesion = np.zeros_like(lung)
    for centre in (27, 73):
        row, column = rng.uniform(22, 50), centre + rng.uniform(-8, 8)
        radius = rng.uniform(5, 9)
        lesion |= _disc(rows, columns, row, column, radius, radius)
    lesion &= lung
    grey = np.where(lung, LUNG, TISSUE).astype(np.float64)
    grey[lesion] = LESION
    for _ in range(12):
        grey[_disc(rows, columns, rng.uniform(10, 60), rng.uniform(12, 88), 1.2, 1.2)] = TISSUE
    grey[32:40, 23:31] = AIR
    grey = gaussian_filter(grey, 0.6) + rng.normal(0, 2, grey.shape)
    for folder, picture in (("img", grey.clip(0, 255)), ("lung", lung * 255), ("infection", lesion * 255)):
        Image.fromarray(picture.astype(np.uint8)).save(directory / folder / name)


def _disc(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    row: float,
    column: float,
    height: float,
    width: float,
) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 <= 1
    return inside

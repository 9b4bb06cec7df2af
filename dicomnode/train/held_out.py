"""What a model finds in cases that it never saw, part by part, beside what experts drew: a table (CSV)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicomnode.segment.lesions import Found, LesionModel, as_byte
from dicomnode.segment.segmentation import Label
from dicomnode.train.cases import DataError, LabelledCase
from dicomnode.train.evaluation import ASSUMED_THICKNESS_MM

PATIENT, SLICE = "patient", "slice"
"""Kinds of case: the lungs of a patient, or a single slice of one."""

WHOLE, LOBE, REGION = "whole", "lobe", "region"
"""Kinds of part. The sets show no lobes: pieces of the lungs of about their size stand for them."""

PIECES = {LOBE: (3, 1), REGION: (5, 2)}
"""Into how many pieces of the same volume each lung is cut along its height and from front to back."""


@dataclass(frozen=True)
class Part:
    """One part of a case; volumes in mL, weights in g.

    ``low_ml`` and ``high_ml`` are what the model finds from the low and from the high probability on.
    GGO and consolidation are ``None`` where no expert told them apart.
    """

    case: str
    kind: str
    part: str
    lung_ml: float
    true_ml: float
    found_ml: float
    low_ml: float
    high_ml: float
    true_g: float
    found_g: float
    true_ggo_ml: float | None = None
    found_ggo_ml: float | None = None
    true_consolidation_ml: float | None = None
    found_consolidation_ml: float | None = None

    @property
    def size(self) -> str:
        """Kind of part: ``whole``, ``lobe`` or ``region``."""
        return self.part.split("-")[0]


def find_parts(model: LesionModel, case: LabelledCase, low: float, high: float) -> list[Part]:
    """The whole of a case, and of a patient its pieces, as the model's chosen members find them."""
    spacing = (ASSUMED_THICKNESS_MM, case.spacing_mm, case.spacing_mm)
    voxel_ml = float(np.prod(spacing)) / 1000
    sums: dict[str, NDArray[np.float64]] = {}
    pieces = _pieces(case)
    for index, (hu, lung) in enumerate(zip(case.hu, case.lung, strict=True)):
        found = model.search(hu[None], lung[None], spacing, lung_known=case.lung_known)
        counted = _counted(case, index, found, low, high)
        for name, mask in pieces(index):
            sums[name] = sums.get(name, 0.0) + counted[:, mask].sum(axis=1)
    kind = SLICE if len(case.hu) == 1 else PATIENT
    return [_part(case, kind, name, values * voxel_ml) for name, values in sums.items()]


def _counted(case: LabelledCase, index: int, found: Found, low: float, high: float) -> NDArray[np.float64]:
    """Planes (10, rows, columns) whose sums are the volumes and weights of a :class:`Part`."""
    labels, levels = found.labels[0], found.levels[0]
    truth, hu = case.lesion[index], case.hu[index]
    lesion = (labels == Label.GROUND_GLASS) | (labels == Label.CONSOLIDATION)
    density = np.maximum(hu + 1000.0, 0.0) / 1000.0
    dense = np.zeros_like(truth) if case.consolidation is None else case.consolidation[index]
    return np.stack(
        [
            case.lung[index] | truth,
            truth,
            lesion,
            levels >= as_byte(low),
            levels >= as_byte(high),
            truth * density,
            lesion * density,
            truth & ~dense,
            labels == Label.GROUND_GLASS,
            dense,
            labels == Label.CONSOLIDATION,
        ]
    ).astype(np.float64)


def _part(case: LabelledCase, kind: str, name: str, values: NDArray[np.float64]) -> Part:
    rounded = [round(float(value), 4) for value in values]
    told = rounded[7:] if case.consolidation is not None else [None] * 4
    return Part(case.name, kind, name, *rounded[:7], *told)


def _pieces(case: LabelledCase):  # type: ignore[no-untyped-def]
    """Names and masks of the parts of each slice."""
    heights = np.cumsum([int(lung.sum()) for lung in case.lung])
    share = (heights - np.diff(heights, prepend=0) / 2) / max(heights[-1], 1)

    def of(index: int) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        inside = case.lung[index] | case.lesion[index]
        if len(case.hu) == 1:
            # Nobody knows these lungs: all that is found counts.
            yield WHOLE, np.ones_like(inside)
            return
        yield WHOLE, inside
        columns = np.flatnonzero(inside.any(axis=0))
        if not columns.size:
            return
        middle = (columns[0] + columns[-1] + 1) // 2
        for side, part in (("right", np.s_[:, :middle]), ("left", np.s_[:, middle:])):
            half = np.zeros_like(inside)
            half[part] = inside[part]
            rows = np.nonzero(half)[0]
            if not rows.size:
                continue
            for size, (levels, depths) in PIECES.items():
                level = min(int(share[index] * levels), levels - 1)
                edges = np.quantile(rows, np.linspace(0, 1, depths + 1))
                edges[0], edges[-1] = -1, len(half)
                for depth in range(depths):
                    y = np.arange(len(half))
                    chosen = (y > edges[depth]) & (y <= edges[depth + 1])
                    yield f"{size}-{side}-{level}-{depth}", half & chosen[:, None]

    return of


def write_parts(parts: list[Part], path: Path) -> None:
    """Write the table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Part)], lineterminator="\n")
        writer.writeheader()
        for part in parts:
            writer.writerow({name: "" if value is None else value for name, value in vars(part).items()})


def read_parts(path: Path) -> list[Part]:
    """The table that :func:`write_parts` wrote.

    Raises
    ------
    DataError
        If it can't be read.
    """
    texts = ("case", "kind", "part")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Part(**{n: v if n in texts else float(v) if v else None for n, v in row.items()})  # type: ignore[arg-type]
                for row in csv.DictReader(file)
            ]
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no table of held-out cases: {error}") from error

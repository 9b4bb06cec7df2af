"""Chests with lung masks as the lung network is trained on them: whole slices on coarse pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, build_phantom
from dicomnode.segment.lung_input import in_plane
from dicomnode.segment.segmentation import Lobe
from dicomnode.train.bodies import in_body
from dicomnode.train.cases import ADULT_LUNG_WIDTH_MM, DataError, lung_width, read_grey
from dicomnode.train.chests import chest_pairs, holds_chests, read_chest
from dicomnode.train.clahe import OTHER_SCANNERS
from dicomnode.train.linear import INDEX_FILE, load_linear

SAME_COLLECTION = {
    "001": range(159),
    "002": range(159, 279),
    "004": range(397, 510),
    "005": range(510, 626),
    "006": range(626, 696),
    "007": range(696, 789),
    "009": range(970, 1081),
    "010": range(1081, 1247),
}
"""File numbers in ``covid20_clahe`` of patients that ``covid10_linear`` has as case01 to case10."""

STEP_MM = 1.25
"""Distance of neighbouring slices of ``covid10_linear``, which doesn't say it."""

GREY_ANCHORS_HU = (-1000.0, -850.0, 40.0, 700.0)
"""Air, lung, soft tissue and the brightest bone of an equalised picture."""


@dataclass(frozen=True, eq=False)
class LungCase:
    """One chest: ``hu`` (float32) and ``lung``, (slices, rows, columns), from feet to head and front to back.

    ``step_mm`` is the distance of slices, 0 where each slice stands alone; ``collection`` is its origin.
    """

    collection: str
    name: str
    hu: NDArray[np.float32]
    lung: NDArray[np.bool_]
    spacing_mm: float
    step_mm: float


def load_lung_cases(data: Path, names: set[str] | None, spacing_mm: float) -> list[LungCase]:
    """Cases of the known sets in ``data`` or in folders of it, those of ``names`` if given, at a spacing.

    Raises
    ------
    DataError
        If a file can't be read, or there is no such case.
    """
    cases = []
    for folder in [data, *sorted(path for path in data.glob("*") if path.is_dir())]:
        if holds_chests(folder):
            cases += _chests(folder, names, spacing_mm)
        elif (folder / INDEX_FILE).is_file() and (folder / "lung").is_dir():
            cases += _linear(folder, names, spacing_mm)
        elif (folder / "lungs").is_dir() and (folder / "ct").is_dir():
            cases += _equalised(folder, names, spacing_mm)
    if names is not None and (missing := sorted(names - {case.name for case in cases})):
        raise DataError(f"{data} lacks {', '.join(missing)}, which the split of the lung model names")
    if not cases:
        raise DataError(f"{data} holds no chests with lung masks that dicomnode knows the layout of")
    return cases


def phantom_case(seed: int, spacing_mm: float) -> LungCase:
    """The phantom's patient ``seed``, two of three with consolidations of up to half a litre at the bases."""
    rng = np.random.default_rng((seed, 71))
    lesions = [
        LesionSpec(LesionKind.CONSOLIDATION, float(np.exp(rng.uniform(np.log(30), np.log(500)))), lobe)
        for lobe in (Lobe.RIGHT_LOWER, Lobe.LEFT_LOWER)
        if rng.random() < 0.45
    ]
    spec = PhantomSpec(
        seed=seed,
        matrix=(round(330 / spacing_mm), round(420 / spacing_mm), round(420 / spacing_mm)),
        spacing_mm=(spacing_mm,) * 3,
        lesions=tuple(lesions),
        noise_hu=float(rng.uniform(3, 20)),
        consolidation_hu=float(rng.uniform(0, 60)),
    )
    phantom = build_phantom(spec)
    hu = phantom.hu.astype(np.float32)
    return LungCase("phantom", f"phantom{seed}", hu, phantom.sides > 0, spacing_mm, spacing_mm)


def _chests(folder: Path, names: set[str] | None, spacing_mm: float) -> list[LungCase]:
    cases = []
    for name, image, mask in chest_pairs(folder):
        if names is None or name in names:
            hu, lung, (step, row, column) = read_chest(image, mask)
            cases.append(_case("chests", name, hu.astype(np.float32), lung, (row, column), spacing_mm, step))
    return cases


def _linear(folder: Path, names: set[str] | None, spacing_mm: float) -> list[LungCase]:
    cases = []
    for case in load_linear(folder):
        if names is None or case.name in names:
            whole = in_body(case)
            hu, lung = np.stack(whole.hu).astype(np.float32), np.stack(whole.lung)
            cases.append(_case("linear", case.name, hu, lung, (case.spacing_mm,) * 2, spacing_mm, STEP_MM))
    return cases


def _equalised(folder: Path, names: set[str] | None, spacing_mm: float) -> list[LungCase]:
    groups = {f"clahe-{key}": numbers for key, numbers in SAME_COLLECTION.items()} | OTHER_SCANNERS
    cases = []
    for name, numbers in groups.items():
        files = [f"{n:04d}.png" for n in numbers if (folder / "ct" / f"{n:04d}.png").is_file()]
        if (names is not None and name not in names) or not files:
            continue
        upright = -1 if name in OTHER_SCANNERS else 1
        greys = [read_grey(folder / "ct" / file)[::upright] for file in files]
        lungs = [read_grey(folder / "lungs" / file)[::upright] > 127 for file in files]
        seen = [(grey, lung) for grey, lung in zip(greys, lungs, strict=True) if lung.any()]
        hu = np.stack([_equalised_to_hu(grey, lung) for grey, lung in seen])
        lung = np.stack([lung for _, lung in seen])
        own = ADULT_LUNG_WIDTH_MM / max(lung_width(mask) for mask in lung)
        cases.append(_case("equalised", name, hu, lung, (own, own), spacing_mm, 0.0))
    return cases


def _equalised_to_hu(grey: NDArray[np.uint8], lung: NDArray[np.bool_]) -> NDArray[np.float32]:
    """An equalised picture in HU, roughly: its air, lung, soft tissue and bone are put where they belong.

    Equalisation differs from place to place, so tissues are off by 100 HU and more; shapes stay.
    """
    tissue = np.bincount(grey[~lung], minlength=256).astype(np.float64)
    inner = int(np.median(grey[lung]))
    tissue[: min(inner + 40, 250)] = 0
    dense = inner + 60.0 if not tissue.any() else float(np.argmax(np.convolve(tissue, np.ones(9), "same")))
    anchors = [0.0, float(inner), dense, 255.0]
    return np.interp(grey, np.maximum.accumulate(anchors), GREY_ANCHORS_HU).astype(np.float32)


def _case(
    collection: str,
    name: str,
    hu: NDArray[np.float32],
    lung: NDArray[np.bool_],
    own_mm: tuple[float, float],
    spacing_mm: float,
    step_mm: float,
) -> LungCase:
    image = in_plane(torch.from_numpy(hu.clip(-1024, 1500)), own_mm, spacing_mm).numpy()
    mask = in_plane(torch.from_numpy(lung.astype(np.float32)), own_mm, spacing_mm).numpy() > 0.5
    return LungCase(collection, name, image, mask, spacing_mm, step_mm)

"""A model scored on labelled cases: Dice, sensitivity, PPV and volume error a case and label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, pstdev

import numpy as np
from numpy.typing import NDArray

from dicomnode.segment.card import Figures
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.segmentation import Label
from dicomnode.train.bodies import in_body
from dicomnode.train.cases import LabelledCase
from dicomnode.train.protocol import TRAINED, Folds, Split

ASSUMED_THICKNESS_MM = 5.0
"""Slice thickness where a set holds single slices; it only enters the minimum volumes."""

CROSS_VALIDATED = "cross-validated"
"""Use of a case that is scored only by members of an ensemble that never saw it."""

UNSEEN = "unseen"
"""Use of a case that the model's split doesn't name."""


@dataclass(frozen=True)
class Score:
    """One case and label. Ratios lie between 0 and 1; a ratio without anything to divide by is ``None``.

    ``volume_error_percent`` = (found - reference) / reference x 100. Volumes in mL are as good as
    the spacing: of sets that give none it comes from the lungs' width and an assumed thickness.
    ``lung_ml`` is the lung of the truth, if it is known.
    """

    case: str
    use: str
    label: str
    dice: float | None
    sensitivity: float | None
    ppv: float | None
    volume_error_percent: float | None
    reference_ml: float | None = None
    found_ml: float | None = None
    lung_ml: float | None = None


def score_case(model: LesionModel, case: LabelledCase, use: str) -> list[Score]:
    """Scores of one case over all its slices: lesion, and GGO and consolidation where the truth has them."""
    spacing = (ASSUMED_THICKNESS_MM, case.spacing_mm, case.spacing_mm)
    preprocessing = model.card.preprocessing
    if preprocessing.crop == "body" or preprocessing.context_slices:
        case = in_body(case)
        found = list(model.label(np.stack(case.hu), np.stack(case.lung), spacing, lung_known=case.lung_known))
    else:
        found = [
            model.label(hu[None], lung[None], spacing, lung_known=case.lung_known)[0]
            for hu, lung in zip(case.hu, case.lung, strict=True)
        ]
    pairs = []
    if model.card.postprocessing.finds_lungs and case.lung_known:
        pairs.append(("lung", [labels > 0 for labels in found], case.lung))
    pairs += [("lesion", [labels >= Label.GROUND_GLASS for labels in found], case.lesion)]
    if case.consolidation is not None:
        dense = case.consolidation
        pairs += [
            (
                "ggo",
                [labels == Label.GROUND_GLASS for labels in found],
                [lesion & ~part for lesion, part in zip(case.lesion, dense, strict=True)],
            ),
            ("consolidation", [labels == Label.CONSOLIDATION for labels in found], dense),
        ]
    voxel_ml = float(np.prod(spacing)) / 1000
    lung_ml = sum(int(lung.sum()) for lung in case.lung) * voxel_ml if case.lung_known else None
    return [
        score_masks(case.name, use, label, masks, truth, voxel_ml, lung_ml) for label, masks, truth in pairs
    ]


def score_cases(
    model: LesionModel,
    cases: list[LabelledCase],
    split: Split | Folds | None,
    progress: Callable[[float], None] | None = None,
    *,
    cross_validate: bool = False,
) -> list[Score]:
    """Scores of all cases; ``use`` says whether the model was trained, chosen or tested on a case.

    With ``cross_validate`` a case in an ensemble's folds is scored by the members that never saw it; all
    others by the whole ensemble.
    """
    uses = {} if split is None else split.uses
    scores = []
    for index, case in enumerate(cases):
        use = uses.get(case.name, UNSEEN)
        if cross_validate and isinstance(split, Folds):
            judges = split.judges(case.name)
            model.choose_members(judges or split.everybody)
            use = CROSS_VALIDATED if judges and use == TRAINED else use
        scores += score_case(model, case, use)
        if progress is not None:
            progress((index + 1) / len(cases))
    return scores


def summarise(scores: list[Score], data: str) -> list[Figures]:
    """Mean and standard deviation over the cases of a use and label, undefined ratios left out."""
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.use, score.label), []).append(score)
    figures = []
    for (use, label), members in groups.items():
        dice = [s.dice for s in members if s.dice is not None]
        errors = [s.volume_error_percent for s in members if s.volume_error_percent is not None]
        figures.append(
            Figures(
                data=f"{data} ({use})",
                label=label,
                cases=len(members),
                dice_mean=_mean(dice),
                dice_sd=pstdev(dice) if dice else 0.0,
                sensitivity_mean=_mean([s.sensitivity for s in members if s.sensitivity is not None]),
                ppv_mean=_mean([s.ppv for s in members if s.ppv is not None]),
                volume_bias_percent=_mean(errors),
                volume_mae_percent=_mean([abs(error) for error in errors]),
            )
        )
    return figures


def score_masks(
    case: str,
    use: str,
    label: str,
    found: list[NDArray[np.bool_]],
    truth: list[NDArray[np.bool_]],
    voxel_ml: float | None = None,
    lung_ml: float | None = None,
) -> Score:
    """Scores of one label over pairs of masks, added up as one."""
    hit = sum(int((f & t).sum()) for f, t in zip(found, truth, strict=True))
    marked, real = sum(int(f.sum()) for f in found), sum(int(t.sum()) for t in truth)
    return Score(
        case=case,
        use=use,
        label=label,
        dice=2 * hit / (marked + real) if marked + real else None,
        sensitivity=hit / real if real else None,
        ppv=hit / marked if marked else None,
        volume_error_percent=100 * (marked - real) / real if real else None,
        reference_ml=None if voxel_ml is None else real * voxel_ml,
        found_ml=None if voxel_ml is None else marked * voxel_ml,
        lung_ml=lung_ml,
    )


def _mean(values: list[float]) -> float:
    return fmean(values) if values else 0.0

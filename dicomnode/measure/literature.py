"""Cut-offs that papers report, beside the measured values: literature, never a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping

from dicomnode.measure.scores import Comparison, CutOff
from dicomnode.measure.severity import CT_SS_SEVERE

YOO = "Yoo et al. 2020 (MEDIP)"
YANG = "Yang et al., Radiol Cardiothorac Imaging 2020;2:e200047"
CUT_OFFS = (
    CutOff("lesion_extent_percent", 0.5, "%", "symptoms (odds ratio 4.14)", YOO),
    CutOff("lesion_weight_g", 10.0, "g", "symptoms (odds ratio 4.43)", YOO),
    CutOff("lesion_extent_percent", 5.0, "%", "poor outcome (odds ratio 7.45)", YOO),
    CutOff("lesion_weight_g", 75.0, "g", "poor outcome (odds ratio 4.68)", YOO),
    CutOff("ct_ss", CT_SS_SEVERE, "", "severe disease", YANG),
)


def compare(values: Mapping[str, float | None]) -> tuple[Comparison, ...]:
    """Each cut-off whose measure has a value; ``values`` by the contract's names."""
    compared = []
    for cut_off in CUT_OFFS:
        value = values.get(cut_off.measure)
        if value is not None:
            compared.append(Comparison(cut_off, value > cut_off.value))
    return tuple(compared)

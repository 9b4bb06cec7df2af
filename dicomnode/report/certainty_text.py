"""How sure the numbers are, in words."""

from __future__ import annotations

from typing import Any

from dicomnode.report.quantities import interval_of

NAMES = {
    "lesion_volume_ml": ("lesion volume", "mL", 1),
    "lesion_extent_percent": ("lesion extent", "%", 1),
    "lesion_weight_g": ("lesion weight", "g", 1),
    "ggo_volume_ml": ("GGO", "mL", 1),
    "consolidation_volume_ml": ("consolidation", "mL", 1),
}
SCORES = {"ct_score": "CT score", "ct_ss": "CT-SS"}


def certainty_sentences(record: dict[str, Any]) -> list[str]:
    """The intervals, the scores' probabilities and where they come from; or why there are none."""
    uncertainty = record["uncertainty"]
    if "reason" in uncertainty:
        return [uncertainty["reason"]]
    found = [
        f"{name} {bounds_in_words(interval, unit, decimals)}"
        for measure, (name, unit, decimals) in NAMES.items()
        if (interval := interval_of(measure, uncertainty))
    ]
    said = [f"In 95 % of cases the truth lies within: {', '.join(found)}."]
    for score, name in SCORES.items():
        interval = interval_of(score, uncertainty)
        if interval is not None:
            said.append(
                f"{name}: {interval[0]:.0f} to {interval[1]:.0f} in 95 % of cases; it is {record[score]} "
                f"with a probability of {uncertainty[f'{score}_probability']:.2f}."
            )
    return [*said, f"The error was measured on {uncertainty['evidence']}."]


def short_interval(record: dict[str, Any]) -> str | None:
    """Extent and volume for the picture; ``None`` where no error was measured."""
    parts = [
        bounds_in_words(interval, *NAMES[name][1:])
        for name in ("lesion_extent_percent", "lesion_volume_ml")
        if (interval := interval_of(name, record["uncertainty"]))
    ]
    return f"95 % interval {', '.join(parts)}" if parts else None


def short_score_interval(score: str, record: dict[str, Any]) -> str | None:
    """The bounds of a score for the picture."""
    interval = interval_of(score, record["uncertainty"])
    return None if interval is None else f"95 %: {interval[0]:.0f} to {interval[1]:.0f}"


def probability_above(cut_off: str, record: dict[str, Any]) -> str:
    """How likely it is that the truth lies above a published cut-off; nothing where that isn't known."""
    above = record["uncertainty"].get("above", {})
    return f" (probability of being above: {above[cut_off]:.2f})" if cut_off in above else ""


def bounds_in_words(interval: tuple[float, float], unit: str, decimals: int) -> str:
    """``12.3 to 45.6 mL``; from 100 on without decimals."""
    low, high = (f"{value:.{0 if value >= 100 else decimals}f}" for value in interval)
    return f"{low} to {high} {unit}"

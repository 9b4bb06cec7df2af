"""How sure the numbers are, as it travels to the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONFIDENCE_PERCENT = 95

NO_MEASURED_ERROR = (
    "The error of these masks was not measured: the card of the model says none, or a person edited them."
)


@dataclass(frozen=True)
class Interval:
    """Bounds that hold the true value in 95 % of cases like those that the error was measured on."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"bounds must satisfy 0 <= low <= high, got {self.low} and {self.high}")


@dataclass(frozen=True)
class ScoreCertainty:
    """One score: ``probabilities`` of 0, 1, 2 ... and of the ``reported`` value, and its 95 % bounds."""

    reported: int
    low: int
    high: int
    probabilities: tuple[float, ...]

    @property
    def probability(self) -> float:
        """Of the reported value."""
        return self.probabilities[self.reported]


@dataclass(frozen=True)
class Uncertainty:
    """Intervals and probabilities; all empty, with a ``reason``, where no error was measured.

    Parameters
    ----------
    intervals:
        By the measure's name, such as ``lesion_volume_ml``.
    scores:
        ``ct_score`` and ``ct_ss``, where they are given.
    cut_offs:
        Probability of lying above a published cut-off, by its name.
    evidence:
        What the error was measured on, for a reader.
    reason:
        Why there is nothing.
    """

    intervals: Mapping[str, Interval]
    scores: Mapping[str, ScoreCertainty]
    cut_offs: Mapping[str, float]
    evidence: str = ""
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The contract's names: ``lesion_volume_ml`` gets ``lesion_volume_low_ml`` and so on."""
        if self.reason is not None:
            return {"confidence_percent": None, "reason": self.reason}
        record: dict[str, Any] = {"confidence_percent": CONFIDENCE_PERCENT}
        for name, interval in self.intervals.items():
            measure, unit = name.rsplit("_", 1)
            record[f"{measure}_low_{unit}"], record[f"{measure}_high_{unit}"] = interval.low, interval.high
        for name, score in self.scores.items():
            record[f"{name}_low"], record[f"{name}_high"] = score.low, score.high
            record[f"{name}_probability"] = _rounded(score.probability)
            record[f"{name}_probabilities"] = [_rounded(part) for part in score.probabilities]
        record["above"] = {name: _rounded(probability) for name, probability in self.cut_offs.items()}
        record["evidence"] = self.evidence
        return record


CORRECTED = "a person has corrected the masks; the model's measured error doesn't hold for them"


def unknown(reason: str = NO_MEASURED_ERROR) -> Uncertainty:
    """Nothing is known, and why."""
    return Uncertainty({}, {}, {}, reason=reason)


def _rounded(probability: float) -> float:
    return round(probability, 3) + 0.0

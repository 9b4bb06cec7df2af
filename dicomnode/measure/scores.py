"""Severity scores and published cut-offs as they travel to the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RegionScore:
    """One of the 20 regions of the CT-SS: volumes in mL, extent in % of the region, score 0 to 2."""

    volume_ml: float
    lesion_volume_ml: float
    lesion_extent_percent: float
    ct_ss: int

    def to_json(self) -> dict[str, float | int]:
        """The contract's names."""
        return {
            "volume_ml": self.volume_ml,
            "lesion_volume_ml": self.lesion_volume_ml,
            "lesion_extent_percent": self.lesion_extent_percent,
            "ct_ss": self.ct_ss,
        }


@dataclass(frozen=True)
class Scores:
    """CT score and CT-SS of both lungs.

    Parameters
    ----------
    ct_score, involved_lobes:
        0 to 25, and 0 to 5; None where a lobe is missing: a sum over fewer would look like less disease.
    ct_ss:
        0 to 40; None where one of the 20 regions is missing.
    lobes:
        Score of each lobe, 0 to 5.
    regions:
        The 20 regions, by name (``right_apical`` ...).
    are_uncertain:
        Whether the borders of the lobes, and with them all scores, are uncertain.
    rules:
        How the scores are counted, for a reader.
    """

    ct_score: int | None
    involved_lobes: int | None
    ct_ss: int | None
    lobes: Mapping[str, int]
    regions: Mapping[str, RegionScore]
    are_uncertain: bool
    rules: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Scores of both lungs; what can't be scored is left out."""
        given = {"ct_score": self.ct_score, "involved_lobes": self.involved_lobes, "ct_ss": self.ct_ss}
        return {name: value for name, value in given.items() if value is not None} | {
            "scores_uncertain": self.are_uncertain
        }


@dataclass(frozen=True)
class CutOff:
    """A published cut-off: ``measure`` above ``value`` went with ``association`` in ``source``."""

    measure: str
    value: float
    unit: str
    association: str
    source: str

    @property
    def name(self) -> str:
        """Key in ``measurements.json``."""
        return f"{self.measure}_above_{f'{self.value:g}'.replace('.', '_')}"


@dataclass(frozen=True)
class Comparison:
    """On which side of a published cut-off a measured value lies; literature, never a diagnosis."""

    cut_off: CutOff
    is_above: bool

    def to_json(self) -> dict[str, Any]:
        """The cut-off, the side, what went with it there, and where."""
        return {
            "cut_off": self.cut_off.value,
            "is_above": self.is_above,
            "association": self.cut_off.association,
            "source": self.cut_off.source,
        }

"""``measurements.json`` as rows of tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicomnode.report.quality_text import flag_sentence
from dicomnode.web.palette import LOBES, SIDES

TOTALS: tuple[tuple[str, str, str, int, str], ...] = (
    ("lesion_extent_percent", "Lesion extent", "%", 1, "lesion_extent"),
    ("lesion_volume_ml", "Lesion volume", "mL", 0, "lesion_volume"),
    ("lesion_weight_g", "Lesion weight", "g", 0, "lesion_weight"),
    ("lesion_mean_hu", "Lesion attenuation, mean", "HU", 0, ""),
    ("ggo_volume_ml", "Ground glass, volume", "mL", 0, "ggo_volume"),
    ("ggo_extent_percent", "Ground glass, extent", "%", 1, "ggo_extent"),
    ("consolidation_volume_ml", "Consolidation, volume", "mL", 0, "consolidation_volume"),
    ("consolidation_extent_percent", "Consolidation, extent", "%", 1, "consolidation_extent"),
    ("high_opacity_volume_ml", "High opacity, volume", "mL", 0, ""),
    ("effusion_volume_ml", "Effusion, volume", "mL", 0, ""),
    ("lung_volume_ml", "Lung volume", "mL", 0, ""),
    ("lung_mean_hu", "Lung attenuation, mean", "HU", 0, ""),
    ("ct_score", "CT score (0 to 25)", "", 0, "ct_score"),
    ("ct_ss", "CT-SS (0 to 40)", "", 0, "ct_ss"),
    ("involved_lobes", "Involved lobes (0 to 5)", "", 0, ""),
    ("lesion_count", "Separate lesions", "", 0, ""),
    ("peripheral_percent", "Peripheral share of the lesions", "%", 0, ""),
    ("hellinger_distance", "Hellinger distance from normal lungs", "", 3, ""),
    ("histogram_iou", "Histogram overlap with normal lungs", "", 3, ""),
    ("emphysema_percent", "Below \u2212950 HU", "%", 1, ""),
)
"""Name of the contract, words, unit, decimals, and the stem of its bounds among the uncertainties."""

HEADLINES = ("lesion_extent_percent", "lesion_volume_ml", "lesion_weight_g", "ct_score", "ct_ss")


@dataclass(frozen=True)
class Row:
    """One measurement; ``low`` and ``high`` bound it at 95 %, where the model says so."""

    name: str
    words: str
    unit: str
    decimals: int
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Part:
    """One lung or lobe."""

    name: str
    words: str
    volume_ml: float
    lesion_ml: float
    ggo_ml: float
    consolidation_ml: float
    extent_percent: float
    weight_g: float | None
    score: int | None


@dataclass(frozen=True)
class Measured:
    """What a series measured; ``record`` is the file's content."""

    record: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Measured | None:
        """The file's content; ``None`` if there is none that can be read."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return cls(record) if isinstance(record, dict) else None

    @property
    def rows(self) -> list[Row]:
        """Of both lungs."""
        return list(self._rows())

    @property
    def headlines(self) -> list[Row]:
        """The few that are looked at first."""
        by_name = {row.name: row for row in self._rows()}
        return [by_name[name] for name in HEADLINES if name in by_name]

    @property
    def parts(self) -> list[Part]:
        """Lungs, then lobes where they are told apart."""
        found = []
        for group, names in (("sides", SIDES), ("lobes", LOBES)):
            for name, words in names.items():
                part = (self.record.get(group) or {}).get(name)
                if part:
                    found.append(
                        Part(
                            name,
                            words,
                            part["volume_ml"],
                            part.get("lesion_volume_ml", 0.0),
                            part.get("ggo_volume_ml", 0.0),
                            part.get("consolidation_volume_ml", 0.0),
                            part.get("lesion_extent_percent", 0.0),
                            part.get("lesion_weight_g"),
                            part.get("ct_score"),
                        )
                    )
        return found

    @property
    def extents(self) -> dict[str, float]:
        """Lesion extent in % by lobe and side."""
        return {part.name: part.extent_percent for part in self.parts}

    @property
    def flags(self) -> list[str]:
        """What lowers the quality, in sentences."""
        return [flag_sentence(str(flag)) for flag in (self.record.get("quality") or {}).get("flags", ())]

    @property
    def priors(self) -> list[dict[str, Any]]:
        """Changes since earlier studies."""
        return list(self.record.get("prior") or ())

    @property
    def provenance(self) -> list[tuple[str, str]]:
        """What made it."""
        found = (self.record.get("provenance") or {}).items()
        return [
            (name.replace("_", " "), str(value))
            for name, value in found
            if not isinstance(value, list | dict)
        ]

    def _rows(self) -> Iterator[Row]:
        bounds = self.record.get("uncertainty") or {}
        for name, words, unit, decimals, stem in TOTALS:
            value = self.record.get(name)
            if value is None:
                continue
            ending = name.removeprefix(stem) if stem else ""
            low, high = (bounds.get(f"{stem}_{which}{ending}") for which in ("low", "high"))
            yield Row(name, words, unit, decimals, value, low if stem else None, high if stem else None)

"""The measured numbers of one series, under the names of the measurement contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REGION_FIELDS_OF_LOBE = (
    "volume_ml",
    "lesion_volume_ml",
    "ggo_volume_ml",
    "consolidation_volume_ml",
    "lesion_extent_percent",
)


@dataclass(frozen=True)
class RegionMeasurements:
    """One region: both lungs, a side or a lobe.

    Volumes in mL, extents in % of the region's volume, weight in g, mean attenuation in HU. A mean over no
    voxel is ``None``, never 0.
    """

    volume_ml: float
    ggo_volume_ml: float
    consolidation_volume_ml: float
    effusion_volume_ml: float | None
    lesion_weight_g: float
    lesion_mean_hu: float | None
    mean_hu: float | None

    @property
    def lesion_volume_ml(self) -> float:
        """GGO and consolidation together."""
        return self.ggo_volume_ml + self.consolidation_volume_ml

    @property
    def high_opacity_volume_ml(self) -> float:
        """Consolidation and, where the model tells it apart, effusion (DeepLung's label)."""
        return self.consolidation_volume_ml + (self.effusion_volume_ml or 0.0)

    @property
    def ggo_extent_percent(self) -> float:
        """Share of the region that is GGO."""
        return self._percent(self.ggo_volume_ml)

    @property
    def consolidation_extent_percent(self) -> float:
        """Share of the region that is consolidation."""
        return self._percent(self.consolidation_volume_ml)

    @property
    def lesion_extent_percent(self) -> float:
        """Share of the region that is GGO or consolidation: the pneumonia burden."""
        return self._percent(self.lesion_volume_ml)

    def _percent(self, part_ml: float) -> float:
        return 100.0 * part_ml / self.volume_ml if self.volume_ml > 0 else 0.0

    def to_json(self) -> dict[str, float | None]:
        """The contract's names; values the model can't tell are left out."""
        values: dict[str, float | None] = {
            "volume_ml": self.volume_ml,
            "ggo_volume_ml": self.ggo_volume_ml,
            "consolidation_volume_ml": self.consolidation_volume_ml,
            "high_opacity_volume_ml": self.high_opacity_volume_ml,
            "lesion_volume_ml": self.lesion_volume_ml,
            "ggo_extent_percent": self.ggo_extent_percent,
            "consolidation_extent_percent": self.consolidation_extent_percent,
            "lesion_extent_percent": self.lesion_extent_percent,
            "lesion_weight_g": self.lesion_weight_g,
            "lesion_mean_hu": self.lesion_mean_hu,
            "mean_hu": self.mean_hu,
        }
        if self.effusion_volume_ml is not None:
            values["effusion_volume_ml"] = self.effusion_volume_ml
        return values


@dataclass(frozen=True)
class Quality:
    """What a reader must know before trusting the numbers.

    ``coverage`` is the height in mm that the slices cover; ``kernel`` and ``contrast`` are ``None`` where the
    header is silent.
    """

    flags: tuple[str, ...]
    slice_thickness_mm: float | None
    slice_spacing_mm: float
    coverage_mm: float
    kernel: str | None
    contrast: bool | None

    def to_json(self) -> dict[str, Any]:
        """The contract's names."""
        return {
            "flags": list(self.flags),
            "slice_thickness_mm": self.slice_thickness_mm,
            "slice_spacing_mm": self.slice_spacing_mm,
            "coverage_mm": self.coverage_mm,
            "kernel": self.kernel,
            "contrast": self.contrast,
        }


@dataclass(frozen=True)
class Measurements:
    """Everything measured on one series.

    Parameters
    ----------
    total:
        Both lungs.
    sides:
        ``right`` and ``left``; a side without lung is left out.
    lobes:
        ``right_upper`` and so on; empty where the model does not tell lobes apart.
    hellinger_distance, histogram_iou:
        Of the lungs' HU histogram against the normal reference, both in [0, 1].
    quality:
        Quality of the input and of the masks.
    """

    total: RegionMeasurements
    sides: Mapping[str, RegionMeasurements]
    lobes: Mapping[str, RegionMeasurements]
    hellinger_distance: float
    histogram_iou: float
    quality: Quality = field(kw_only=True)

    def to_json(self) -> dict[str, Any]:
        """Nested dictionary under the measurement names of the contract."""
        total = self.total.to_json()
        flat: dict[str, Any] = {
            "lung_volume_ml": total.pop("volume_ml"),
            "lung_mean_hu": total.pop("mean_hu"),
            **total,
            "hellinger_distance": self.hellinger_distance,
            "histogram_iou": self.histogram_iou,
            "sides": {name: region.to_json() for name, region in self.sides.items()},
        }
        if self.lobes:
            flat["lobes"] = {
                name: {key: region.to_json()[key] for key in REGION_FIELDS_OF_LOBE}
                for name, region in self.lobes.items()
            }
        flat["quality"] = self.quality.to_json()
        return flat

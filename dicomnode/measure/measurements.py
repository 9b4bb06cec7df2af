"""The measured numbers of one series, under the names of the measurement contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dicomnode.measure.scores import Comparison, Scores
from dicomnode.measure.uncertainty import Uncertainty, unknown


@dataclass(frozen=True)
class RegionMeasurements:
    """One region: both lungs, a side or a lobe.

    Volumes in mL, extents in % of the region's volume, weight in g, mean attenuation in HU. A mean over no
    voxel is ``None``, never 0.
    """

    volume_ml: float
    normal_lung_volume_ml: float
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
    def high_opacity_extent_percent(self) -> float:
        """Share of the region that is consolidation or effusion."""
        return self._percent(self.high_opacity_volume_ml)

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
            "normal_lung_volume_ml": self.normal_lung_volume_ml,
            "ggo_volume_ml": self.ggo_volume_ml,
            "consolidation_volume_ml": self.consolidation_volume_ml,
            "high_opacity_volume_ml": self.high_opacity_volume_ml,
            "lesion_volume_ml": self.lesion_volume_ml,
            "ggo_extent_percent": self.ggo_extent_percent,
            "consolidation_extent_percent": self.consolidation_extent_percent,
            "high_opacity_extent_percent": self.high_opacity_extent_percent,
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

    ``coverage_mm`` is the height that the slices cover. ``kernel`` is the header's word, ``kernel_type``
    soft, standard or sharp; ``kernel_told_by`` and ``contrast_told_by`` are ``header`` or ``image``. All
    are ``None`` where neither tells.
    """

    flags: tuple[str, ...]
    slice_thickness_mm: float | None
    slice_spacing_mm: float
    coverage_mm: float
    kernel: str | None
    contrast: bool | None
    kernel_type: str | None = None
    kernel_told_by: str | None = None
    contrast_told_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The contract's names."""
        return {
            "flags": list(self.flags),
            "slice_thickness_mm": self.slice_thickness_mm,
            "slice_spacing_mm": self.slice_spacing_mm,
            "coverage": self.coverage_mm,
            "kernel": self.kernel,
            "kernel_type": self.kernel_type,
            "kernel_told_by": self.kernel_told_by,
            "contrast": self.contrast,
            "contrast_told_by": self.contrast_told_by,
        }


@dataclass(frozen=True)
class Distribution:
    """How attenuation is spread over both lungs.

    ``hellinger_distance`` and ``histogram_iou`` compare the histogram with the normal reference, both in
    [0, 1]; ``percentiles_hu`` and ``sd_hu`` are in HU, shares in % of the lungs. ``kurtosis`` is the excess
    over a normal distribution; it and ``skewness`` are None where all voxels have one HU.
    """

    hellinger_distance: float
    histogram_iou: float
    emphysema_percent: float
    low_attenuation_percent: float
    percentiles_hu: Mapping[int, int]
    sd_hu: float
    skewness: float | None
    kurtosis: float | None

    def to_json(self) -> dict[str, float | None]:
        """The contract's names."""
        return {
            "hellinger_distance": self.hellinger_distance,
            "histogram_iou": self.histogram_iou,
            "emphysema_percent": self.emphysema_percent,
            "low_attenuation_percent": self.low_attenuation_percent,
            **{f"lung_p{percent:02}_hu": hu for percent, hu in self.percentiles_hu.items()},
            "lung_sd_hu": self.sd_hu,
            "lung_skewness": self.skewness,
            "lung_kurtosis": self.kurtosis,
        }


@dataclass(frozen=True)
class Lesion:
    """One separate lesion: 26-connected GGO and consolidation of one lung.

    Parameters
    ----------
    number:
        From 1, by volume.
    side, lobe:
        ``right`` or ``left``; ``right_upper`` and so on, the lobe that has most of it, None without lobes.
    volume_ml, mean_hu:
        Its volume and mean attenuation.
    centroid_mm:
        x, y, z in the patient's coordinates (LPS).
    pleura_distance_mm:
        Of its voxel nearest to the surface of the lung; None where the scan shows no surface.
    peripheral_percent:
        Share of it in the outer third of the lung's volume.
    """

    number: int
    side: str
    lobe: str | None
    volume_ml: float
    mean_hu: float
    centroid_mm: tuple[float, float, float]
    pleura_distance_mm: float | None
    peripheral_percent: float

    def to_json(self) -> dict[str, Any]:
        """The contract's names."""
        return {
            "number": self.number,
            "side": self.side,
            "lobe": self.lobe,
            "volume_ml": self.volume_ml,
            "mean_hu": self.mean_hu,
            "centroid_mm": list(self.centroid_mm),
            "pleura_distance_mm": self.pleura_distance_mm,
            "peripheral_percent": self.peripheral_percent,
        }


@dataclass(frozen=True)
class LesionCensus:
    """The separate lesions: all counted, the largest listed.

    Parameters
    ----------
    count:
        All, down to a voxel.
    sizable_count:
        Those that are no noise.
    peripheral_percent:
        Share of all lesion volume in the outer third of the lungs' volume; None without lesion.
    listed:
        The largest of those that are no noise.
    """

    count: int
    sizable_count: int
    peripheral_percent: float | None
    listed: tuple[Lesion, ...]

    def to_json(self) -> dict[str, Any]:
        """The contract's names."""
        return {
            "lesion_count": self.count,
            "sizable_lesion_count": self.sizable_count,
            "peripheral_percent": self.peripheral_percent,
            "lesions": [lesion.to_json() for lesion in self.listed],
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
    scores:
        None where the model does not tell lobes apart.
    distribution:
        How attenuation is spread over both lungs.
    lesions:
        The separate lesions.
    literature:
        Published cut-offs beside the values.
    quality:
        Quality of the input and of the masks.
    uncertainty:
        How sure the numbers are.
    """

    total: RegionMeasurements
    sides: Mapping[str, RegionMeasurements]
    lobes: Mapping[str, RegionMeasurements]
    scores: Scores | None
    distribution: Distribution
    lesions: LesionCensus
    literature: tuple[Comparison, ...]
    quality: Quality
    uncertainty: Uncertainty = field(default_factory=unknown)

    def to_json(self) -> dict[str, Any]:
        """Nested dictionary under the measurement names of the contract."""
        total = self.total.to_json()
        record: dict[str, Any] = {
            "lung_volume_ml": total.pop("volume_ml"),
            "lung_mean_hu": total.pop("mean_hu"),
            **total,
            **(self.scores.to_json() if self.scores else {}),
            **self.distribution.to_json(),
            **self.lesions.to_json(),
            "sides": {name: region.to_json() for name, region in self.sides.items()},
        }
        if self.scores:
            record["lobes"] = {
                name: region.to_json() | {"ct_score": self.scores.lobes[name]}
                for name, region in self.lobes.items()
            }
            record["regions"] = {name: region.to_json() for name, region in self.scores.regions.items()}
        record["literature"] = {found.cut_off.name: found.to_json() for found in self.literature}
        record["quality"] = self.quality.to_json()
        record["uncertainty"] = self.uncertainty.to_json()
        return record

"""All measurements of a segmentation, under the contract's names."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dicomnode.measure.measure import measure_segmentation
from dicomnode.measure.quality import assess_quality
from dicomnode.segment.segmentation import Label, ModelIdentity, Segmentation, Side

CONTRACT = {
    "lung_volume_ml",
    "ggo_volume_ml",
    "consolidation_volume_ml",
    "high_opacity_volume_ml",
    "lesion_volume_ml",
    "ggo_extent_percent",
    "consolidation_extent_percent",
    "lesion_extent_percent",
    "lesion_weight_g",
    "lesion_mean_hu",
    "lung_mean_hu",
    "hellinger_distance",
    "histogram_iou",
    "sides",
    "quality",
}
MODEL = ModelIdentity("test", "1", "0" * 64)


def quality_of(thickness: float | None, spacing: float) -> tuple[str, ...]:
    return assess_quality(
        slice_thickness_mm=thickness, slice_spacing_mm=spacing, slices=10, kernel=None, contrast=None
    ).flags


def segmentation_of(labels: np.ndarray) -> Segmentation:
    sides = np.where(labels > 0, Side.RIGHT, Side.NONE).astype(np.uint8)
    return Segmentation(labels, sides, np.zeros_like(labels), MODEL)


def test_json_has_the_contract_names_and_no_lobes_when_there_are_none() -> None:
    labels = np.full((3, 4, 4), Label.NORMAL_LUNG, np.uint8)
    labels[1, 1, 1] = Label.CONSOLIDATION
    quality = assess_quality(
        slice_thickness_mm=1.0, slice_spacing_mm=1.0, slices=3, kernel="B60", contrast=False
    )

    measured = measure_segmentation(
        np.full((3, 4, 4), -800, np.int16), segmentation_of(labels), 0.25, quality
    ).to_json()

    assert set(measured) == CONTRACT
    assert measured["lung_volume_ml"] == 12.0
    assert measured["consolidation_volume_ml"] == 0.25
    assert measured["quality"]["coverage_mm"] == 3.0
    json.dumps(measured, allow_nan=False)


def test_no_lung_is_never_measured() -> None:
    empty = np.zeros((3, 4, 4), np.uint8)
    quality = assess_quality(
        slice_thickness_mm=None, slice_spacing_mm=1.0, slices=3, kernel=None, contrast=None
    )
    with pytest.raises(ValueError, match="no lung"):
        measure_segmentation(empty.astype(np.int16), segmentation_of(empty), 0.25, quality)


def test_quality_flags_of_the_geometry() -> None:
    assert quality_of(1.0, 1.0) == ()
    assert quality_of(5.0, 5.0) == ("thick_slices",)
    assert quality_of(1.0, 10.0) == ("thick_slices", "sparse_coverage")
    assert quality_of(None, 2.5) == ()

"""Hellinger distance and IoU of histograms: their laws, and the reference that ships."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dicomnode.measure.distribution import (
    BIN_HU,
    BINS,
    LOWEST_HU,
    HuCounts,
    describe,
    hellinger_distance,
    histogram_iou,
    lung_histogram,
    normal_lung,
)
from dicomnode.measure.measurements import Distribution


def test_a_histogram_counts_each_voxel_once_also_beyond_the_ends() -> None:
    histogram = lung_histogram(np.array([-3024, LOWEST_HU, LOWEST_HU + BIN_HU, 3000], np.int16))
    assert histogram[0] == 0.5
    assert histogram[1] == 0.25
    assert histogram[-1] == 0.25


def test_no_voxel_has_no_histogram() -> None:
    with pytest.raises(ValueError, match="no voxel"):
        lung_histogram(np.array([], np.int16))


def test_equal_and_disjoint_distributions() -> None:
    one, other = np.zeros(BINS), np.zeros(BINS)
    one[3], other[4] = 1, 1
    assert hellinger_distance(one, one) == 0
    assert histogram_iou(one, one) == 1
    assert hellinger_distance(one, other) == 1
    assert histogram_iou(one, other) == 0


def test_hellinger_of_two_shifted_normals_is_the_closed_form() -> None:
    """For equal standard deviations H^2 = 1 - exp(-(shift / sd)^2 / 8)."""
    centres = LOWEST_HU + BIN_HU * (np.arange(BINS) + 0.5)

    def normal(mean: float) -> np.ndarray:
        density = np.exp(-((centres - mean) ** 2) / (2 * 60.0**2))
        return density / density.sum()

    expected = np.sqrt(1 - np.exp(-((100 / 60.0) ** 2) / 8))
    assert hellinger_distance(normal(-800), normal(-700)) == pytest.approx(expected, abs=1e-3)


@given(st.lists(st.integers(-1024, 200), min_size=1), st.lists(st.integers(-1024, 200), min_size=1))
def test_both_are_symmetric_and_bounded(one: list[int], other: list[int]) -> None:
    p, q = lung_histogram(np.array(one, np.int16)), lung_histogram(np.array(other, np.int16))
    for measure in (hellinger_distance, histogram_iou):
        assert measure(p, q) == pytest.approx(measure(q, p))
        assert 0 <= measure(p, q) <= 1 + 1e-12


def test_the_reference_peaks_where_aerated_lung_lies_and_says_where_it_is_from() -> None:
    reference = normal_lung()
    peak_hu = LOWEST_HU + BIN_HU * (int(reference.probability.argmax()) + 0.5)
    assert -950 < peak_hu < -800
    assert "imlab_chest_ct" in reference.origin


def spread_of(hu: np.ndarray) -> Distribution:
    lowest = int(hu.min())
    return describe(HuCounts(lowest, np.bincount(hu.astype(np.int64) - lowest)))


@settings(deadline=None)
@given(st.lists(st.integers(-1100, 300), min_size=2, max_size=60))
def test_shape_of_the_histogram_as_scipy_and_numpy_have_it(values: list[int]) -> None:
    hu = np.array(values, np.int16)
    found = spread_of(hu)
    for percent, value in found.percentiles_hu.items():
        assert value == np.percentile(hu, percent, method="inverted_cdf"), percent
    assert found.emphysema_percent == pytest.approx(100 * np.mean(hu < -950))
    assert found.low_attenuation_percent == pytest.approx(100 * np.mean(hu < -910))
    assert found.emphysema_percent <= found.low_attenuation_percent
    assert found.sd_hu == pytest.approx(np.std(values))
    assert found.hellinger_distance == hellinger_distance(lung_histogram(hu), normal_lung().probability)
    if np.std(values) > 0:
        assert found.skewness == pytest.approx(stats.skew(values), abs=1e-9)
        assert found.kurtosis == pytest.approx(stats.kurtosis(values), abs=1e-9)


def test_lungs_of_one_hu_have_no_shape() -> None:
    found = spread_of(np.full(5, -951, np.int16))
    assert (found.sd_hu, found.skewness, found.kurtosis) == (0, None, None)
    assert found.emphysema_percent == found.low_attenuation_percent == 100
    assert spread_of(np.full(5, -950, np.int16)).emphysema_percent == 0

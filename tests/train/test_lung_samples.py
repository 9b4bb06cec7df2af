"""What is put into the lungs for training is what it is called."""

from __future__ import annotations

import numpy as np
import pytest

from dicomnode.train.lung_samples import _Window, with_airless, with_raised_diaphragm

PLANES = np.array([-20.0, -8.0, 0.0, 8.0, 20.0], np.float32)


@pytest.fixture
def window() -> _Window:
    """Two lungs of air in a body of 40 HU."""
    lung = np.zeros((5, 80, 100), np.bool_)
    lung[:, 20:60, 12:42] = lung[:, 20:60, 58:88] = True
    return _Window(np.where(lung, np.float32(-850), np.float32(40)), lung, PLANES, 3.0)


def test_airless_lung_stays_lung(window: _Window) -> None:
    changed, airless = with_airless(window, np.random.default_rng(3))
    assert np.array_equal(changed.lung, window.lung)
    assert airless.any()
    assert not (airless & ~window.lung).any()


@pytest.mark.parametrize("seed", range(12))
def test_a_raised_diaphragm_is_no_lung(window: _Window, seed: int) -> None:
    raised = with_raised_diaphragm(window, np.random.default_rng(seed))
    organ = window.lung & ~raised.lung
    assert not (raised.lung & ~window.lung).any()
    dense = raised.hu[organ] > -400
    gas = raised.hu[organ] < -800
    assert not organ.any() or (dense | gas).mean() > 0.8
    columns = organ.any(axis=(0, 1))
    assert not (columns[:50].any() and columns[50:].any()), "under one lung only"
    areas = organ.sum(axis=(1, 2))
    assert (np.diff(areas) <= 0).all(), "a dome is wider below"


def test_some_domes_reach_the_slice(window: _Window) -> None:
    reached = [
        (window.lung & ~with_raised_diaphragm(window, np.random.default_rng(seed)).lung)[2].any()
        for seed in range(20)
    ]
    assert 5 < sum(reached) <= 20

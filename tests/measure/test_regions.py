"""Region measures against sums written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dicomnode.measure.regions import lesion_density_g_per_ml, tally_lung
from dicomnode.segment.segmentation import Label, Lobe, Side

SHAPE = (4, 5, 6)
VOXEL_ML = 0.5


@pytest.fixture
def lung() -> dict[str, np.ndarray]:
    """A right lung of 40 voxels with GGO and consolidation, a left one of 20 without."""
    labels = np.zeros(SHAPE, np.uint8)
    sides = np.zeros(SHAPE, np.uint8)
    lobes = np.zeros(SHAPE, np.uint8)
    hu = np.full(SHAPE, 40, np.int16)
    labels[:, :, :2], sides[:, :, :2], hu[:, :, :2] = Label.NORMAL_LUNG, Side.RIGHT, -850
    labels[:, :, 4], sides[:, :, 4], hu[:, :, 4] = Label.NORMAL_LUNG, Side.LEFT, -900
    labels[0, 0, :2], hu[0, 0, :2] = Label.GROUND_GLASS, -600
    labels[1, 0, 0], hu[1, 0, 0] = Label.CONSOLIDATION, 20
    lobes[:2, :, :2], lobes[2:, :, :2] = Lobe.RIGHT_LOWER, Lobe.RIGHT_UPPER
    return {"hu": hu, "labels": labels, "sides": sides, "lobes": lobes}


def test_volumes_extents_weight_and_means(lung: dict[str, np.ndarray]) -> None:
    total = tally_lung(**lung, voxel_ml=VOXEL_ML).total()

    assert total.volume_ml == 60 * VOXEL_ML
    assert total.ggo_volume_ml == 2 * VOXEL_ML
    assert total.consolidation_volume_ml == 1 * VOXEL_ML
    assert total.lesion_volume_ml == total.high_opacity_volume_ml + total.ggo_volume_ml
    assert total.lesion_extent_percent == pytest.approx(100 * 3 / 60)
    assert total.lesion_weight_g == pytest.approx((2 * 0.4 + 1.02) * VOXEL_ML)
    assert total.lesion_mean_hu == pytest.approx((2 * -600 + 20) / 3)
    assert total.mean_hu == pytest.approx((37 * -850 + 20 * -900 + 2 * -600 + 20) / 60)
    assert total.effusion_volume_ml is None


def test_sides_and_lobes_add_up_to_the_total(lung: dict[str, np.ndarray]) -> None:
    tally = tally_lung(**lung, voxel_ml=VOXEL_ML)

    sides, lobes = tally.sides(), tally.lobes()

    assert sides["right"].volume_ml == 40 * VOXEL_ML
    assert sides["left"].lesion_volume_ml == 0
    assert sides["left"].lesion_mean_hu is None
    assert sum(side.volume_ml for side in sides.values()) == tally.total().volume_ml
    assert set(lobes) == {"right_lower", "right_upper"}
    assert lobes["right_lower"].lesion_volume_ml == tally.total().lesion_volume_ml


def test_air_below_minus_1000_weighs_nothing() -> None:
    np.testing.assert_allclose(lesion_density_g_per_ml(np.array([-1024.0, -1000.0, 0.0])), [0, 0, 1])


def test_a_voxel_without_volume_is_an_error(lung: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="must have a volume"):
        tally_lung(**lung, voxel_ml=0.0)


def test_shapes_that_differ_are_an_error(lung: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        tally_lung(**{**lung, "hu": lung["hu"][1:]}, voxel_ml=VOXEL_ML)


@given(
    labels=arrays(np.uint8, SHAPE, elements=st.integers(0, max(Label))),
    hu=arrays(np.int16, SHAPE, elements=st.integers(-1024, 3071)),
)
def test_parts_sum_to_the_whole(labels: np.ndarray, hu: np.ndarray) -> None:
    sides = np.where(labels > 0, Side.LEFT, Side.NONE).astype(np.uint8)
    sides[:, :, :3][labels[:, :, :3] > 0] = Side.RIGHT
    tally = tally_lung(hu, labels, sides, np.zeros_like(labels), VOXEL_ML)

    total, parts = tally.total(), tally.sides().values()

    assert total.volume_ml == pytest.approx(np.count_nonzero(labels) * VOXEL_ML)
    for name in ("volume_ml", "ggo_volume_ml", "lesion_volume_ml", "lesion_weight_g"):
        assert sum(getattr(part, name) for part in parts) == pytest.approx(getattr(total, name))
    assert 0 <= total.lesion_extent_percent <= 100 + 1e-9

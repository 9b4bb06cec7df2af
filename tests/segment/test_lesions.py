"""Lesions: the path from HU to labels, with a network whose answer is known and with the trained one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.segment.card import ModelError, load_card, models_directory
from dicomnode.segment.lesion_rules import bounding_box, drop_specks, find_consolidation, smooth_across
from dicomnode.segment.lesions import LesionModel, choose_device
from dicomnode.segment.segmentation import Label
from tests.model_folder import density_network, make_model

SPACING = (5.0, 1.0, 1.25)
LUNG_HU = -870


@pytest.fixture
def model(tmp_path: Path) -> LesionModel:
    return LesionModel(make_model(tmp_path, density_network()))


@pytest.fixture(scope="module")
def trained() -> LesionModel:
    return LesionModel(load_card(models_directory() / "medip_unet2d"))


def _chest() -> tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """HU, lung, GGO and consolidation; soft tissue around, padding at the edge of the picture."""
    hu = np.full((7, 90, 120), 40, dtype=np.int16)
    hu[:, :, :4] = -3024
    lung, ggo, dense = (np.zeros(hu.shape, dtype=np.bool_) for _ in range(3))
    lung[1:6, 20:75, 15:50] = True
    lung[1:6, 20:75, 65:105] = True
    ggo[2:5, 30:50, 20:40] = True
    dense[2:5, 50:65, 75:95] = True
    hu[lung], hu[ggo], hu[dense] = LUNG_HU, -480, -20
    return hu, lung, ggo, dense


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_dense_lung_is_found_where_it_lies_and_split_by_density(model: LesionModel) -> None:
    hu, lung, ggo, dense = _chest()
    hu[~lung] = LUNG_HU  # the wall's partial volume is another test's matter
    labels = model.label(hu, lung, SPACING)
    assert labels.dtype == np.uint8 and np.array_equal(labels > 0, lung)
    assert _dice(labels >= Label.GROUND_GLASS, ggo | dense) > 0.93
    assert _dice(labels == Label.CONSOLIDATION, dense) > 0.85
    assert not (labels[ggo] == Label.CONSOLIDATION).any()


def test_soft_tissue_outside_the_lung_is_never_marked(model: LesionModel) -> None:
    hu, lung, ggo, dense = _chest()
    found = model.find(hu, lung, SPACING)
    assert not found[~lung].any()
    plane = np.ones((1, 3, 3), dtype=np.bool_)
    inner = ndimage.binary_erosion(lung, plane, iterations=3)
    inner &= ~ndimage.binary_dilation(ggo | dense, plane, iterations=2)
    assert inner.sum() > 2000 and not found[inner].any()


def test_progress_rises_to_one_and_counts_slices_with_lung(model: LesionModel) -> None:
    hu, lung, _, _ = _chest()
    told: list[float] = []
    model.probabilities(hu, lung, SPACING, batch_size=2, progress=told.append)
    assert told == [2 / 5, 4 / 5, 1.0]


def test_an_empty_lung_mask_gives_an_empty_map(model: LesionModel) -> None:
    hu, lung, _, _ = _chest()
    assert not model.label(hu, np.zeros_like(lung), SPACING).any()


@pytest.mark.parametrize("value", [-32768, -3024, 32767])
def test_extreme_hu_give_labels_not_nan(trained: LesionModel, value: int) -> None:
    hu, lung, _, _ = _chest()
    labels = trained.label(np.full_like(hu, value), lung, SPACING)
    assert np.array_equal(labels > 0, lung)


def test_every_batch_size_gives_the_same_result(trained: LesionModel) -> None:
    hu, lung, _, _ = _chest()
    hu = (hu + np.random.default_rng(0).normal(0, 30, hu.shape)).clip(-3024, 3000).astype(np.int16)
    reference = trained.find(hu, lung, SPACING, batch_size=8)
    assert reference.any()
    for batch_size in (1, 3):
        other = trained.find(hu, lung, SPACING, batch_size=batch_size)
        assert (other != reference).sum() <= lung.sum() / 10_000


def test_the_trained_network_marks_the_lesions_of_the_chest_and_leaves_a_healthy_one_clean(
    trained: LesionModel,
) -> None:
    hu, lung, ggo, _ = _chest()
    rng = np.random.default_rng(0)
    hu = (hu + rng.normal(0, 20, hu.shape)).astype(np.int16)
    found = trained.find(hu, lung, SPACING)
    assert found[ggo].mean() > 0.7
    healthy = np.where(lung, LUNG_HU + rng.normal(0, 20, hu.shape), hu).astype(np.int16)
    assert trained.find(healthy, lung, SPACING)[lung].mean() < 0.02


def test_specks_go_and_lesions_stay() -> None:
    mask = np.zeros((4, 20, 20), dtype=np.bool_)
    mask[1, 2:4, 2:4] = True  # 4 voxels of 5 mm3 = 0.02 mL
    mask[1:3, 10:15, 10:15] = True
    kept = drop_specks(mask, (5.0, 1.0, 1.0), 0.03)
    assert not kept[1, 2:4, 2:4].any()
    assert kept.sum() == 50


def test_a_thin_vessel_in_ground_glass_is_no_consolidation() -> None:
    hu = np.full((10, 40, 40), -500, dtype=np.int16)
    lung = np.ones(hu.shape, dtype=np.bool_)
    hu[:, 20:22, 20:22] = 40
    assert not find_consolidation(hu, lung, lung, (1.0, 1.0, 1.0), -200).any()


def test_the_chest_wall_does_not_make_its_neighbour_consolidated() -> None:
    hu = np.full((10, 40, 40), -450, dtype=np.int16)
    lung = np.ones(hu.shape, dtype=np.bool_)
    hu[:, :, :10], lung[:, :, :10] = 60, False
    assert not find_consolidation(hu, lung, lung, (1.0, 1.0, 1.0), -200).any()


def test_an_empty_mask_has_no_bounding_box_once_crashed_on_healthy_lungs() -> None:
    assert bounding_box(np.zeros((3, 4, 5), dtype=np.bool_)) is None


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    make_model(tmp_path)
    card_file = tmp_path / "model.toml"
    card_file.write_text(card_file.read_text().replace("width = 4", "width = 6"))
    with pytest.raises(ModelError, match="small: the weights don't fit"):
        LesionModel(load_card(tmp_path))


def test_unknown_devices_are_refused() -> None:
    assert choose_device("cpu") == "cpu"
    with pytest.raises(ModelError, match="known are auto, cpu and cuda"):
        choose_device("tpu")


def test_smoothing_across_slices_drops_what_one_slice_alone_shows() -> None:
    levels = np.zeros((9, 4, 4), np.uint8)
    levels[4, 0, 0] = 200
    levels[2:7, 2, 2] = 200
    smooth_across(levels, 1.5)
    assert levels[4, 0, 0] < 100 <= levels[4, 2, 2]
    alone = np.full((1, 4, 4), 120, np.uint8)
    smooth_across(alone, 1.5)
    assert (alone == 120).all()

"""The segmenter on a real chest CT, in every orientation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.assemble.volume import Volume
from dicomnode.segment.card import ModelError
from dicomnode.segment.segmentation import Segmentation, Side
from dicomnode.segment.segmenter import Segmenter
from tests.model_folder import make_model

MODEL = "medip_unet2d"


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load(MODEL, device="cpu")


@pytest.fixture(scope="module")
def chest(data_dir: Path) -> Volume:
    return assemble_series(sorted((data_dir / "cip_ct64_chest").glob("*.dcm")))


@pytest.fixture(scope="module")
def segmentation(segmenter: Segmenter, chest: Volume) -> Segmentation:
    return segmenter.segment(chest)


def _flipped(volume: Volume, axis: int) -> Volume:
    """The same patient with one array axis (z, y, x) running the other way."""
    affine = volume.affine.copy()
    column = 2 - axis
    affine[:3, 3] += affine[:3, column] * (volume.hu.shape[axis] - 1)
    affine[:3, column] *= -1
    instances = volume.instances[::-1] if axis == 0 else volume.instances
    return replace(
        volume, hu=np.ascontiguousarray(np.flip(volume.hu, axis)), affine=affine, instances=instances
    )


def test_a_chest_has_two_lungs_on_the_right_sides_and_little_that_could_be_a_lesion(
    chest: Volume, segmentation: Segmentation
) -> None:
    assert segmentation.labels.shape == chest.hu.shape
    for side in (Side.RIGHT, Side.LEFT):
        volume_ml = (segmentation.sides == side).sum() * chest.voxel_ml
        assert 800 < volume_ml < 5000
    x_of = [np.argwhere(segmentation.sides == side)[:, 2].mean() for side in (Side.RIGHT, Side.LEFT)]
    lps_x = [chest.affine[0, 0] * x + chest.affine[0, 3] for x in x_of]
    assert lps_x[0] < lps_x[1]  # LPS: x grows to the patient's left
    assert segmentation.lesion.sum() / segmentation.lung.sum() < 0.25
    assert segmentation.model.name == MODEL


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_masks_turn_with_the_volume(
    segmenter: Segmenter, chest: Volume, segmentation: Segmentation, axis: int
) -> None:
    turned = segmenter.segment(_flipped(chest, axis))
    assert np.array_equal(np.flip(turned.labels, axis), segmentation.labels)
    assert np.array_equal(np.flip(turned.sides, axis), segmentation.sides)
    assert np.array_equal(np.flip(turned.lobes, axis), segmentation.lobes)


def test_each_voxel_of_the_lungs_has_a_lobe_of_its_side(chest: Volume, segmentation: Segmentation) -> None:
    assert np.array_equal(segmentation.lobes > 0, segmentation.lung)
    for side, lobes in ((Side.RIGHT, (1, 2, 3)), (Side.LEFT, (4, 5))):
        shares = [np.count_nonzero(segmentation.lobes == lobe) for lobe in lobes]
        assert sum(shares) == np.count_nonzero(segmentation.sides == side)
        assert min(shares) > 0.03 * sum(shares)
    height = [np.argwhere(segmentation.lobes == lobe)[:, 0].mean() for lobe in (1, 3, 4, 5)]
    up = np.sign(chest.affine[2, 2])
    assert up * height[0] > up * height[1] and up * height[2] > up * height[3]


def test_without_a_lobe_model_there_are_no_lobes(chest: Volume, tmp_path: Path) -> None:
    make_model(tmp_path / "small")
    assert not Segmenter.load("small", "cpu", tmp_path).segment(chest).has_lobes


def test_progress_names_the_steps_in_order(segmenter: Segmenter, chest: Volume) -> None:
    told: list[tuple[str, float]] = []
    progress: Callable[[str, float], None] = lambda step, done: told.append((step, done))  # noqa: E731
    segmenter.segment(chest, progress)
    steps = [step for step, _ in told]
    assert list(dict.fromkeys(steps)) == ["lungs", "lesions", "lobes"]
    assert told[-1] == ("lobes", 1.0)


def test_a_volume_without_lung_is_refused(segmenter: Segmenter, chest: Volume) -> None:
    with pytest.raises(SeriesRefusedError) as refusal:
        segmenter.segment(replace(chest, hu=np.full_like(chest.hu, 40)))
    assert refusal.value.reason is RefusalReason.NO_LUNG


def test_a_model_that_is_not_installed_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model 'absent' in .*; installed are: none"):
        Segmenter.load("absent", models_directory=tmp_path)
    with pytest.raises(ModelError, match="medip_unet2d"):
        Segmenter.load("../medip_unet2d")

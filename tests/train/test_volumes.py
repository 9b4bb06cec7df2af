"""CT volumes with masks: which file is which, and scores of the whole way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from dicomnode.segment.card import load_installed_card
from dicomnode.segment.lesions import LesionModel
from dicomnode.train.cases import DataError
from dicomnode.train.volume_evaluation import score_volumes
from dicomnode.train.volumes import find_volumes, load_volumes

SHAPE = (4, 6, 8)


def write(path: Path, values: NDArray[np.generic], direction: tuple[float, ...] | None = None) -> None:
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing((2.0, 3.0, 5.0))
    if direction:
        image.SetDirection(direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


def ct() -> NDArray[np.int16]:
    return np.full(SHAPE, -800, dtype=np.int16)


def box(value: int = 1) -> NDArray[np.uint8]:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[:2, :3, :4] = value
    return mask


def test_masks_beside_their_scan(tmp_path: Path) -> None:
    write(tmp_path / "p1.nii.gz", ct())
    write(tmp_path / "p1_lesion.nii.gz", box())
    write(tmp_path / "p1-lung.nii.gz", box(255))
    write(tmp_path / "p2.nii.gz", ct())
    assert list(find_volumes(tmp_path)) == ["p1"]
    (case,) = load_volumes(tmp_path)
    assert case.truth.keys() == {"lesion", "lung"}
    assert all(mask.sum() == 24 for mask in case.truth.values())
    assert case.spacing_mm == (5.0, 3.0, 2.0)


def test_masks_in_folders_of_their_own(tmp_path: Path) -> None:
    for name in ("coronacases_001", "coronacases_002"):
        write(tmp_path / "ct" / f"{name}.nii.gz", ct())
        write(tmp_path / "Infection_Mask" / f"{name}.nii.gz", box())
        write(tmp_path / "Lung_Mask" / f"{name}.nii.gz", box())
        write(tmp_path / "Lung_and_Infection_Mask" / f"{name}.nii.gz", box(3))
    cases = list(load_volumes(tmp_path))
    assert [case.name for case in cases] == ["coronacases_001", "coronacases_002"]
    assert all(case.truth.keys() == {"lesion", "lung"} for case in cases)


def test_two_values_are_ggo_and_consolidation(tmp_path: Path) -> None:
    mask = box()
    mask[0] *= 2
    write(tmp_path / "img" / "a.nii", ct())
    write(tmp_path / "GT" / "a.nii", mask)
    (case,) = load_volumes(tmp_path)
    assert {label: int(found.sum()) for label, found in case.truth.items()} == {
        "lesion": 24,
        "ggo": 12,
        "consolidation": 12,
    }


def test_axes_are_turned_to_the_patient(tmp_path: Path) -> None:
    scan = ct()
    scan[0, 0, 0] = 100  # with these directions: the patient's right, posterior, feet
    write(tmp_path / "a.nii.gz", scan, (1, 0, 0, 0, -1, 0, 0, 0, 1))
    write(tmp_path / "a_lesion.nii.gz", (scan > 0).astype(np.uint8), (1, 0, 0, 0, -1, 0, 0, 0, 1))
    (case,) = load_volumes(tmp_path)
    assert np.argwhere(case.hu == 100).tolist() == [[0, SHAPE[1] - 1, 0]]
    assert case.truth["lesion"][0, SHAPE[1] - 1, 0]


def test_a_mask_on_another_grid_is_told(tmp_path: Path) -> None:
    write(tmp_path / "a.nii.gz", ct())
    write(tmp_path / "a_lesion.nii.gz", box()[:3])
    with pytest.raises(DataError, match="a_lesion"):
        list(load_volumes(tmp_path))


def test_real_lungs_are_scored_through_the_whole_way(data_dir: Path) -> None:
    model = LesionModel(load_installed_card("medip_unet2d"))
    scores = score_volumes(model, data_dir / "imlab_chest_ct")
    assert [(score.case, score.label) for score in scores] == [
        ("id001-128x128x64", "lung"),
        ("id002-128x128x64", "lung"),
    ]
    assert all(score.dice is not None and score.dice > 0.97 for score in scores)


def test_a_scan_that_is_refused_scores_nothing(tmp_path: Path) -> None:
    write(tmp_path / "a.nii.gz", np.zeros((30, 64, 64), dtype=np.int16))
    write(tmp_path / "a_lesion.nii.gz", np.ones((30, 64, 64), dtype=np.uint8))
    (score,) = score_volumes(LesionModel(load_installed_card("medip_unet2d")), tmp_path)
    assert score.dice == 0

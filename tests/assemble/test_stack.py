"""Refusals that the positions of the slices decide."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from tests.assemble.ct_series import SUPINE, write_series


def refusal(paths: list[Path]) -> SeriesRefusedError:
    with pytest.raises(SeriesRefusedError) as caught:
        assemble_series(paths)
    return caught.value


def test_three_missing_slices_are_counted_and_placed(tmp_path: Path) -> None:
    paths = write_series(tmp_path, count=40, spacing=2.5)
    refused = refusal(paths[:10] + paths[13:])
    assert refused.reason is RefusalReason.GAP
    assert refused.detail == (
        "3 slices missing: nothing between z = -57.5 and -47.5 mm where the spacing is 2.50 mm"
    )


@pytest.mark.parametrize("spacing", [0.25, 0.5, 1.0, 5.0, 10.0])
def test_one_missing_slice_is_found_at_any_spacing(tmp_path: Path, spacing: float) -> None:
    paths = write_series(tmp_path, count=30, spacing=spacing)
    for missing in (1, 14, 28):
        refused = refusal(paths[:missing] + paths[missing + 1 :])
        assert refused.reason is RefusalReason.GAP
        assert refused.detail.startswith("1 slice missing")


def test_gaps_in_many_places_are_summed_up(tmp_path: Path) -> None:
    paths = write_series(tmp_path, count=60)
    refused = refusal([path for i, path in enumerate(paths) if i not in (5, 15, 25, 35, 45)])
    assert refused.detail.startswith("5 slices missing")
    assert "at 2 more places" in refused.detail


def test_two_spacings_in_one_series_are_a_gap(tmp_path: Path) -> None:
    def widen(index: int, dataset: Dataset) -> None:
        z = index * 1.25 if index < 40 else 50 + (index - 40) * 5.0
        dataset.ImagePositionPatient = [0, 0, z]

    assert refusal(write_series(tmp_path, count=60, edit=widen)).reason is RefusalReason.GAP


def test_small_differences_that_add_up_are_a_gap(tmp_path: Path) -> None:
    def stretch(index: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, index * 2.0 + max(0, index - 50) * 0.15]

    refused = refusal(write_series(tmp_path, count=100, edit=stretch))
    assert refused.reason is RefusalReason.GAP
    assert "from its place on a regular grid" in refused.detail


def test_two_kernels_in_one_series_share_positions(tmp_path: Path) -> None:
    def second(index: int, dataset: Dataset) -> None:
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.9.7.{index}"
        dataset.ConvolutionKernel = "B70f"

    refused = refusal(write_series(tmp_path / "a") + write_series(tmp_path / "b", edit=second))
    assert refused.reason is RefusalReason.DUPLICATE_POSITION
    assert refused.detail.startswith("20 of 40 slices lie where another one is, first at z = -80.0 mm")
    assert "kernel" in refused.detail


def test_one_slice_twice_as_two_instances_is_a_duplicate(tmp_path: Path) -> None:
    def again(index: int, dataset: Dataset) -> None:
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.9.7.{index}"
        position = list(dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [position[0], position[1], float(position[2]) + 0.004]

    refused = refusal(write_series(tmp_path / "a") + write_series(tmp_path / "b", edit=again)[6:7])
    assert refused.reason is RefusalReason.DUPLICATE_POSITION
    assert refused.detail.startswith("1 of 21 slices")


def test_the_same_uid_at_two_places_is_a_duplicate(tmp_path: Path) -> None:
    def same(index: int, dataset: Dataset) -> None:
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.9.7.{index // 2}"

    refused = refusal(write_series(tmp_path, edit=same))
    assert refused.reason is RefusalReason.DUPLICATE_POSITION
    assert "shares its SOP Instance UID with a different image" in refused.detail


@pytest.mark.parametrize("degrees", [-20.0, 2.0, 14.0, 30.0])
def test_a_tilted_gantry_is_refused_with_its_angle(tmp_path: Path, degrees: float) -> None:
    angle = math.radians(degrees)
    tilted = (1, 0, 0, 0, math.cos(angle), -math.sin(angle))
    refused = refusal(write_series(tmp_path, orientation=tilted, step=(0, 0, 5)))
    assert refused.reason is RefusalReason.GANTRY_TILT
    assert f"tilted by {abs(degrees):.1f} degrees" in refused.detail


def test_half_a_degree_of_rounding_is_no_tilt(tmp_path: Path) -> None:
    angle = math.radians(0.5)
    tilted = (1, 0, 0, 0, math.cos(angle), -math.sin(angle))
    volume = assemble_series(write_series(tmp_path, orientation=tilted, step=(0, 0, 5)))
    assert np.allclose(volume.affine[:3, 2], (0, 0, 5))


@pytest.mark.parametrize(
    "orientation", [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)], ids=["sagittal", "coronal"]
)
def test_other_planes_are_not_axial(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    refused = refusal(write_series(tmp_path, orientation=orientation))
    assert refused.reason is RefusalReason.NOT_AXIAL
    assert "90 degrees" in refused.detail


def test_an_oblique_reformat_is_not_axial(tmp_path: Path) -> None:
    angle = math.radians(40)
    oblique = (1, 0, 0, 0, math.cos(angle), math.sin(angle))
    refused = refusal(write_series(tmp_path, orientation=oblique))
    assert refused.reason is RefusalReason.NOT_AXIAL
    assert "40 degrees" in refused.detail


def test_slices_around_another_centre_are_no_grid(tmp_path: Path) -> None:
    def shift(index: int, dataset: Dataset) -> None:
        if 5 <= index < 15:
            position = [float(value) for value in dataset.ImagePositionPatient]
            dataset.ImagePositionPatient = [position[0] + 12, *position[1:]]

    refused = refusal(write_series(tmp_path, edit=shift))
    assert refused.reason is RefusalReason.MIXED_GEOMETRY
    assert "shifted sideways by 12.0 mm" in refused.detail


@pytest.mark.parametrize(("count", "spacing"), [(3, 5.0), (7, 10.0), (40, 1.0)])
def test_a_piece_of_a_chest_is_too_little(tmp_path: Path, count: int, spacing: float) -> None:
    refused = refusal(write_series(tmp_path, count=count, spacing=spacing))
    assert refused.reason is RefusalReason.TOO_FEW_SLICES
    assert refused.detail.startswith(f"{count} slices cover {count * spacing:.0f} mm")


def test_thick_slices_of_a_whole_chest_are_enough(tmp_path: Path) -> None:
    assert (
        assemble_series(write_series(tmp_path, count=25, spacing=10.0, orientation=SUPINE)).hu.shape[0] == 25
    )

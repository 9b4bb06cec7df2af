"""The phantom's maps, image and truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from dicomnode.phantom import LesionSpec, Phantom, PhantomError, PhantomSpec, build_phantom
from dicomnode.segment.segmentation import Label, Lobe, ModelIdentity, Segmentation, Side

EMPTY = (-1010, -985)


def test_maps_make_a_valid_segmentation(phantom: Phantom) -> None:
    segmentation = Segmentation(
        phantom.labels, phantom.sides, phantom.lobes, ModelIdentity("truth", "1", "0" * 64)
    )
    assert segmentation.has_lobes
    assert np.array_equal(phantom.lobes > 0, phantom.labels > 0)


def test_parts_of_the_truth_sum_to_the_whole(phantom: Phantom) -> None:
    truth = phantom.truth
    for group in ("sides", "lobes"):
        parts = truth[group].values()
        assert sum(p["volume_ml"] for p in parts) == pytest.approx(truth["lung_volume_ml"])
        for name in ("ggo_volume_ml", "consolidation_volume_ml", "lesion_volume_ml", "lesion_weight_g"):
            assert sum(p[name] for p in parts) == pytest.approx(truth[name])
    extents = truth["ggo_extent_percent"] + truth["consolidation_extent_percent"]
    assert truth["lesion_extent_percent"] == pytest.approx(extents)
    weighed = truth["lesion_volume_ml"] * (truth["lesion_mean_hu"] + 1000) / 1000
    assert truth["lesion_weight_g"] == pytest.approx(weighed)


def test_truth_counts_the_maps(phantom: Phantom, spec: PhantomSpec) -> None:
    lung = float((phantom.labels > 0).sum()) * spec.voxel_ml
    assert phantom.truth["lung_volume_ml"] == pytest.approx(lung)
    right = phantom.hu[phantom.sides == Side.RIGHT].mean()
    assert phantom.truth["sides"]["right"]["mean_hu"] == pytest.approx(right, abs=1.0)
    lesion = (phantom.labels == Label.GROUND_GLASS) | (phantom.labels == Label.CONSOLIDATION)
    assert phantom.truth["lesion_mean_hu"] == pytest.approx(phantom.hu[lesion].mean(), abs=2.0)


def test_lesions_have_the_volume_asked_for_in_the_lobe_asked_for(phantom: Phantom, spec: PhantomSpec) -> None:
    lobes = phantom.truth["lobes"]
    voxel = spec.voxel_ml
    assert lobes["right_lower"]["ggo_volume_ml"] == pytest.approx(60, abs=voxel)
    assert lobes["left_lower"]["consolidation_volume_ml"] == pytest.approx(35, abs=voxel)
    assert lobes["left_upper"]["ggo_volume_ml"] == pytest.approx(20, abs=voxel)
    assert lobes["right_upper"]["lesion_volume_ml"] == 0
    assert lobes["right_middle"]["lesion_volume_ml"] == 0


def test_lungs_are_those_of_an_adult(phantom: Phantom) -> None:
    truth = phantom.truth
    assert 4000 < truth["lung_volume_ml"] < 6500
    assert truth["sides"]["right"]["volume_ml"] > truth["sides"]["left"]["volume_ml"]
    lobes = {name: region["volume_ml"] for name, region in truth["lobes"].items()}
    assert lobes["right_middle"] == min(lobes.values())
    assert all(250 < volume < 1900 for volume in lobes.values())
    assert not phantom.labels[0].any(), "the lungs are cut off below"
    assert not phantom.labels[-1].any(), "the lungs are cut off above"


@pytest.mark.parametrize("seed", [1, 5])
def test_every_patient_has_two_separate_whole_lungs(seed: int) -> None:
    phantom = build_phantom(
        PhantomSpec(seed=seed, matrix=(40, 64, 64), spacing_mm=(8.0, 5.7, 5.7), noise_hu=0)
    )
    truth = phantom.truth
    assert 4000 < truth["lung_volume_ml"] < 6800
    for side in (Side.RIGHT, Side.LEFT):
        parts, count = ndimage.label(phantom.sides == side)
        largest = np.bincount(parts.ravel())[1:].max() if count else 0
        assert largest > 0.99 * (phantom.sides == side).sum()
    touching = ndimage.binary_dilation(phantom.sides == Side.RIGHT) & (phantom.sides == Side.LEFT)
    assert touching.sum() < 30


def test_two_spacings_show_the_same_patient() -> None:
    coarse = build_phantom(PhantomSpec.whole_lung((44, 64, 64), noise_hu=0))
    fine = build_phantom(PhantomSpec.whole_lung((70, 100, 100), noise_hu=0))
    for name in ("right", "left"):
        expected = fine.truth["sides"][name]["volume_ml"]
        assert coarse.truth["sides"][name]["volume_ml"] == pytest.approx(expected, rel=0.01)
    assert coarse.truth["lung_volume_ml"] == pytest.approx(fine.truth["lung_volume_ml"], rel=0.01)
    assert coarse.truth["lung_mean_hu"] == pytest.approx(fine.truth["lung_mean_hu"], abs=25)


def test_attenuation_is_that_of_a_chest(phantom: Phantom) -> None:
    hu, labels = phantom.hu, phantom.labels
    assert hu.dtype == np.int16
    inner = ndimage.binary_erosion(labels == Label.NORMAL_LUNG)
    assert -870 < np.median(hu[inner]) < -800
    ggo = np.median(hu[ndimage.binary_erosion(labels == Label.GROUND_GLASS)])
    assert -620 < ggo < -430
    consolidation = np.median(hu[ndimage.binary_erosion(labels == Label.CONSOLIDATION)])
    assert -50 < consolidation < 45
    air = hu[:, :8, :8]
    assert EMPTY[0] < air.mean() < EMPTY[1]
    assert 0.5 < (hu > 300).sum() * phantom.spec.voxel_ml / 1000 < 2.5, "litres of bone"


def test_the_back_of_the_lung_is_denser_than_the_front() -> None:
    phantom = build_phantom(PhantomSpec(matrix=(8, 96, 96), spacing_mm=(2.6, 3.75, 3.75), noise_hu=0))
    lung = ndimage.binary_erosion(phantom.labels == Label.NORMAL_LUNG, iterations=2)
    rows = phantom.spec.axis_mm(1)[np.nonzero(lung)[1]]
    hu = phantom.hu[lung]
    front, back = np.median(hu[rows < -120]), np.median(hu[rows > -20])
    assert 25 < back - front < 90


def test_no_bone_sticks_into_the_lung() -> None:
    phantom = build_phantom(PhantomSpec.whole_lung((60, 128, 128), noise_hu=0))
    lung = ndimage.binary_erosion(phantom.labels > 0)
    bone = phantom.hu[lung] > 130
    assert bone.mean() < 0.0003


def test_gas_lies_under_the_left_dome_and_is_not_lung(phantom: Phantom) -> None:
    z, x = phantom.spec.axis_mm(0), phantom.spec.axis_mm(2)
    gas = (phantom.hu < -900) & (phantom.labels == 0)
    abdomen = gas[np.ix_(z < -80, np.arange(96), (x > 20) & (x < 120))][:, 20:60]
    assert abdomen.sum() * phantom.spec.voxel_ml > 20


def test_windpipe_is_air_outside_the_lung_map(phantom: Phantom) -> None:
    spec = phantom.spec
    index = [
        int(np.abs(spec.axis_mm(axis) - mm).argmin()) for axis, mm in ((0, 100.0), (1, -70.0), (2, -1.0))
    ]
    assert phantom.hu[tuple(index)] < -900
    assert phantom.labels[tuple(index)] == 0


@pytest.mark.parametrize("kernel", ["soft", "sharp"])
def test_noise_has_the_deviation_asked_for(kernel: str) -> None:
    small = PhantomSpec(matrix=(4, 96, 96), spacing_mm=(2.0, 3.0, 3.0), noise_hu=0, kernel=kernel)
    quiet, noisy = build_phantom(small), build_phantom(replace(small, noise_hu=20))
    difference = noisy.hu.astype(float) - quiet.hu
    assert difference[quiet.hu > -900].std() == pytest.approx(20, rel=0.03)
    assert quiet.hu.min() >= -1024
    assert noisy.truth == quiet.truth, "the truth is that of the image without noise"


def test_padding_fills_only_the_outside_of_the_circle() -> None:
    small = PhantomSpec(matrix=(5, 64, 64), spacing_mm=(5.0, 5.6, 5.6), reconstruction_circle=True)
    phantom = build_phantom(small)
    padded = phantom.hu == -3024
    assert padded[:, 0, 0].all()
    assert not padded[:, 32, 32].any()
    assert padded.mean() == pytest.approx(1 - np.pi / 4, abs=0.02)


def test_progress_runs_from_0_to_1() -> None:
    heard: list[tuple[str, float]] = []
    small = PhantomSpec(matrix=(5, 32, 32), spacing_mm=(5.0, 11.0, 11.0))
    build_phantom(small, lambda step, share: heard.append((step, share)))
    assert all(0 <= share <= 1 for _, share in heard)
    assert heard[-1] == ("image", 1.0)


def test_explicit_centre_is_the_centre_of_the_lesion() -> None:
    centre = (-75.0, -20.0, 20.0)
    lesion = LesionSpec("consolidation", 30, centre_mm=centre)
    phantom = build_phantom(PhantomSpec(matrix=(24, 80, 80), spacing_mm=(5.0, 4.5, 4.5), lesions=(lesion,)))
    found = np.argwhere(phantom.labels == Label.CONSOLIDATION).mean(axis=0)[::-1]
    place = phantom.affine @ [*found, 1]
    assert np.linalg.norm(place[:3] - centre) < 15
    assert set(np.unique(phantom.lobes[phantom.labels == Label.CONSOLIDATION])) == {Lobe.RIGHT_LOWER}


def test_what_does_not_fit_is_refused() -> None:
    grid = PhantomSpec(matrix=(20, 32, 32), spacing_mm=(15.0, 11.0, 11.0))
    with pytest.raises(PhantomError, match="does not fit"):
        build_phantom(replace(grid, lesions=(LesionSpec("ggo", 2000, Lobe.RIGHT_MIDDLE),)))
    with pytest.raises(PhantomError, match="outside the lungs"):
        build_phantom(replace(grid, lesions=(LesionSpec("ggo", 5, centre_mm=(0, 0, 0)),)))
    with pytest.raises(PhantomError, match="not left_upper"):
        build_phantom(
            replace(grid, lesions=(LesionSpec("ggo", 5, Lobe.LEFT_UPPER, centre_mm=(-75, -20, 20)),))
        )

"""Lungs on real CT with expert masks, on a patient with consolidation, on phantoms and on odd input."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.phantom.build import Phantom, build_phantom
from dicomnode.phantom.spec import LesionKind, LesionSpec, PhantomSpec
from dicomnode.segment.lungs import LungMasks, find_lungs
from dicomnode.segment.segmentation import Lobe, QualityFlag, Side
from tests.segment.real_ct import RealCT, read_cip, read_dicom, read_imlab

# Points (slice, row, column) inside airless lung of the RICORD patient, and inside what is no lung.
DENSE = ((88, 321, 157), (100, 310, 152))
LIVER, STOMACH, TRACHEA = (40, 250, 120), (10, 140, 330), (180, 193, 240)


@cache
def ricord(data_dir: Path) -> tuple[RealCT, LungMasks]:
    ct = read_dicom(data_dir / "ricord_covid_chest")
    return ct, find_lungs(ct.hu, ct.spacing_mm)


@cache
def phantom(matrix: tuple[int, int, int], seed: int, lesions: tuple[LesionSpec, ...]) -> Phantom:
    return build_phantom(PhantomSpec.whole_lung(matrix, seed=seed, lesions=lesions))


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def refusal_of(hu: NDArray[np.int16], spacing_mm: tuple[float, float, float]) -> RefusalReason:
    with pytest.raises(SeriesRefusedError) as caught:
        find_lungs(hu, spacing_mm)
    return caught.value.reason


@pytest.mark.parametrize(("name", "bar"), [("cip", 0.98), ("id001", 0.98), ("id002", 0.975)])
def test_agrees_with_an_experts_mask(data_dir: Path, name: str, bar: float) -> None:
    ct = read_cip(data_dir) if name == "cip" else read_imlab(data_dir, name)
    assert ct.lungs is not None
    found = find_lungs(ct.hu, ct.spacing_mm).sides > 0
    assert dice(found, ct.lungs) > bar
    assert found.sum() == pytest.approx(ct.lungs.sum(), rel=0.01)


def test_a_patient_with_pneumonia_is_not_refused(data_dir: Path) -> None:
    ct, masks = ricord(data_dir)
    assert masks.flags == ()
    right, left = (float((masks.sides == side).sum()) * ct.voxel_ml for side in (Side.RIGHT, Side.LEFT))
    assert 1300 < right < 1550
    assert 1400 < left < 1600


def test_consolidation_stays_inside(data_dir: Path) -> None:
    ct, masks = ricord(data_dir)
    smooth = ndimage.uniform_filter(ct.hu.astype(np.float32), (3, 7, 7))
    for point in DENSE:
        assert -50 < smooth[point] < 120, "the point is meant to lie in airless lung"
        assert masks.sides[point] == Side.RIGHT
    airless = (masks.sides == Side.RIGHT) & (smooth > -50)
    assert float(airless.sum()) * ct.voxel_ml > 60


def test_liver_stomach_and_trachea_stay_outside(data_dir: Path) -> None:
    ct, masks = ricord(data_dir)
    assert 0 < ct.hu[LIVER] < 100
    assert ct.hu[STOMACH] < -900
    assert ct.hu[TRACHEA] < -900
    for point in (LIVER, STOMACH, TRACHEA):
        assert masks.sides[point] == Side.NONE


def test_sides_follow_the_array_when_it_is_mirrored(data_dir: Path) -> None:
    ct = read_cip(data_dir)
    plain = find_lungs(ct.hu, ct.spacing_mm).sides
    mirrored = find_lungs(np.ascontiguousarray(ct.hu[:, :, ::-1]), ct.spacing_mm).sides[:, :, ::-1]
    swapped = np.select([mirrored == Side.RIGHT, mirrored == Side.LEFT], [Side.LEFT, Side.RIGHT], Side.NONE)
    assert dice(plain == Side.RIGHT, swapped == Side.RIGHT) > 0.995
    assert dice(plain == Side.LEFT, swapped == Side.LEFT) > 0.995


def test_same_input_same_masks(data_dir: Path) -> None:
    ct = read_imlab(data_dir, "id002")
    first, second = (find_lungs(ct.hu, ct.spacing_mm).sides for _ in range(2))
    assert np.array_equal(first, second)


def test_input_is_left_alone_and_progress_ends_at_one(data_dir: Path) -> None:
    ct = read_cip(data_dir)
    before, steps = ct.hu.copy(), []
    find_lungs(ct.hu, ct.spacing_mm, steps.append)
    assert np.array_equal(ct.hu, before)
    assert steps == sorted(steps)
    assert steps[-1] == 1.0


def test_colon_beside_the_lung_is_no_lung(data_dir: Path) -> None:
    """Gas and stool of the splenic flexure were once taken for islands of the left lung."""
    ct = read_imlab(data_dir, "id002")
    assert ct.lungs is not None
    extra = (find_lungs(ct.hu, ct.spacing_mm).sides > 0) & ~ct.lungs
    deep = ndimage.binary_erosion(extra, iterations=1)
    assert float(deep.sum()) * ct.voxel_ml < 5


def test_thin_chest_wall_keeps_the_base(data_dir: Path) -> None:
    """Freeing the body from the table once opened the wall over the left base and lost 200 mL."""
    ct = read_imlab(data_dir, "id001")
    assert ct.lungs is not None
    missed = ct.lungs & (find_lungs(ct.hu, ct.spacing_mm).sides == 0)
    assert (missed.sum(axis=(1, 2)) / np.maximum(ct.lungs.sum(axis=(1, 2)), 300)).max() < 0.15


SMALL_LESIONS = (
    LesionSpec(LesionKind.CONSOLIDATION, 40, Lobe.RIGHT_LOWER),
    LesionSpec(LesionKind.GGO, 80, Lobe.LEFT_LOWER),
)


@pytest.mark.parametrize(
    ("matrix", "seed", "lesions"),
    [((64, 128, 128), 0, ()), ((64, 128, 128), 0, SMALL_LESIONS), ((120, 192, 192), 1, SMALL_LESIONS)],
)
def test_phantom_volume_within_one_percent(
    matrix: tuple[int, int, int], seed: int, lesions: tuple[LesionSpec, ...]
) -> None:
    truth = phantom(matrix, seed, lesions)
    found = find_lungs(truth.hu, truth.spec.spacing_mm).sides
    assert np.count_nonzero(found) == pytest.approx(np.count_nonzero(truth.sides), rel=0.01)
    both = (found > 0) & (truth.sides > 0)
    assert np.mean(found[both] == truth.sides[both]) > 0.999
    for side in (Side.RIGHT, Side.LEFT):
        assert dice(found == side, truth.sides == side) > 0.98


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 24)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 20)] * 3),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["noise", "constant", "blobs", "padding"]),
)
def test_odd_input_gives_masks_or_a_refusal(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], seed: int, kind: str
) -> None:
    random = np.random.default_rng(seed)
    hu = random.integers(-3024, 3072, shape).astype(np.int16)
    if kind == "constant":
        hu[:] = hu.flat[0]
    elif kind == "blobs":
        hu = np.where(ndimage.uniform_filter(random.normal(size=shape), 5) > 0, 40, -850).astype(np.int16)
        hu[:, [0, -1]] = hu[:, :, [0, -1]] = 40
    elif kind == "padding":
        hu[:, : shape[1] // 2] = -3024
    try:
        masks = find_lungs(hu, spacing)
    except SeriesRefusedError as refusal:
        assert refusal.reason in (RefusalReason.NO_LUNG, RefusalReason.TRUNCATED_LUNG)
    else:
        assert masks.sides.shape == shape


@pytest.mark.parametrize(
    ("hu", "spacing"),
    [
        (np.zeros((4, 4), np.int16), (1.0, 1.0, 1.0)),
        (np.zeros((4, 4, 4), np.float32), (1.0, 1.0, 1.0)),
        (np.zeros((0, 4, 4), np.int16), (1.0, 1.0, 1.0)),
        (np.zeros((4, 4, 4), np.int16), (1.0, 0.0, 1.0)),
        (np.zeros((4, 4, 4), np.int16), (1.0, float("nan"), 1.0)),
    ],
)
def test_wrong_arguments_are_named(hu: NDArray[np.int16], spacing: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="find_lungs needs"):
        find_lungs(hu, spacing)


def test_masks_reject_a_third_side() -> None:
    with pytest.raises(ValueError, match="has the value 3"):
        LungMasks(np.full((2, 2, 2), 3, np.uint8), ())


def test_one_lung_is_flagged_not_refused(data_dir: Path) -> None:
    ct = read_imlab(data_dir, "id001")
    full = find_lungs(ct.hu, ct.spacing_mm).sides
    hu = np.where(ndimage.binary_dilation(full == Side.LEFT, iterations=2), np.int16(30), ct.hu)
    masks = find_lungs(hu, ct.spacing_mm)
    assert QualityFlag.ONE_LUNG in masks.flags
    assert not (masks.sides == Side.LEFT).any()
    assert dice(masks.sides == Side.RIGHT, full == Side.RIGHT) > 0.97

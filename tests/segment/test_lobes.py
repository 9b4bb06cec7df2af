"""Lobes from the shape of lungs: of the phantom, of real masks never trained on, of lungs that lack parts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.phantom import LesionKind, LesionSpec, PhantomSpec, build_phantom
from dicomnode.segment.card import ModelError, load_installed_card, models_directory
from dicomnode.segment.lobe_card import installed_lobe_card, load_lobe_card
from dicomnode.segment.lobes import LobeModel, join_fragments
from dicomnode.segment.lungs import find_lungs
from dicomnode.segment.segmentation import Lobe, Side
from dicomnode.train.lobe_cases import LobeCase, load_lobe_case
from dicomnode.train.lobe_model import SIDE_OF, read_lobe_protocol
from dicomnode.train.lobe_shapes import phantom_case

LOBES = [lobe for lobe in Lobe if lobe is not Lobe.NONE]
SEED = 5000
"""A phantom that no training has seen."""


@pytest.fixture(scope="module")
def model() -> LobeModel:
    card = installed_lobe_card()
    assert card is not None
    return LobeModel(card)


@pytest.fixture(scope="module")
def phantom() -> LobeCase:
    return phantom_case(SEED)


def dice(found: NDArray[np.uint8], truth: NDArray[np.uint8]) -> list[float]:
    pairs = [(found == lobe, truth == lobe) for lobe in LOBES]
    return [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]


def assert_lobes_fill_the_lungs(lobes: NDArray[np.uint8], sides: NDArray[np.uint8]) -> None:
    assert np.array_equal(SIDE_OF[lobes], sides)


def assert_lobes_are_connected(lobes: NDArray[np.uint8]) -> None:
    """A piece of a lobe apart from the rest of it is a piece of lung apart from the rest of the lung."""
    for lobe in LOBES:
        labels, count = ndimage.label(lobes == lobe)
        sizes = np.bincount(labels.ravel())[1:]
        for piece in set(range(1, count + 1)) - {int(sizes.argmax()) + 1}:
            around = ndimage.binary_dilation(labels == piece) & (labels != piece)
            assert not np.any(SIDE_OF[lobes[around]] == SIDE_OF[lobe]), f"{lobe.name} falls into pieces"


def test_the_phantom_s_lobes(model: LobeModel, phantom: LobeCase) -> None:
    sides = SIDE_OF[phantom.lobes]
    found = model.find(sides, phantom.spacing_mm)
    assert_lobes_fill_the_lungs(found.lobes, sides)
    assert not found.uncertain
    assert min(dice(found.lobes, phantom.lobes)) > 0.8
    assert_lobes_are_connected(found.lobes)


def test_lungs_never_trained_on(model: LobeModel, data_dir: Path) -> None:
    _, split = read_lobe_protocol(models_directory() / "lobes")
    name = split.test[1]
    case = load_lobe_case(data_dir / "luna16_lobe_masks", name)
    sides = SIDE_OF[case.lobes]
    found = model.find(sides, case.spacing_mm)
    assert_lobes_fill_the_lungs(found.lobes, sides)
    assert_lobes_are_connected(found.lobes)
    scores = dice(found.lobes, case.lobes)
    assert np.mean(scores) > 0.85 and min(scores[3:]) > 0.9, scores


def test_consolidated_parts_that_the_mask_lacks_move_no_lobe(model: LobeModel, phantom: LobeCase) -> None:
    sides = SIDE_OF[phantom.lobes]
    whole = model.find(sides, phantom.spacing_mm).lobes
    holed = sides.copy()
    places = np.indices(sides.shape)
    for lobe, radius in ((Lobe.RIGHT_LOWER, 16), (Lobe.LEFT_LOWER, 18)):
        centre = np.argwhere(phantom.lobes == lobe).mean(axis=0).round()
        holed[sum((p - c) ** 2 for p, c in zip(places, centre, strict=True)) < radius**2] = Side.NONE
    assert holed.astype(bool).sum() < 0.93 * sides.astype(bool).sum()
    found = model.find(holed, phantom.spacing_mm).lobes
    assert_lobes_fill_the_lungs(found, holed)
    kept = holed > 0
    assert (found[kept] == whole[kept]).mean() > 0.95


def test_big_consolidations_in_a_ct_move_no_lobe(model: LobeModel) -> None:
    lesions = (
        LesionSpec(LesionKind.CONSOLIDATION, 300.0, Lobe.RIGHT_LOWER),
        LesionSpec(LesionKind.CONSOLIDATION, 250.0, Lobe.LEFT_LOWER),
        LesionSpec(LesionKind.GGO, 200.0, Lobe.RIGHT_UPPER),
    )
    found = []
    for grown in ((), lesions):
        phantom = build_phantom(PhantomSpec.whole_lung((80, 112, 112), seed=SEED, lesions=grown))
        sides = find_lungs(phantom.hu, phantom.spec.spacing_mm).sides
        lobes = model.find(sides, phantom.spec.spacing_mm).lobes
        assert_lobes_fill_the_lungs(lobes, sides)
        assert np.mean(dice(lobes, phantom.lobes)) > 0.85
        found.append(lobes)
    both = (found[0] > 0) & (found[1] > 0)
    assert (found[0] == found[1])[both].mean() > 0.95


@pytest.mark.parametrize(("steps", "least"), [((1, 2, 2), 0.97), ((2, 1, 1), 0.97), ((4, 1, 1), 0.94)])
def test_the_spacing_does_not_matter(
    model: LobeModel, phantom: LobeCase, steps: tuple[int, int, int], least: float
) -> None:
    fine = SIDE_OF[phantom.lobes]
    cut = tuple(slice(step // 2, None, step) for step in steps)
    spacing = tuple(mm * step for mm, step in zip(phantom.spacing_mm, steps, strict=True))
    coarse = model.find(fine[cut], (spacing[0], spacing[1], spacing[2])).lobes
    assert min(dice(coarse, model.find(fine, phantom.spacing_mm).lobes[cut])) > least


def test_one_lung_absent(model: LobeModel, phantom: LobeCase) -> None:
    both = SIDE_OF[phantom.lobes]
    alone = np.where(both == Side.LEFT, both, np.uint8(Side.NONE))
    found = model.find(alone, phantom.spacing_mm)
    assert_lobes_fill_the_lungs(found.lobes, alone)
    whole = model.find(both, phantom.spacing_mm).lobes
    assert np.array_equal(found.lobes[alone > 0], whole[alone > 0])  # each lung is judged by itself


def test_lungs_too_small_to_tell_are_uncertain(model: LobeModel, phantom: LobeCase) -> None:
    small = tuple(mm * 0.4 for mm in phantom.spacing_mm)
    assert model.find(SIDE_OF[phantom.lobes], (small[0], small[1], small[2])).uncertain


def test_half_a_lung_is_uncertain(model: LobeModel, phantom: LobeCase) -> None:
    sides = SIDE_OF[phantom.lobes]
    slices = np.flatnonzero(sides.any(axis=(1, 2)))
    middle = (slices[0] + slices[-1]) // 2
    for half in (slice(None, middle), slice(middle, None)):
        cut = sides.copy()
        cut[half] = Side.NONE
        found = model.find(cut, phantom.spacing_mm)
        assert found.uncertain
        assert_lobes_fill_the_lungs(found.lobes, cut)


def test_a_few_voxels_and_none_at_all(model: LobeModel) -> None:
    sides = np.zeros((3, 9, 9), np.uint8)
    assert not model.find(sides, (10.0, 1.0, 1.0)).lobes.any()
    sides[1, 4, 4] = Side.RIGHT
    found = model.find(sides, (10.0, 1.0, 1.0))
    assert_lobes_fill_the_lungs(found.lobes, sides)
    assert found.uncertain


def test_pieces_join_the_lobe_they_touch_and_islands_of_lung_stay() -> None:
    parts = np.zeros((1, 5, 12), np.uint8)
    parts[0, :, :4] = 1
    parts[0, :, 4:8] = 3
    parts[0, 2, 6] = 1
    parts[0, 2, 10] = 1
    join_fragments(parts)
    assert parts[0, 2, 6] == 3 and parts[0, 2, 10] == 1 and (parts[0, :, :4] == 1).all()


def test_wrong_weights_stop_with_a_sentence(tmp_path: Path) -> None:
    shutil.copytree(models_directory() / "lobes", tmp_path / "lobes")
    with (tmp_path / "lobes" / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(ModelError, match=r"model lobes: the weights .* have SHA-256"):
        installed_lobe_card(tmp_path)
    assert installed_lobe_card(tmp_path / "none") is None


def test_a_lobe_model_is_no_lesion_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="finds lobes, no lesions"):
        load_installed_card("lobes", models_directory())
    shutil.copytree(models_directory() / "lobes", tmp_path / "lobes")
    card = tmp_path / "lobes" / "model.toml"
    card.write_text(card.read_text(encoding="utf-8").replace("slices = 40", "slices = 0"), encoding="utf-8")
    with pytest.raises(ModelError, match="points along each axis"):
        load_lobe_card(tmp_path / "lobes")

"""The lung network in the node: keeps consolidation, leaves healthy lungs alone, never worsens silently."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from dicomnode.phantom import LesionKind, LesionSpec, Phantom, PhantomSpec, build_phantom
from dicomnode.segment.card import ModelError, load_installed_card, models_directory, sha256_of
from dicomnode.segment.lung_card import LungCard, installed_lung_card, load_lung_card, read_lung_card
from dicomnode.segment.lung_input import network_input, plane_indices
from dicomnode.segment.lung_network import LungNetwork
from dicomnode.segment.lungs import find_lungs
from dicomnode.segment.segmentation import Label, Lobe, QualityFlag, Side
from tests.segment.real_ct import read_cip, read_imlab

SEED = 3
"""A phantom that no training has seen; thresholds keep a third of a large basal consolidation in it."""

CONSOLIDATION = (LesionSpec(LesionKind.CONSOLIDATION, 300, Lobe.RIGHT_LOWER),)


@pytest.fixture(scope="module")
def network() -> LungNetwork:
    card = installed_lung_card()
    assert card is not None
    return LungNetwork(card)


@cache
def phantom(lesions: tuple[LesionSpec, ...]) -> Phantom:
    return build_phantom(PhantomSpec.whole_lung((80, 128, 128), seed=SEED, lesions=lesions))


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("name", ["cip", "id001"])
def test_agrees_with_an_experts_mask(network: LungNetwork, data_dir: Path, name: str) -> None:
    ct = read_cip(data_dir) if name == "cip" else read_imlab(data_dir, name)
    assert ct.lungs is not None
    found = find_lungs(ct.hu, ct.spacing_mm, network=network)
    assert dice(found.sides > 0, ct.lungs) > 0.98
    assert QualityFlag.LUNGS_DISAGREE not in found.flags


def test_a_raised_diaphragm_is_not_filled(network: LungNetwork, data_dir: Path) -> None:
    ct = read_imlab(data_dir, "id002")
    alone = find_lungs(ct.hu, ct.spacing_mm)
    found = find_lungs(ct.hu, ct.spacing_mm, network=network)
    assert np.array_equal(found.sides, alone.sides)
    assert QualityFlag.LUNGS_DISAGREE in found.flags


def test_consolidation_on_the_diaphragm_is_kept_and_its_lung_is_right(network: LungNetwork) -> None:
    case = phantom(CONSOLIDATION)
    dense = case.labels == Label.CONSOLIDATION
    alone = find_lungs(case.hu, case.spec.spacing_mm)
    found = find_lungs(case.hu, case.spec.spacing_mm, network=network)
    kept, before = (float((masks.sides[dense] > 0).mean()) for masks in (found, alone))
    assert kept > before + 0.2
    assert dice(found.sides > 0, case.sides > 0) > dice(alone.sides > 0, case.sides > 0)
    assert QualityFlag.LUNGS_DISAGREE in found.flags
    added = (found.sides > 0) & (alone.sides == 0) & dense
    assert np.mean(found.sides[added] == Side.RIGHT) > 0.99


def test_a_healthy_chest_stays_as_it_is(network: LungNetwork) -> None:
    case = phantom(())
    alone = find_lungs(case.hu, case.spec.spacing_mm)
    found = find_lungs(case.hu, case.spec.spacing_mm, network=network)
    assert found.flags == alone.flags == ()
    assert dice(found.sides > 0, alone.sides > 0) > 0.99


def with_bias(card: LungCard, bias: float, folder: Path) -> LungNetwork:
    """The network with another bias at its end: it calls everything lung, or nothing."""
    shutil.copytree(card.directory, folder)
    weights = load_file(card.weights_path)
    weights["final.bias"] = torch.full_like(weights["final.bias"], bias)
    save_file(weights, folder / card.weights.file)
    text = (folder / "model.toml").read_text(encoding="utf-8")
    text = text.replace(card.weights.sha256, sha256_of(folder / card.weights.file))
    (folder / "model.toml").write_text(text, encoding="utf-8")
    return LungNetwork(load_lung_card(folder))


def test_an_empty_answer_leaves_the_classical_lungs_with_a_flag(network: LungNetwork, tmp_path: Path) -> None:
    case = phantom(())
    alone = find_lungs(case.hu, case.spec.spacing_mm)
    found = find_lungs(case.hu, case.spec.spacing_mm, network=with_bias(network.card, -1e4, tmp_path / "m"))
    assert np.array_equal(found.sides, alone.sides)
    assert found.flags == (QualityFlag.LUNGS_DISAGREE,)


def test_an_answer_that_all_is_lung_is_flagged(network: LungNetwork, tmp_path: Path) -> None:
    case = phantom(())
    found = find_lungs(case.hu, case.spec.spacing_mm, network=with_bias(network.card, 1e4, tmp_path / "m"))
    assert QualityFlag.LUNGS_DISAGREE in found.flags


@pytest.mark.parametrize("spacing", [(0.5, 2.0, 2.0), (10.0, 1.0, 3.0), (2.5, 7.0, 2.5)])
def test_any_spacing_gives_probabilities_on_the_grid(
    network: LungNetwork, spacing: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(1)
    for shape in ((1, 20, 30), (13, 50, 41)):
        hu = rng.normal(-500, 400, shape).astype(np.float32)
        found = network.probability(hu, np.ones(shape, bool), spacing)
        assert found.shape == shape and found.dtype == np.float32
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_planes_lie_where_the_card_says() -> None:
    planes = (-20.0, -8.0, 0.0, 8.0, 20.0)
    assert plane_indices(40, 2.5, planes)[20].tolist() == [12, 17, 20, 23, 28]
    assert plane_indices(40, 30.0, planes)[20].tolist() == [19, 19, 20, 21, 21]
    assert plane_indices(40, 2.5, planes)[0].tolist() == [0, 0, 0, 3, 8]


def test_windows_reach_from_0_to_1() -> None:
    hu = torch.tensor([-2000.0, -1000.0, -350.0, 50.0, 300.0, 3000.0]).reshape(1, 1, 1, 6)
    wide, tissue = network_input(hu.expand(1, 3, 1, 6))[0, [1, 3], 0].tolist()
    assert wide == pytest.approx([0, 0, 0.5, 1050 / 1300, 1, 1])
    assert tissue == pytest.approx([0, 0, 0, 0.5, 1, 1])


def test_wrong_weights_stop_with_a_sentence(tmp_path: Path) -> None:
    shutil.copytree(models_directory() / "lungs", tmp_path / "lungs")
    with (tmp_path / "lungs" / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(ModelError, match=r"model lungs: the weights .* have SHA-256"):
        installed_lung_card(tmp_path)
    assert installed_lung_card(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("spacing_mm = 3.0", "spacing_mm = 0.0", "spacing_mm must be positive"),
        ("-8.0, 0.0, 8.0", "-8.0, 8.0", "must rise and have 0 in its middle"),
        ("smallest_share = 0.5", "smallest_share = 1.5", "smallest_share must lie between 0 and 1"),
    ],
)
def test_a_wrong_card_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    shutil.copytree(models_directory() / "lungs", tmp_path / "lungs")
    card = tmp_path / "lungs" / "model.toml"
    text = card.read_text(encoding="utf-8")
    assert old in text
    card.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        read_lung_card(tmp_path / "lungs")


def test_a_lung_model_is_no_lesion_model() -> None:
    with pytest.raises(ModelError, match="finds lungs, no lesions"):
        load_installed_card("lungs", models_directory())

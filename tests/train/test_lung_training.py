"""Training and scoring of lungs on phantoms: loss falls, Dice rises, an interrupted run goes on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image

from dicomnode.segment.card import models_directory
from dicomnode.segment.card_file import card_path
from dicomnode.train.__main__ import main
from dicomnode.train.augment import AugmentationSpec
from dicomnode.train.cases import DataError
from dicomnode.train.lung_cases import LungCase, load_lung_cases, phantom_case
from dicomnode.train.lung_model import read_lung_training, train_lung_model
from dicomnode.train.lung_samples import draw_batch
from dicomnode.train.lung_training import STEADY, lung_loss

SPACING_MM = 8.0
PLANES_MM = (-20.0, 0.0, 20.0)
CARD_CHANGES = {
    "spacing_mm = 3.0": f"spacing_mm = {SPACING_MM}",
    "planes_mm = [-20.0, -8.0, 0.0, 8.0, 20.0]": f"planes_mm = {list(PLANES_MM)}",
    "in_channels = 6": "in_channels = 4",
    "width = 24": "width = 12",
    "levels = 5": "levels = 3",
}
PROTOCOL = """[protocol]
seed = 3
epochs = 4
steps = 30
batch_size = 4
learning_rate = 0.02
weight_decay = 0.0
warmup_steps = 4
average_decay = 0.8
dice_weight = 1.0
phantoms = 0
rows = 48
columns = 56

[augmentation]
rotation_degrees = 5.0
lung_jitter = 0.0

[split]
train = ["chests-p0"]
validation = ["chests-p1"]
test = []
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Grids this small cost more in waiting for each other than in computing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def patients() -> list[LungCase]:
    return [phantom_case(seed, SPACING_MM) for seed in (4, 5)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, patients: list[LungCase]) -> Path:
    """The phantoms laid out like ``imlab_chest_ct``, stored from head to feet and back to front."""
    folder = tmp_path_factory.mktemp("data") / "chests"
    folder.mkdir()
    for number, case in enumerate(patients):
        for suffix, values in (("", case.hu.astype(np.int16)), ("-msk", case.lung.astype(np.uint8) * 255)):
            image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values[::-1, ::-1]))
            image.SetSpacing((SPACING_MM,) * 3)
            image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, -1))
            SimpleITK.WriteImage(image, folder / f"p{number}{suffix}.nii.gz")
    return folder.parent


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "lungs"
    folder.mkdir()
    card = card_path(models_directory() / "lungs").read_text(encoding="utf-8")
    for old, new in CARD_CHANGES.items():
        assert old in card
        card = card.replace(old, new)
    (folder / "untrained.toml").write_text(card, encoding="utf-8")
    (folder / "training.toml").write_text(PROTOCOL, encoding="utf-8")
    return folder


def test_chests_are_turned_to_the_patient(data: Path, patients: list[LungCase]) -> None:
    found = load_lung_cases(data, None, SPACING_MM)
    assert [case.name for case in found] == ["chests-p0", "chests-p1"]
    for case, patient in zip(found, patients, strict=True):
        assert np.array_equal(case.lung, patient.lung)
        assert np.array_equal(case.hu, patient.hu.clip(-1024, 1500))
        assert (case.spacing_mm, case.step_mm) == (SPACING_MM, SPACING_MM)
    with pytest.raises(DataError, match="lacks nobody, which the split"):
        load_lung_cases(data, {"nobody"}, SPACING_MM)
    with pytest.raises(DataError, match="no chests with lung masks"):
        load_lung_cases(data / "chests" / "none", None, SPACING_MM)


def test_loss_falls_dice_rises_and_an_interrupted_run_goes_on(
    data: Path,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train_lung_model(source, data, tmp_path / "lungs", epochs=2)
    with pytest.raises(DataError, match="add --resume"):
        train_lung_model(source, data, tmp_path / "lungs")
    card = train_lung_model(source, data, tmp_path / "lungs", resume=True)
    with (tmp_path / "lungs" / "log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 5))
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])
    assert float(rows[-1]["validation_dice"]) > max(0.8, float(rows[0]["validation_dice"]))
    assert card.figures == ()
    arguments = [
        "x",
        "evaluate",
        "lungs",
        "--models",
        str(tmp_path),
        "--data",
        str(data / "chests"),
        "--json",
    ]
    monkeypatch.setattr("sys.argv", arguments)
    assert main() == 0
    scores = json.loads(capsys.readouterr().out)["cases"]
    assert [(s["case"], s["use"], s["label"]) for s in scores] == [
        ("chests-p0", "train", "lung"),
        ("chests-p0", "train", "lung_classical"),
        ("chests-p1", "validation", "lung"),
        ("chests-p1", "validation", "lung_classical"),
    ]
    assert all(score["dice"] > 0.9 for score in scores)


def test_airless_lung_is_put_into_lungs_only(patients: list[LungCase]) -> None:
    rng = np.random.default_rng(2)
    hu, lung, airless = draw_batch(patients, PLANES_MM, 40, (48, 56), STEADY, rng)
    assert hu.shape == (40, 3, 48, 56) and lung.shape == airless.shape == (40, 48, 56)
    marked = airless > 0.5
    assert 0.05 < float(marked.sum() / lung.sum()) < 0.6
    assert bool((lung[marked] > 0.5).all())
    assert float(hu[:, 1][marked].median()) > -100
    assert float(hu[:, 1][(lung > 0.5) & (airless == 0)].median()) < -700


def test_variation_moves_slices_and_masks_together(patients: list[LungCase]) -> None:
    spec = AugmentationSpec(lung_jitter=0.0, noise_hu=0.0)
    hu, lung, airless = draw_batch(patients, PLANES_MM, 24, (48, 56), spec, np.random.default_rng(3))
    inside = (lung > 0.5) & (airless == 0)
    assert float((hu[:, 1][inside] < -500).float().mean()) > 0.85


def test_airless_lung_weighs_more() -> None:
    logits = torch.zeros(1, 4, 4)
    logits[0, 0, 0] = -5
    lung = torch.ones(1, 4, 4)
    marked = torch.zeros(1, 4, 4)
    plain = lung_loss(logits, lung, marked, 0.0)
    marked[0, 0, 0] = 1
    assert float(lung_loss(logits, lung, marked, 0.0)) > 1.4 * float(plain)


def test_equalised_pictures_come_near_their_tissues(tmp_path: Path) -> None:
    for folder in ("ct", "lungs"):
        (tmp_path / "covid20" / folder).mkdir(parents=True)
    grey = np.full((64, 64), 5, np.uint8)
    grey[8:56, 4:60] = 150
    lung = np.zeros((64, 64), np.uint8)
    lung[20:44, 10:28] = lung[20:44, 36:54] = 255
    grey[lung > 0] = 60
    grey[46:50, 30:34] = 240
    for number in (0, 8):
        Image.fromarray(grey).save(tmp_path / "covid20" / "ct" / f"{number:04d}.png")
        Image.fromarray(lung).save(tmp_path / "covid20" / "lungs" / f"{number:04d}.png")
    (case,) = load_lung_cases(tmp_path, None, 6.25)
    assert case.name == "clahe-001" and case.step_mm == 0 and len(case.hu) == 2
    assert case.hu.shape[1:] == (64, 64)
    assert abs(float(np.median(case.hu[case.lung])) + 850) < 20
    assert abs(float(case.hu[0, 15, 30]) - 40) < 30 and case.hu[0, 0, 0] < -950


def test_the_published_split_holds_patients_apart() -> None:
    split = read_lung_training(models_directory() / "lungs").split
    patients = {use: {name[-3:].lstrip("0e-") for name in names} for use, names in vars(split).items()}
    seen = patients["train"] | patients["validation"]
    assert "imlab_chest_ct-id002" in split.test and "clahe-c" in split.test
    assert not seen & patients["test"] and not patients["train"] & patients["validation"]

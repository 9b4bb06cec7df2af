"""Training and scoring of lobes on masks of phantoms: loss falls, Dice rises, an interrupted run goes on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from dicomnode.segment.card import models_directory
from dicomnode.segment.lobe_card import load_lobe_card
from dicomnode.segment.lobes import LobeModel
from dicomnode.train.__main__ import main
from dicomnode.train.cases import DataError
from dicomnode.train.lobe_cases import TOTALSEG_FILES, load_lobe_case, lobe_case_names
from dicomnode.train.lobe_model import read_lobe_protocol, score_lobe_case, train_lobe_model
from dicomnode.train.lobe_shapes import lung_shapes, phantom_case, sample, varied_sample

GRID = (24, 16, 16)
CARD_CHANGES = {
    "slices = 40": "slices = 24",
    "rows = 32": "rows = 16",
    "columns = 24": "columns = 16",
    "width = 16": "width = 4",
}
PROTOCOL = """[protocol]
seed = 3
epochs = 40
batch_size = 4
learning_rate = 0.01
weight_decay = 0.0
warmup_epochs = 0.5
average_decay = 0.5
dice_weight = 1.0
phantoms = 0
validate_every = 20

[split]
train = ["p0", "p1"]
validation = ["p2"]
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
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three phantoms laid out like ``totalseg_masks``, rows and columns stored the other way round."""
    data = tmp_path_factory.mktemp("data")
    for seed in range(3):
        case = phantom_case(seed, 8.0)
        folder = data / "totalseg" / f"p{seed}"
        folder.mkdir(parents=True)
        for file, lobe in TOTALSEG_FILES.items():
            image = SimpleITK.GetImageFromArray((case.lobes == lobe).astype(np.uint8)[:, ::-1, ::-1])
            image.SetSpacing((8.0, 8.0, 8.0))
            image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
            SimpleITK.WriteImage(image, folder / file)
    return data


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "lobes"
    folder.mkdir()
    card = (models_directory() / "lobes" / "model.toml").read_text(encoding="utf-8")
    for old, new in CARD_CHANGES.items():
        assert old in card
        card = card.replace(old, new)
    (folder / "model.toml").write_text(card, encoding="utf-8")
    (folder / "training.toml").write_text(PROTOCOL, encoding="utf-8")
    return folder


def test_masks_are_turned_to_the_patient(masks: Path) -> None:
    assert lobe_case_names(masks / "totalseg") == ["p0", "p1", "p2"]
    case = load_lobe_case(masks / "totalseg", "p1")
    assert np.array_equal(case.lobes, phantom_case(1, 8.0).lobes)
    assert case.spacing_mm == (8.0, 8.0, 8.0)


def test_loss_falls_and_dice_rises_and_an_interrupted_run_goes_on(
    masks: Path, source: Path, tmp_path: Path
) -> None:
    train_lobe_model(source, masks, tmp_path / "run", epochs=20)
    with pytest.raises(DataError, match="add --resume"):
        train_lobe_model(source, masks, tmp_path / "run")
    card = train_lobe_model(source, masks, tmp_path / "run", resume=True)
    with (tmp_path / "run" / "log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [20, 40]
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    assert float(rows[-1]["validation_dice"]) > float(rows[0]["validation_dice"])
    trained = LobeModel(load_lobe_card(tmp_path / "run"))
    scores = score_lobe_case(trained, phantom_case(2, 8.0), "test")
    assert [s.label for s in scores] == [
        "right_upper",
        "right_middle",
        "right_lower",
        "left_upper",
        "left_lower",
    ]
    assert np.mean([s.dice for s in scores if s.dice is not None]) > 0.6
    assert card.figures == ()


def test_a_case_of_the_split_that_is_not_there(masks: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data lack p0, p1"):
        train_lobe_model(source, masks / "absent", tmp_path / "run")


def test_the_command_scores_a_folder(
    masks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["x", "evaluate", "lobes", "--data", str(masks / "totalseg"), "--json"])
    assert main() == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"]["name"] == "lobes"
    assert len(document["cases"]) == 15 and {case["use"] for case in document["cases"]} == {"unseen"}
    assert all(case["dice"] > 0.7 for case in document["cases"] if case["label"] != "right_middle")


def test_a_shape_is_mirrored_and_varied_without_leaving_its_lung() -> None:
    right, left = lung_shapes(phantom_case(0, 8.0))
    for shape in (right, left):
        image, target = sample(shape, GRID)
        inside = image[0] > 0
        assert inside[:, :, :8].sum() > 0 and float(target.sum(dim=0)[inside].mean()) > 0.9
        random = np.random.default_rng(1)
        varied = [varied_sample(shape, GRID, random) for _ in range(6)]
        assert len({float(changed.sum()) for changed, _ in varied}) == 6
        for changed, aim in varied:
            assert changed.shape == (8, *GRID) and aim.shape == (3, *GRID)
            assert float(aim.sum(dim=0).max()) <= 1.001
    assert left.parts.max() == 3 and not (left.parts == 2).any()
    lower = [float(np.argwhere(shape.parts == 3)[:, 0].mean()) for shape in (right, left)]
    upper = [float(np.argwhere(shape.parts == 1)[:, 0].mean()) for shape in (right, left)]
    assert lower[0] < upper[0] and lower[1] < upper[1]  # slices run from feet to head


def test_the_published_split_holds_cases_apart() -> None:
    _, split = read_lobe_protocol(models_directory() / "lobes")
    assert len(split.test) == 7 and "s0011" in split.test
    assert len(split.train) + len(split.validation) == 24

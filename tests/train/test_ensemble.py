"""An ensemble trained on several small drawn sets: it learns, leaves its folds out, resumes and is scored."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dicomnode.segment.card import load_card, read_card
from dicomnode.segment.lesions import LesionModel
from dicomnode.train.cases import DataError
from dicomnode.train.clahe import OTHER_SCANNERS
from dicomnode.train.ensemble_training import CLAHE, EXAMPLES_FILE, LINEAR, MEDSEG
from dicomnode.train.evaluation import score_cases
from dicomnode.train.linear import load_linear
from dicomnode.train.protocol import read_ensemble
from dicomnode.train.surety import held_out_parts
from dicomnode.train.training import train_model
from tests.train.labelled_folder import make_linear_set

TRAINING = """[protocol]
seed = 1
epochs = 3
batch_size = 4
learning_rate = 3e-3
weight_decay = 0.0
warmup_epochs = 0.5
average_decay = 0.7
dice_weight = 1.0
split_loss_weight = 0.5
split_repeats = 2
weak_split_hu = -300
equalised_steps = 2
rows = 64
columns = 80
partner = "medip_unet2d"

[folds]
held_out = [["case02", "slice000"], ["case03"]]
test = ["case01"]
partner = ["case01", "case02"]
"""

BEST = Path(__file__).parents[2] / "models" / "best"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Pictures this small are done before a second thread has woken up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` and ``models/few``: the card of ``best`` with two narrow members."""
    root = tmp_path_factory.mktemp("workshop")
    _draw_sets(root / "data")
    model = root / "models" / "few"
    model.mkdir(parents=True)
    text = (BEST / "model.toml").read_text(encoding="utf-8")
    for key, value in (("members", "2"), ("width", "8"), ("spacing_mm", "4.0"), ("name", '"few"')):
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, count=1, flags=re.MULTILINE)
    (model / "model.toml").write_text(text, encoding="utf-8")
    (model / "training.toml").write_text(TRAINING, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def trained(workshop: Path) -> Path:
    out = workshop / "out" / "few"
    train_model("few", workshop / "data", out, models=workshop / "models")
    return out


def test_each_member_learns(trained: Path) -> None:
    for member in range(2):
        with (trained / f"member{member}.csv").open(encoding="utf-8") as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        assert len(losses) == 3
        assert losses[-1] < losses[0]


def test_the_trained_folder_is_a_model_whose_figures_are_yet_to_be_measured(trained: Path) -> None:
    card = load_card(trained)
    assert card.name == "few"
    assert not card.figures
    assert LesionModel(card).card.weights.sha256 == card.weights.sha256


def test_each_case_is_judged_by_members_that_never_saw_it(trained: Path, workshop: Path) -> None:
    ensemble = read_ensemble(trained)
    assert ensemble is not None
    folds = ensemble[1]
    assert [folds.judges(name) for name in ("case01", "case02", "case03", "case09")] == [
        (0, 1, 2),
        (0, 2),
        (1,),
        None,
    ]
    assert folds.everybody == (0, 1, 2)
    model = LesionModel(load_card(trained))
    cases = load_linear(workshop / "data" / LINEAR)
    scores = score_cases(model, cases, folds, cross_validate=True)
    assert [s.use for s in scores] == ["test", "cross-validated", "cross-validated"]
    assert [s.use for s in score_cases(model, cases, folds)] == ["test", "train", "train"]


def test_a_resumed_training_repeats_an_unbroken_one(trained: Path, workshop: Path) -> None:
    out = workshop / "out" / "resumed"
    train_model("few", workshop / "data", out, models=workshop / "models", epochs=2)
    with pytest.raises(DataError, match="--resume"):
        train_model("few", workshop / "data", out, models=workshop / "models")
    train_model("few", workshop / "data", out, models=workshop / "models", epochs=3, resume=True)
    state = torch.load(out / "member0.pt", weights_only=True)
    assert state["numbers"][0] == 3


def test_patients_of_other_scanners_are_turned_upright(trained: Path) -> None:
    examples = torch.load(trained / EXAMPLES_FILE, weights_only=False)
    for name in OTHER_SCANNERS:
        (example,) = examples[name]
        rows = torch.nonzero(example.planes[2] > 0.5)[:, 0].float()
        assert rows.mean() > example.planes.shape[1] / 2
        assert torch.isfinite(example.planes).all()


def test_held_out_cases_are_measured_part_by_part_by_members_that_never_saw_them(
    trained: Path, workshop: Path
) -> None:
    parts = held_out_parts([trained], workshop / "data")
    assert {part.case for part in parts} == {"case01", "case02", "case03", "slice000"}
    whole = {part.case: part for part in parts if part.size == "whole"}
    for name in ("case01", "case02", "case03"):
        for size in ("lobe", "region"):
            pieces = [part for part in parts if part.case == name and part.size == size]
            for amount in ("lung_ml", "true_ml", "found_ml", "low_ml", "true_g"):
                total = sum(getattr(piece, amount) for piece in pieces)
                assert total == pytest.approx(getattr(whole[name], amount), rel=0.01, abs=0.01)
        assert whole[name].high_ml <= whole[name].low_ml
        assert whole[name].true_ggo_ml is None
    assert whole["slice000"].true_ggo_ml is not None
    assert whole["slice000"].true_ml == pytest.approx(
        (whole["slice000"].true_ggo_ml or 0) + (whole["slice000"].true_consolidation_ml or 0)
    )


def test_another_protocol_trains_as_many_members_as_it_has_folds(workshop: Path, tmp_path: Path) -> None:
    other = TRAINING.replace('held_out = [["case02", "slice000"], ["case03"]]', 'held_out = [["case03"]]')
    other = other.replace('test = ["case01"]', 'test = []\ntrain = ["case01", "case02", "slice000"]')
    other = other.replace('partner = ["case01", "case02"]', "partner = []")
    (workshop / "models" / "few" / "one.toml").write_text(other, encoding="utf-8")
    out = tmp_path / "one"
    card = train_model(
        "few", workshop / "data", out, models=workshop / "models", epochs=1, protocol_file="one.toml"
    )
    assert card.network.parameters["members"] == 1
    ensemble = read_ensemble(out)
    assert ensemble is not None and ensemble[1].folds == (("case03",),)
    LesionModel(load_card(out))


def test_data_without_a_case_of_the_folds_are_refused(workshop: Path, tmp_path: Path) -> None:
    model = tmp_path / "models" / "few"
    model.mkdir(parents=True)
    (model / "model.toml").write_text((workshop / "models/few/model.toml").read_text(), encoding="utf-8")
    (model / "training.toml").write_text(TRAINING.replace("slice000", "slice099"), encoding="utf-8")
    assert read_card(model).name == "few"
    with pytest.raises(DataError, match="slice099"):
        train_model("few", workshop / "data", tmp_path / "out", models=tmp_path / "models")


def _draw_sets(data: Path) -> None:
    """The linear set; its slices equalised on a wide field; one slice a scanner upside down; MedSeg's one."""
    linear, clahe, medseg = data / LINEAR, data / CLAHE, data / MEDSEG
    make_linear_set(linear, cases=3, slices=9)
    with (linear / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (linear / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*rows[0], "dstaroff_index"))
        for number, row in enumerate(rows):
            writer.writerow((*row.values(), number))
            _draw_wide(linear / "img" / row["file"], clahe, number, upside_down=False)
    for numbers in OTHER_SCANNERS.values():
        _draw_wide(linear / "img" / rows[0]["file"], clahe, numbers[0], upside_down=True)
    for folder in ("Imgs", "GT"):
        (medseg / folder).mkdir(parents=True)
    picture = np.asarray(Image.open(linear / "img" / rows[0]["file"]))
    lesion = np.asarray(Image.open(linear / "infection" / rows[0]["file"])) > 0
    Image.fromarray(np.rot90(picture)).save(medseg / "Imgs" / "0.png")
    Image.fromarray(np.rot90(lesion.astype(np.uint8))).save(medseg / "GT" / "0.png")


def _draw_wide(picture: Path, clahe: Path, number: int, *, upside_down: bool) -> None:
    for kind, folder in (("ct", "img"), ("lungs", "lung"), ("covid", "infection")):
        small = np.asarray(Image.open(picture.parents[1] / folder / picture.name))
        wide = np.zeros((256, 256), np.uint8)
        wide[80 : 80 + small.shape[0], 70 : 70 + small.shape[1]] = small
        if kind == "ct":
            wide = (255 * np.sqrt(wide / 255)).astype(np.uint8)
        if kind == "covid":
            wide[:120] = 0
        (clahe / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(wide[::-1] if upside_down else wide).save(clahe / kind / f"{number:04d}.png")

"""Training end to end on a small drawn set: it learns, resumes, exports and is scored."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dicomnode.segment.card import ModelError, load_card, models_directory
from dicomnode.segment.lesions import LesionModel
from dicomnode.train.__main__ import main
from dicomnode.train.cases import DataError
from dicomnode.train.datasets import load_cases
from dicomnode.train.evaluation import Score, score_cases, summarise
from dicomnode.train.protocol import Split, read_protocol
from dicomnode.train.training import train_model
from tests.model_folder import density_network, make_model
from tests.train.labelled_folder import make_linear_set

TRAINING = """[protocol]
seed = 1
epochs = 10
batch_size = 2
learning_rate = 0.1
momentum = 0.9
weight_decay = 0.0
warmup_epochs = 0.5
negatives_per_positive = 0.5
dice_weight = 0.5
average_decay = 0.7
rows = 64
columns = 80

[split]
train = ["case01", "case02"]
validation = ["case03"]
test = []
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Pictures this small are done before a second thread has woken up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` and ``models/small``."""
    root = tmp_path_factory.mktemp("workshop")
    make_linear_set(root / "data", slices=6)
    model = root / "models" / "small"
    make_model(model)
    text = (model / "model.toml").read_text(encoding="utf-8").replace("spacing_mm = 2.0", "spacing_mm = 4.0")
    figures = (
        '\n[[figures]]\ndata = "older weights"\nlabel = "lesion"\ncases = 1\ndice_mean = 0.1\ndice_sd = 0\n'
    )
    figures += "sensitivity_mean = 0\nppv_mean = 0\nvolume_bias_percent = 0\nvolume_mae_percent = 0\n"
    (model / "model.toml").write_text(text + figures, encoding="utf-8")
    (model / "training.toml").write_text(TRAINING, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def trained(workshop: Path) -> Path:
    out = workshop / "out" / "small"
    train_model("small", workshop / "data", out, models=workshop / "models")
    return out


def _log(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_loss_falls_dice_rises_and_the_log_says_so(trained: Path) -> None:
    rows = _log(trained)
    assert [int(row["epoch"]) for row in rows] == list(range(1, 11))
    assert float(rows[-1]["loss"]) < 0.7 * float(rows[0]["loss"])
    assert float(rows[-1]["validation_dice"]) > max(0.6, float(rows[0]["validation_dice"]))
    assert float(rows[-1]["learning_rate"]) < 0.1 * float(rows[1]["learning_rate"])


def test_what_training_writes_is_a_model_that_loads_without_the_figures_of_older_weights(
    trained: Path, workshop: Path
) -> None:
    card = load_card(trained)
    assert card.figures == ()
    scores = score_cases(LesionModel(card), load_cases(workshop / "data"), read_protocol(trained)[1])
    lesion = {score.case: score.dice for score in scores}
    assert lesion["case03"] is not None and lesion["case03"] > 0.6


def test_a_resumed_training_repeats_an_unbroken_one(trained: Path, workshop: Path) -> None:
    out = workshop / "broken"
    models = workshop / "models"
    data = workshop / "data"

    class KilledError(Exception):
        pass

    def kill(epoch: int, done: float, loss: float) -> None:
        if epoch == 2:
            raise KilledError

    with pytest.raises(KilledError):
        train_model("small", data, out, models=models, progress=kill)
    assert len(_log(out)) == 2
    resumed = train_model("small", data, out, models=models, resume=True)
    assert resumed.weights.sha256 == load_card(trained).weights.sha256


def test_another_training_is_not_overwritten(trained: Path, workshop: Path) -> None:
    with pytest.raises(DataError, match="already holds a training; add --resume"):
        train_model("small", workshop / "data", trained, models=workshop / "models")


def test_minutes_end_a_training(workshop: Path, tmp_path: Path) -> None:
    train_model("small", workshop / "data", tmp_path, models=workshop / "models", minutes=1e-6)
    assert len(_log(tmp_path)) == 1


def test_a_model_that_is_not_there_and_data_that_lack_a_case_are_told(workshop: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model card"):
        train_model("absent", workshop / "data", tmp_path, models=workshop / "models")
    make_linear_set(tmp_path / "two", cases=2, slices=1)
    with pytest.raises(DataError, match="lack case03"):
        train_model("small", tmp_path / "two", tmp_path / "out", models=workshop / "models")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("weight_decay", "weigth_decay", "unknown or lacks keys: weight_decay, weigth_decay"),
        ("test = []", 'test = ["case01"]', "twice"),
        ("epochs = 10", "epochs = 0", "must be positive"),
        ("[split]", "[spilt]", "sections"),
    ],
)
def test_a_wrong_protocol_says_what_is_wrong(
    workshop: Path, tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    (tmp_path / "training.toml").write_text(TRAINING.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=sentence):
        read_protocol(tmp_path)


def test_scores_are_those_counted_by_hand(workshop: Path, tmp_path: Path) -> None:
    model = LesionModel(make_model(tmp_path, density_network()))
    case = load_cases(workshop / "data")[0]
    (score,) = score_cases(model, [case], Split(("case01",), ("case02",), ()))
    found = [
        model.label(hu[None], lung[None], (5.0, case.spacing_mm, case.spacing_mm))[0] >= 2
        for hu, lung in zip(case.hu, case.lung, strict=True)
    ]
    true = sum(int((f & t).sum()) for f, t in zip(found, case.lesion, strict=True))
    marked, real = sum(int(f.sum()) for f in found), sum(int(t.sum()) for t in case.lesion)
    assert score.use == "train" and 0 < true < real
    assert score.sensitivity == pytest.approx(true / real)
    assert score.ppv == pytest.approx(true / marked)
    assert score.dice == pytest.approx(2 * true / (marked + real))
    assert score.volume_error_percent == pytest.approx(100 * (marked / real - 1))


def test_a_summary_keeps_uses_apart_and_leaves_undefined_ratios_out() -> None:
    scores = [
        Score("a", "test", "lesion", 0.8, 0.7, 0.9, -20.0),
        Score("b", "test", "lesion", 0.6, None, 0.5, 10.0),
        Score("c", "train", "lesion", 1.0, 1.0, 1.0, 0.0),
    ]
    test, train = summarise(scores, "set")
    assert (test.data, test.cases, train.data) == ("set (test)", 2, "set (train)")
    assert test.dice_mean == pytest.approx(0.7) and test.dice_sd == pytest.approx(0.1)
    assert test.sensitivity_mean == pytest.approx(0.7)
    assert test.volume_bias_percent == pytest.approx(-5) and test.volume_mae_percent == pytest.approx(15)


def test_the_published_split_has_no_case_twice_and_covers_the_public_set() -> None:
    _, split = read_protocol(models_directory() / "medip_unet2d")
    names = split.train + split.validation + split.test
    assert sorted(names) == [f"case{n:02d}" for n in (1, 2, 4, 5, 6, 7, 9, 10)]


def test_the_commands_train_and_evaluate_from_outside(
    workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small"
    common = ["small", "--data", str(workshop / "data")]
    training = ["train", *common, "--out", str(out), "--epochs", "1", "--models", str(workshop / "models")]
    run = subprocess.run(
        [sys.executable, "-m", "dicomnode.train", *training],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    digest = load_card(out).weights.sha256
    assert digest in run.stdout

    assert _main(monkeypatch, "evaluate", *common, "--models", str(tmp_path), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["use"] for row in document["cases"]] == ["train", "train", "validation"]
    assert document["model"]["weights_sha256"] == digest
    assert _main(monkeypatch, "evaluate", *common, "--models", str(tmp_path)) == 0
    assert "case03" in capsys.readouterr().out


def test_a_command_that_fails_says_why_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(monkeypatch, "evaluate", "absent", "--data", str(tmp_path)) == 1
    assert capsys.readouterr().err.startswith("no model card at")


def _main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["dicomnode.train", *arguments])
    return main()

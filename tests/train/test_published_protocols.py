"""Each published model, made small, learns a drawn set by its protocol, and answers alike in any batch."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dicomnode.segment.card import load_card, models_directory
from dicomnode.segment.card_file import card_path
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.networks.unet2d import UNet2d
from dicomnode.train.bodies import in_body
from dicomnode.train.cases import DataError
from dicomnode.train.datasets import load_cases
from dicomnode.train.protocol import Protocol, read_protocol
from dicomnode.train.trainer import fraction_done, mind_plateau, new_state
from dicomnode.train.training import train_model
from tests.model_folder import make_model
from tests.train.labelled_folder import make_linear_set

SMALL = {
    "covid_lesion_net": {
        "width": "6",
        "spacing_mm": "4.0",
        "rows": "64",
        "columns": "80",
        "learning_rate": "0.01",
    },
    "deeplung_convlstm": {
        "growth": "4",
        "layers": "2",
        "hidden": "4",
        "rows": "48",
        "columns": "64",
        "learning_rate": "0.1",
    },
    "marseille_ldct": {
        "width": "6",
        "spacing_mm": "5.0",
        "rows": "64",
        "columns": "96",
        "learning_rate": "0.002",
    },
}
COMMON = {"epochs": "12", "batch_size": "2", "average_decay": "0.8", "patches": "false"}
SPLIT = '[split]\ntrain = ["case01", "case02"]\nvalidation = ["case03"]\ntest = []\n'


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Pictures this small are done before a second thread has woken up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("drawn")
    make_linear_set(directory, slices=8)
    return directory


@pytest.fixture(scope="module", params=sorted(SMALL))
def trained(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one model, trained."""
    root = tmp_path_factory.mktemp(request.param)
    folder = root / "models" / request.param
    folder.mkdir(parents=True)
    source = models_directory() / request.param
    for path in (card_path(source), source / "training.toml"):
        text = path.read_text(encoding="utf-8")
        for key, value in {**COMMON, **SMALL[request.param]}.items():
            text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        text = re.sub(r"^\[(split|cross_validation)\].*", SPLIT, text, flags=re.MULTILINE | re.DOTALL)
        (folder / path.name).write_text(text, encoding="utf-8")
    out = root / "out"
    train_model(request.param, data, out, models=root / "models")
    return out


def test_loss_falls_and_dice_rises(trained: Path) -> None:
    with (trained / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses, dice = ([float(row[key]) for row in rows] for key in ("loss", "validation_dice"))
    assert losses[-1] < losses[0]
    assert max(dice[-3:]) > max(0.5, dice[0])


def test_the_batch_size_changes_no_more_than_a_voxel_in_10_000_and_odd_input_gives_no_nan(
    trained: Path, data: Path
) -> None:
    model = LesionModel(load_card(trained))
    case = in_body(load_cases(data)[2])
    hu, lung = np.stack(case.hu), np.stack(case.lung)
    spacing = (5.0, case.spacing_mm, case.spacing_mm)
    reference = model.label(hu, lung, spacing, batch_size=8)
    assert (reference >= 2).any()
    for size in (1, 3):
        other = model.label(hu, lung, spacing, batch_size=size)
        assert (other != reference).sum() <= lung.sum() / 10_000
    for value in (-3024, -1024, 0, 3071, 32767):
        found = model.probabilities(np.full_like(hu[:2], value), lung[:2], spacing)
        assert found.lesion.max() <= 200


@pytest.mark.parametrize("name", sorted(SMALL))
def test_no_patient_is_trained_on_and_tested(name: str) -> None:
    _, split = read_protocol(models_directory() / name)
    assert set(split.test) >= {"case02", "case09"} and "case06" in split.validation


def test_the_paper_s_protocol_of_deeplung_is_there_with_its_numbers() -> None:
    directory = models_directory() / "deeplung_convlstm"
    protocol, _ = read_protocol(directory, file="published.toml")
    assert protocol.optimizer == "sgd" and protocol.loss == "rmi" and protocol.schedule == "plateau"
    assert (protocol.momentum, protocol.learning_rate, protocol.weight_decay) == (0.9, 1e-3, 1e-6)
    optimizer = new_state(UNet2d(width=4), protocol).optimizer
    assert not optimizer.defaults["nesterov"] and optimizer.defaults["momentum"] == 0.9
    assert (protocol.plateau_factor, protocol.plateau_patience, protocol.smallest_rate) == (0.1, 10, 1e-7)
    assert (protocol.batch_size, protocol.rows, protocol.columns) == (32, 256, 256)
    tested = [read_protocol(directory, fold, "published.toml")[1].test for fold in range(5)]
    names = [name for fold in tested for name in fold]
    assert len(set(names)) == len(names) == 8


def test_the_paper_s_training_of_deeplung_ends_when_the_rate_has_fallen_to_1e_7() -> None:
    protocol, _ = read_protocol(models_directory() / "deeplung_convlstm", file="published.toml")
    state = new_state(UNet2d(width=4), protocol)
    epochs = 0
    while fraction_done(state, protocol, None, 0.0) < 1:
        mind_plateau(state, 1.0, protocol)
        epochs += 1
    # the first epoch is the best one, then four times 11 without a better one
    assert epochs == 45 and state.plateau_rate == pytest.approx(1e-7)


def test_chests_without_lesions_are_trained_on_in_every_fold() -> None:
    directory = models_directory() / "deeplung_convlstm"
    for fold in range(5):
        _, split = read_protocol(directory, fold)
        assert {"imlab_chest_ct-id001", "cip_ct64_chest-ct"} < set(split.train)
        assert len(split.uses) == 10


def _protocol() -> Protocol:
    return Protocol(1, 1, 1, 1e-3, 0.0, 0.0, 8, 8)


def test_unknown_choices_are_refused() -> None:
    for key in ("optimizer", "loss", "schedule"):
        with pytest.raises(ValueError, match=f"{key} must be one of"):
            Protocol(**{**vars(_protocol()), key: "other"})


def test_a_fold_s_split_goes_with_its_weights(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "small"
    make_model(folder)
    protocol = (
        "seed = 1\nepochs = 1\nbatch_size = 4\nlearning_rate = 0.01\nweight_decay = 0.0\n"
        "negatives_per_positive = 0.0\nrows = 32\ncolumns = 32\n"
    )
    groups = '[cross_validation]\ngroups = [["case01"], ["case02"], ["case03"]]\n'
    for name in ("training.toml", "other.toml"):
        (folder / name).write_text(f"[protocol]\n{protocol}\n{groups}", encoding="utf-8")
    out = tmp_path / "out"
    train_model("small", data, out, models=tmp_path / "models", fold=1, protocol_file="other.toml")
    _, split = read_protocol(out)
    assert (split.test, split.validation, split.train) == (("case02",), ("case03",), ("case01",))
    with pytest.raises(DataError, match="has folds 0 to 2, not 3"):
        read_protocol(folder, 3, "other.toml")
    with pytest.raises(DataError, match="one split, not folds"):
        read_protocol(out, 1)


def test_on_a_plateau_the_rate_falls_until_training_ends() -> None:
    protocol = Protocol(
        **{**vars(_protocol()), "schedule": "plateau", "plateau_patience": 2, "smallest_rate": 1e-5}
    )
    state = new_state(UNet2d(width=4), protocol)
    rates = []
    for loss in (3.0, 2.0, 2.5, 2.5, 2.5, 1.0, 1.5, 1.5, 1.5):
        mind_plateau(state, loss, protocol)
        rates.append(state.plateau_rate)
    assert rates == pytest.approx([1e-3] * 4 + [1e-4] * 4 + [1e-5])
    assert fraction_done(state, protocol, None, 0.0) == 1.0

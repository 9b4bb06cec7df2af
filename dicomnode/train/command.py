"""``dicomnode train`` and ``dicomnode evaluate``: arguments and what they run.

Each command is two functions, ``add_*_arguments(parser)`` and ``run_*(arguments) -> exit status``: the
command line wires it in one line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from dicomnode.segment.card import Figures, ModelCard, load_card, models_directory
from dicomnode.segment.lesions import LesionModel, choose_device
from dicomnode.segment.lobe_card import LobeCard, is_lobe_model, load_lobe_card
from dicomnode.segment.lobes import LobeModel
from dicomnode.segment.lung_card import LungCard, is_lung_model, load_lung_card
from dicomnode.segment.lung_network import LungNetwork
from dicomnode.segment.segmentation import ModelIdentity
from dicomnode.train.datasets import load_cases
from dicomnode.train.evaluation import Score, score_cases, summarise
from dicomnode.train.lobe_model import score_lobes, train_lobe_model
from dicomnode.train.lung_evaluation import score_lungs
from dicomnode.train.lung_model import train_lung_model
from dicomnode.train.protocol import TRAINING_FILE, Folds, Split, read_ensemble, read_protocol
from dicomnode.train.tables import write_tables
from dicomnode.train.training import train_model
from dicomnode.train.volume_evaluation import score_volumes
from dicomnode.train.volumes import find_volumes


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dicomnode train``."""
    parser.add_argument("model", help="name of the model: a folder with model.toml and training.toml")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of labelled cases (see docs/models.md)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for checkpoint, log, weights and card"
    )
    parser.add_argument(
        "--epochs", type=int, help="stop after so many epochs (default: the model's protocol)"
    )
    parser.add_argument("--minutes", type=float, help="stop after so many minutes of training in all")
    parser.add_argument("--fold", type=int, default=0, help="fold of a cross-validated protocol (from 0)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the network is trained"
    )
    parser.add_argument(
        "--protocol", default=TRAINING_FILE, help="protocol beside the card (default: training.toml)"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--models", type=Path, help="folder of models (default: the installed ones)")


def run_train(arguments: argparse.Namespace) -> int:
    """Train, with a progress bar; 0 when the weights are written."""
    with _bar("training") as (bar, task):

        def show(epoch: int, done: float, loss: float) -> None:
            bar.update(task, completed=done, description=f"epoch {epoch + 1}, loss {loss:.3f}")

        source = (models_directory() if arguments.models is None else arguments.models) / arguments.model
        if train_anatomy := _anatomy_trainer(source):
            anatomy = train_anatomy(
                source,
                arguments.data,
                arguments.out,
                epochs=arguments.epochs,
                minutes=arguments.minutes,
                resume=arguments.resume,
                progress=show,
            )
            return _tell_weights(anatomy)
        card = train_model(
            arguments.model,
            arguments.data,
            arguments.out,
            epochs=arguments.epochs,
            minutes=arguments.minutes,
            resume=arguments.resume,
            fold=arguments.fold,
            protocol_file=arguments.protocol,
            device=choose_device(arguments.device),
            models=arguments.models,
            progress=show,
        )
    return _tell_weights(card)


def _anatomy_trainer(source: Path) -> Callable[..., LobeCard | LungCard] | None:
    """What trains the model in ``source``; ``None`` if it finds lesions."""
    if is_lobe_model(source):
        return train_lobe_model
    return train_lung_model if is_lung_model(source) else None


def _tell_weights(card: ModelCard | LobeCard | LungCard) -> int:
    Console().print(f"{card.weights_path} written, SHA-256 {card.weights.sha256}", soft_wrap=True)
    return 0


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dicomnode evaluate``."""
    parser.add_argument("model", help="name of an installed model")
    parser.add_argument("--data", type=Path, required=True, help="folder laid out like a known labelled set")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the model runs"
    )
    parser.add_argument("--models", type=Path, help="folder of models (default: the installed ones)")
    parser.add_argument(
        "--cross-validate",
        action="store_true",
        help="score a case that an ensemble was trained on by those members that never saw it",
    )
    parser.add_argument(
        "--tables",
        type=Path,
        metavar="DIR",
        help="also write the volumes of the cases the model never saw, for dicomnode agree",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Score every case and print a row a case and label, means apart by the use of a case."""
    root = models_directory() if arguments.models is None else arguments.models
    directory = root / arguments.model
    if is_lobe_model(directory):
        lobes = LobeModel(load_lobe_card(directory))
        with _bar("scoring") as (bar, task):
            scores = score_lobes(lobes, arguments.data, lambda done: bar.update(task, completed=done))
        return _tell_scores(lobes.card.identity, scores, arguments)
    if is_lung_model(directory):
        lungs = LungNetwork(load_lung_card(directory))
        with _bar("scoring") as (bar, task):
            scores = score_lungs(lungs, arguments.data, lambda done: bar.update(task, completed=done))
        return _tell_scores(lungs.card.identity, scores, arguments)
    model = LesionModel(load_card(directory), choose_device(arguments.device))
    with _bar("scoring") as (bar, task):

        def tell(done: float) -> None:
            bar.update(task, completed=done)

        if find_volumes(arguments.data):
            scores = score_volumes(model, arguments.data, tell)
        else:
            cases, split = load_cases(arguments.data), _split(directory)
            scores = score_cases(model, cases, split, tell, cross_validate=arguments.cross_validate)
    return _tell_scores(model.card.identity, scores, arguments)


def _tell_scores(identity: ModelIdentity, scores: list[Score], arguments: argparse.Namespace) -> int:
    figures = summarise(scores, arguments.data.name)
    if arguments.tables is not None:
        write_tables(scores, arguments.tables)
    if arguments.json:
        document = {
            "model": asdict(identity),
            "cases": [asdict(score) for score in scores],
            "summary": [asdict(entry) for entry in figures],
        }
        print(json.dumps(document, indent=2))
    else:
        _print_tables(scores, figures)
    return 0


def _split(directory: Path) -> Split | Folds | None:
    if not (directory / TRAINING_FILE).is_file():
        return None
    ensemble = read_ensemble(directory)
    return read_protocol(directory)[1] if ensemble is None else ensemble[1]


def _print_tables(scores: list[Score], figures: list[Figures]) -> None:
    console = Console()
    cases = Table("case", "use", "label", "Dice", "sensitivity", "PPV", "volume error %")
    for s in scores:
        cells = [_text(s.dice), _text(s.sensitivity), _text(s.ppv), _text(s.volume_error_percent, 1)]
        cases.add_row(s.case, s.use, s.label, *cells)
    console.print(cases)
    means = Table("data", "label", "cases", "Dice", "sensitivity", "PPV", "volume bias %", "volume MAE %")
    for f in figures:
        means.add_row(
            f.data,
            f.label,
            str(f.cases),
            f"{f.dice_mean:.3f} ± {f.dice_sd:.3f}",
            _text(f.sensitivity_mean),
            _text(f.ppv_mean),
            _text(f.volume_bias_percent, 1),
            _text(f.volume_mae_percent, 1),
        )
    console.print(means)


def _text(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


@contextmanager
def _bar(description: str) -> Iterator[tuple[Progress, TaskID]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield bar, bar.add_task(description, total=1.0)

"""The worked example of docs/models.md, taken from its text and done."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from dicomnode.segment.card import installed_models, load_installed_card
from dicomnode.segment.lesions import LesionModel
from dicomnode.train.datasets import load_cases
from dicomnode.train.evaluation import score_case
from dicomnode.train.training import train_model
from tests.train.labelled_folder import make_linear_set

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"


def _blocks() -> tuple[str, str, str]:
    """Network, card and protocol as the document prints them."""
    text = DOCUMENT.read_text(encoding="utf-8")
    example = text[text.index("## Add a model") :]
    network = re.findall(r"```python\n(.*?)```", example, flags=re.DOTALL)[0]
    card, protocol = re.findall(r"```toml\n(.*?)```", example, flags=re.DOTALL)[:2]
    return network, card, protocol


def test_the_worked_example_trains_is_installed_and_finds_lesions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, card, protocol = _blocks()
    module = types.ModuleType("dicomnode.segment.networks.tiny")
    exec(network, module.__dict__)  # what the reader would put into that file
    monkeypatch.setitem(sys.modules, module.__name__, module)
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    (folder / "untrained.toml").write_text(card, encoding="utf-8")
    (folder / "training.toml").write_text(protocol, encoding="utf-8")
    make_linear_set(tmp_path / "data", slices=6)
    train_model("tiny", tmp_path / "data", tmp_path / "installed" / "tiny", models=tmp_path / "models")

    assert [model.name for model in installed_models(tmp_path / "installed")] == ["tiny"]
    model = LesionModel(load_installed_card("tiny", tmp_path / "installed"))
    (score,) = score_case(model, load_cases(tmp_path / "data")[2], "validation")
    assert score.dice is not None and score.dice > 0.6

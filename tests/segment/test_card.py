"""Model cards: strict reading, checksums, where models lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicomnode.segment.card import (
    CARD_FILE,
    ModelError,
    installed_models,
    load_card,
    load_installed_card,
    models_directory,
    read_card,
)
from tests.model_folder import make_model


def _edit(directory: Path, old: str, new: str) -> None:
    path = directory / CARD_FILE
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_card_is_read_with_its_types(tmp_path: Path) -> None:
    card = make_model(tmp_path)
    assert card.labels == ("normal lung", "ground-glass opacity", "consolidation")
    assert card.preprocessing.outside_hu == -3024
    assert card.network.parameters == {"width": 4}
    assert card.identity.weights_sha256 == card.weights.sha256
    assert card.figures == ()


def test_other_weights_than_the_card_s_are_refused(tmp_path: Path) -> None:
    make_model(tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ModelError, match=r"small: the weights .* SHA-256 .* the card says .* reinstall"):
        load_card(tmp_path)


def test_missing_weights_are_told_apart_from_wrong_ones(tmp_path: Path) -> None:
    make_model(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="are missing"):
        load_card(tmp_path)
    assert read_card(tmp_path).name == "small"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("version", "verison", "unknown key verison"),
        ('version = "1"\n', "", "version missing"),
        ("spacing_mm = 2.0", "spacing_mm = 2.0\nspacing_cm = 1", "unknown key spacing_cm"),
        ("spacing_mm = 2.0", 'spacing_mm = "2"', "spacing_mm must be float"),
        ("spacing_mm = 2.0", "spacing_mm = true", "spacing_mm must be float"),
        ("spacing_mm = 2.0", "spacing_mm = 0", "must be positive"),
        ("probability_threshold = 0.5", "probability_threshold = 1.5", "must lie in"),
        ('file = "weights', 'file = "../weights', "beside the card"),
        ("width = 4", 'width = "4"', "parameters must be"),
        ("[postprocessing]", "[postprocessing", "no valid TOML"),
    ],
)
def test_a_wrong_card_says_what_is_wrong(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    make_model(tmp_path)
    _edit(tmp_path, old, new)
    with pytest.raises(ModelError, match=sentence):
        read_card(tmp_path)


def test_no_card_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model card at"):
        load_card(tmp_path)


def test_a_model_without_weights_can_be_trained_but_is_not_installed(tmp_path: Path) -> None:
    make_model(tmp_path / "new")
    (tmp_path / "new" / CARD_FILE).rename(tmp_path / "new" / "untrained.toml")
    assert read_card(tmp_path / "new").name == "small"
    assert installed_models(tmp_path) == []
    for load in (lambda: load_card(tmp_path / "new"), lambda: load_installed_card("new", tmp_path)):
        with pytest.raises(ModelError, match="small has no weights yet; dicomnode train small"):
            load()


def test_the_environment_says_where_models_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(tmp_path / "b")
    make_model(tmp_path / "a")
    (tmp_path / "notes").mkdir()
    monkeypatch.setenv("DICOMNODE_MODELS", str(tmp_path))
    assert [card.directory.name for card in installed_models()] == ["a", "b"]


def test_the_published_models_load_and_carry_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DICOMNODE_MODELS", raising=False)
    cards = {card.name: card for card in installed_models(models_directory())}
    card = cards["medip_unet2d"]
    assert card.weights_path.stat().st_size < 20_000_000
    assert card.licence.startswith("CC BY-NC-SA")
    held_out = [f for f in card.figures if f.data == "covid10_linear (test)" and f.label == "lesion"]
    assert len(held_out) == 1 and held_out[0].cases == 2

"""list the installed models: card, checksum, figures

The figures come from each model's card (models/NAME/model.toml); `dicomnode evaluate` reproduces them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from dicomnode.commands.common import CommandError
from dicomnode.config import load_config
from dicomnode.segment.card import ModelCard, ModelError, installed_models
from dicomnode.segment.lesions import choose_device
from dicomnode.segment.lobe_card import LobeCard, installed_lobe_card
from dicomnode.segment.lung_card import LungCard, installed_lung_card
from dicomnode.segment.runtimes.choose import in_words
from dicomnode.terminal import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Print each model's card."""
    try:
        found: list[ModelCard | LobeCard | LungCard | None] = [
            *installed_models(),
            installed_lobe_card(),
            installed_lung_card(),
        ]
        wanted = load_config(None).analysis.runtime
        cards = [card_content(card) | _runtime(card, wanted) for card in found if card is not None]
    except ModelError as error:
        raise CommandError(str(error)) from error
    if arguments.json:
        print_json(cards)
        return 0
    for card in cards:
        print(f"{card['name']} {card['version']}")
        _print_indented({key: value for key, value in card.items() if key not in ("name", "version")})
    return 0


def _runtime(card: ModelCard | LobeCard | LungCard, wanted: str) -> dict[str, str]:
    """What runs the model here; a GPU, where there is one, has the lesions alone."""
    device = choose_device("auto") if isinstance(card, ModelCard) else "cpu"
    return {"runtime": in_words(card.weights.sha256, torch.device(device), wanted)}


def card_content(card: ModelCard | LobeCard | LungCard) -> dict[str, Any]:
    """The card as plain values."""
    content: dict[str, Any] = json.loads(json.dumps(asdict(card), default=str))
    return content


def _print_indented(values: Mapping[str, Any], depth: int = 1) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            print(f"{'  ' * depth}{key}:")
            _print_indented(value, depth + 1)
        elif isinstance(value, list) and all(isinstance(item, int | float) for item in value):
            print(f"{'  ' * depth}{key}: {', '.join(str(item) for item in value)}")
        elif isinstance(value, list):
            print(f"{'  ' * depth}{key}:")
            for item in value:
                parts = item.items() if isinstance(item, dict) else (("", item),)
                line = ", ".join(f"{name} {part}".strip() for name, part in parts if part != "")
                print(f"{'  ' * (depth + 1)}- {line}")
        else:
            print(f"{'  ' * depth}{key}: {value}")

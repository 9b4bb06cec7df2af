"""list the installed models: card, checksum, figures

The figures come from each model's card (models/NAME/model.toml); `dicomnode evaluate` reproduces them.
"""

from __future__ import annotations

import argparse

from dicomnode.commands.common import CommandError, console, print_json
from dicomnode.segment.card import ModelError, installed_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Print each model's card."""
    try:
        cards = installed_models()
    except ModelError as error:
        raise CommandError(str(error)) from error
    if arguments.json:
        print_json([card.to_json() for card in cards])
        return 0
    out = console()
    for card in cards:
        out.print(f"[bold]{card.name}[/bold] {card.version}")
        for key, value in card.to_json().items():
            if key not in ("name", "version"):
                out.print(f"  {key}: {value}")
    return 0

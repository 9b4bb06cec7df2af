"""train a model by its published protocol

Writes checkpoints, a log of losses and scores, the best weights and a card to OUT. An interrupted run goes on
with --resume.

  dicomnode train medip_unet2d --data DATA --out runs/medip
"""

from __future__ import annotations

import argparse

from dicomnode.commands.common import CommandError
from dicomnode.segment.card import ModelError
from dicomnode.train.cases import DataError
from dicomnode.train.command import add_train_arguments, run_train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_train_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train; 1 when data or model can't be used."""
    try:
        return run_train(arguments)
    except (ModelError, DataError) as error:
        raise CommandError(str(error)) from error

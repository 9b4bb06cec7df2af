"""score a model on labelled cases

Prints Dice, sensitivity, positive predictive value and volume error, one row a case and label, and their
means. Cases the model was trained on are told apart from those it has never seen.

  dicomnode evaluate medip_unet2d --data DATA/covid10_linear
  dicomnode evaluate best --data DATA/covid10_linear --cross-validate --tables volumes
  dicomnode agree volumes/reference.csv volumes/prediction.csv --out agreement
"""

from __future__ import annotations

import argparse

from dicomnode.commands.common import CommandError
from dicomnode.segment.card import ModelError
from dicomnode.train.cases import DataError
from dicomnode.train.command import add_evaluate_arguments, run_evaluate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_evaluate_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate; 1 when data or model can't be used."""
    try:
        return run_evaluate(arguments)
    except (ModelError, DataError) as error:
        raise CommandError(str(error)) from error

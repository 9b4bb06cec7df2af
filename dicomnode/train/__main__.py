"""``python -m dicomnode.train train|evaluate ...``: the two commands without the rest of the node."""

from __future__ import annotations

import argparse
import sys

from dicomnode.segment.card import ModelError
from dicomnode.train.cases import DataError
from dicomnode.train.command import add_evaluate_arguments, add_train_arguments, run_evaluate, run_train


def main() -> int:
    """Parse and run; failures are one sentence on standard error and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m dicomnode.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_train_arguments(commands.add_parser("train", help="train a model by its protocol"))
    add_evaluate_arguments(commands.add_parser("evaluate", help="score a model on labelled cases"))
    arguments = parser.parse_args()
    try:
        return run_train(arguments) if arguments.command == "train" else run_evaluate(arguments)
    except (ModelError, DataError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""analyze a failed or refused series again, or deliver its results now

SERIES is the id that `dicomnode status` lists, or the beginning of it. The running node takes it up within
a second; without a running node it is taken up at the next start.
"""

from __future__ import annotations

import argparse

from dicomnode.commands.common import add_config_argument
from dicomnode.commands.status import open_ledger


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config_argument(parser)
    parser.add_argument("series", metavar="SERIES")


def run(arguments: argparse.Namespace) -> int:
    """Ask for another attempt."""
    with open_ledger(arguments) as ledger:
        series = ledger.retry(arguments.series)
    print(f"series {series.id} is {series.state.value} now")
    return 0

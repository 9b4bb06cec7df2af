"""What several commands share: the configuration option, tables, errors that are told in one sentence."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from dicomnode.config import Config, ConfigError, load_config

SYSTEM_CONFIG = Path("/etc/dicomnode/dicomnode.toml")


class CommandError(Exception):
    """The command can't do its work; the message is one sentence for the person who typed it."""


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """``--config FILE``, the same for every command that needs it."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"configuration (default: {SYSTEM_CONFIG} where it exists, else built-in defaults; "
        "environment variables DICOMNODE_SECTION__KEY win)",
    )


def read_config(arguments: argparse.Namespace) -> Config:
    """The configuration that ``--config`` names.

    Raises
    ------
    CommandError
        With one line a finding.
    """
    path = arguments.config or (SYSTEM_CONFIG if SYSTEM_CONFIG.is_file() else None)
    try:
        return load_config(path)
    except ConfigError as error:
        raise CommandError(f"configuration {path or 'from the environment'} is wrong:\n{error}") from error


def print_json(content: Any) -> None:
    """For scripts: indented JSON on standard output."""
    json.dump(content, sys.stdout, indent=2, ensure_ascii=False)
    print()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """For people: a table as wide as its content needs on a terminal, never cut in a pipe."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console().print(table)


def console() -> Console:
    """Standard output; in a pipe as wide as it takes, so that no cell is cut."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def progress_bars(*, transient: bool = True) -> Progress:
    """Progress bars on standard error, so that standard output stays clean."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=transient,
    )

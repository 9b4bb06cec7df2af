"""What commands print: tables and JSON on standard output, progress bars on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table


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


def when(seconds: float | None) -> str:
    """Local date and time of ``seconds`` since 1970 UTC; empty for ``None``."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def console() -> Console:
    """Standard output; in a pipe as wide as it takes, so that no cell is cut."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def progress_bars() -> Progress:
    """Progress bars on standard error, so that standard output stays clean."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )

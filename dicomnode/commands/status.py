"""list the series the node knows and their states, what is overdue, and what waits for each destination

Purged series are left out unless --all is given.

Examples:
  dicomnode status --config /etc/dicomnode/dicomnode.toml
  dicomnode status --state failed --json
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from dicomnode.commands.common import CommandError, add_config_argument, read_config
from dicomnode.commands.destination_state import DESTINATION_COLUMNS, destination_states
from dicomnode.housekeeping import deadlines_of, overdue_series
from dicomnode.spool.errors import LedgerError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import SeriesRecord
from dicomnode.spool.spool import LEDGER_NAME
from dicomnode.spool.states import SeriesState
from dicomnode.terminal import console, print_json, print_table, when


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config_argument(parser)
    parser.add_argument(
        "--state",
        action="append",
        choices=[state.value for state in SeriesState],
        help="only series in this state; may be given more than once",
    )
    parser.add_argument("--all", action="store_true", help="purged series, too")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Print the series; 1 when one of them failed or is overdue."""
    config = read_config(arguments)
    configured = [destination.name for destination in config.destination]
    with open_ledger(arguments) as ledger:
        states = [SeriesState(state) for state in arguments.state or ()]
        series = [one for one in ledger.list_series(*states) if arguments.all or one.purged_at is None]
        overdue = overdue_series(ledger, deadlines_of(config), time.time())
        destinations = destination_states(ledger, configured)
    if arguments.json:
        print_json(
            {
                "series": [asdict(one) for one in series],
                "overdue": [
                    {"series": one.series.id, "since": one.since, "alarm": one.sentence} for one in overdue
                ],
                "backlog": [asdict(one.backlog) for one in destinations if one.backlog],
                "destinations": [one.as_json() for one in destinations],
            }
        )
    else:
        print_table("Series", COLUMNS, (_row(one) for one in series))
        counts = Counter(one.state.value for one in series)
        console().print(", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "no series yet")
        for one in overdue:
            console().print(f"ALARM since {when(one.since)}: series {one.series.id}: {one.sentence}")
        if destinations:
            print_table("Destinations", DESTINATION_COLUMNS, (one.row() for one in destinations))
        for destination in destinations:
            for sentence in destination.sentences():
                console().print(sentence, markup=False)
    failed = any(one.state is SeriesState.FAILED and one.purged_at is None for one in series)
    return 1 if failed or overdue else 0


COLUMNS = ("Series", "State", "Since", "Instances", "MB", "Reason", "Detail")


def _row(series: SeriesRecord) -> tuple[object, ...]:
    return (
        series.id,
        series.state.value if series.purged_at is None else f"{series.state.value}, purged",
        when(series.state_since),
        series.instances,
        f"{series.bytes / 1e6:.1f}",
        series.reason,
        series.detail or series.completeness,
    )


@contextmanager
def open_ledger(arguments: argparse.Namespace) -> Iterator[Ledger]:
    """The ledger of the configured spool, beside a running node or without one.

    Raises
    ------
    CommandError
        If there is none, or it refuses what was asked.
    """
    path = read_config(arguments).spool.directory / LEDGER_NAME
    if not path.is_file():
        raise CommandError(f"there is no ledger {path}; has the node run with this configuration?")
    try:
        ledger = Ledger(path)
        try:
            yield ledger
        finally:
            ledger.close()
    except LedgerError as error:
        raise CommandError(str(error)) from error

"""remove images and result objects of finished series; their history and measurements stay

Only series at their end are purged: delivered (and committed, where the destination promises to keep what it
gets), refused with the report delivered, or failed. Without SERIES, those that are older than --older-than.
A running node does it itself; without one this command does.

Examples:
  dicomnode purge 3f2a 81c0 --config /etc/dicomnode/dicomnode.toml
  dicomnode purge --older-than 30 --dry-run
  dicomnode purge --older-than 0 --state failed
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from dicomnode.commands.common import CommandError, add_config_argument, read_config
from dicomnode.commands.status import open_ledger
from dicomnode.spool.errors import LedgerError, SpoolError, SpoolInUseError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.purging import PURGEABLE, PURGED_BY_RETENTION
from dicomnode.spool.records import SeriesRecord
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from dicomnode.terminal import print_json

DAY_SECONDS = 86400.0
PATIENCE_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add_config_argument(parser)
    parser.add_argument("series", metavar="SERIES", nargs="*", help="id of a series, or the beginning of it")
    parser.add_argument(
        "--older-than", type=float, metavar="DAYS", help="days since the series came to its end"
    )
    parser.add_argument(
        "--state",
        action="append",
        choices=[state.value for state in PURGEABLE],
        help="with --older-than: only series in this state (default: delivered, committed, refused)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be purged")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Purge; 1 when a series could not be."""
    if bool(arguments.series) == (arguments.older_than is not None):
        raise CommandError("name series, or give --older-than DAYS")
    with open_ledger(arguments) as ledger:
        chosen = _chosen(ledger, arguments)
        refusals = {series.id: why for series in chosen if (why := ledger.why_not_purgeable(series.id))}
        wanted = [series for series in chosen if series.id not in refusals]
        left = [] if arguments.dry_run else _purge(ledger, wanted, arguments)
    if arguments.json:
        purged = [series.id for series in wanted if series.id not in left]
        print_json({"purged": purged, "dry_run": arguments.dry_run, "waiting": left, "kept": refusals})
    else:
        _tell(wanted, left, refusals, dry_run=arguments.dry_run)
    return 1 if refusals or left else 0


def _chosen(ledger: Ledger, arguments: argparse.Namespace) -> list[SeriesRecord]:
    if arguments.series:
        return [ledger.show(series).series for series in arguments.series]
    states = tuple(SeriesState(state) for state in arguments.state or PURGED_BY_RETENTION)
    return list(ledger.purgeable(states, time.time() - arguments.older_than * DAY_SECONDS))


def _purge(ledger: Ledger, series: Sequence[SeriesRecord], arguments: argparse.Namespace) -> list[str]:
    """Purge here if no node runs, else ask it; the ids of those that are still waiting."""
    config = read_config(arguments)
    try:
        spool = Spool(config.spool.directory)
    except SpoolInUseError:
        return _ask_the_node(ledger, series)
    except SpoolError as error:
        raise CommandError(str(error)) from error
    try:
        for one in series:
            spool.purge(one.id)
    finally:
        spool.close()
    return []


def _ask_the_node(ledger: Ledger, series: Sequence[SeriesRecord]) -> list[str]:
    asked = []
    for one in series:
        try:
            asked.append(ledger.request_purge(one.id).id)
        except LedgerError as error:
            raise CommandError(str(error)) from error
    deadline = time.monotonic() + PATIENCE_SECONDS
    while waiting := {one.id for one in ledger.purge_requests()} & set(asked):
        if time.monotonic() > deadline:
            break
        ledger.database.wait(ledger.database.version, 0.2)
    return sorted(waiting)


def _tell(
    wanted: Sequence[SeriesRecord], left: Sequence[str], refusals: dict[str, str], *, dry_run: bool
) -> None:
    done = [series for series in wanted if series.id not in left]
    megabytes = sum(series.bytes for series in done) / 1e6
    verb = "would be purged" if dry_run else "purged"
    print(f"{len(done)} series {verb}, {megabytes:.1f} MB of images")
    for series_id in left:
        print(f"series {series_id} waits: the running node has not purged it yet")
    for sentence in refusals.values():
        print(f"kept: {sentence}")

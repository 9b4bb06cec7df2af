"""The ledger seen from outside, by SQL: what an administrator could look up, without the product's code."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

FINAL = ("delivered", "committed", "refused", "failed")
HELD = ("delivered", "committed")
_NAME = "ledger.sqlite"


@dataclass(frozen=True)
class LedgerSeries:
    """A series as the ledger has it."""

    id: str
    state: str
    reason: str
    generation: int


@contextmanager
def _reading(spool: Path) -> Iterator[sqlite3.Connection]:
    uri = f"file:{spool / _NAME}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
        yield connection


def unsettled(spool: Path, *, commitment: bool) -> str:
    """What is not over yet, in words; empty when every series has ended and nothing waits for delivery.

    With ``commitment`` the destination must have promised to keep each object.
    """
    with _reading(spool) as connection:
        states = connection.execute("SELECT state, count(*) FROM series GROUP BY state").fetchall()
        open_states = ("pending", "delivered" if commitment else "pending")
        pending = connection.execute(
            "SELECT count(*) FROM delivery WHERE state IN (?, ?)", open_states
        ).fetchone()[0]
    waiting = [f"{count} {state}" for state, count in states if state not in FINAL]
    return ", ".join([*waiting, *([f"{pending} deliveries open"] if pending else [])])


def series(spool: Path) -> dict[str, LedgerSeries]:
    """All series by their Series Instance UID."""
    with _reading(spool) as connection:
        found = connection.execute("SELECT series_instance_uid, id, state, reason, generation FROM series")
        return {uid: LedgerSeries(*rest) for uid, *rest in found}


def instances(spool: Path) -> dict[str, tuple[str, Path]]:
    """SHA-256 and file of each instance by its SOP Instance UID."""
    with _reading(spool) as connection:
        found = connection.execute("SELECT sop_instance_uid, sha256, path FROM instance")
        return {uid: (sha256, spool / path) for uid, sha256, path in found}


def delivered_when_it_died(spool: Path) -> set[str]:
    """SOP Instance UIDs that the ledger of a killed node notes as delivered.

    Read from a copy, so that the recovery of the file is left to the node.
    """
    if not (spool / _NAME).exists():
        return set()
    with tempfile.TemporaryDirectory() as name:
        for suffix in ("", "-wal"):
            if (spool / f"{_NAME}{suffix}").exists():
                shutil.copy(spool / f"{_NAME}{suffix}", Path(name, f"{_NAME}{suffix}"))
        with closing(sqlite3.connect(Path(name, _NAME))) as connection:
            tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'delivery'").fetchone()
            if tables is None:
                return set()
            marks = ", ".join("?" * len(HELD))
            found = connection.execute(
                f"SELECT sop_instance_uid FROM delivery WHERE state IN ({marks})", HELD
            )
            return {uid for (uid,) in found}

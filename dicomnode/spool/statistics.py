"""Figures of the ledger for those who watch the node."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from dicomnode.spool.database import Database
from dicomnode.spool.states import SeriesState


@dataclass(frozen=True)
class Stay:
    """How long a series was in one state, and which one it went to."""

    state: SeriesState
    seconds: float
    next_state: SeriesState


@dataclass(frozen=True)
class WaitingSeries:
    """Series in one state, and since when the longest waiting one is in it (seconds since 1970 UTC)."""

    number: int
    oldest_since: float | None


class Statistics:
    """Reads what the history of the series says; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_event(self) -> int:
        """Number of the newest event; 0 if there is none."""
        with self._database.read() as connection:
            return int(connection.execute("SELECT coalesce(max(number), 0) FROM event").fetchone()[0])

    def stays_since(self, number: int) -> tuple[int, list[Stay]]:
        """Number of the newest event, and the stays that ended after the event ``number``."""
        with self._database.read() as connection:
            changed = connection.execute(
                "SELECT DISTINCT series_id FROM event WHERE number > ?", (number,)
            ).fetchall()
            last = connection.execute("SELECT coalesce(max(number), 0) FROM event").fetchone()[0]
            stays = [stay for row in changed for stay in _stays(connection, row["series_id"], number)]
        return int(last), stays

    def waiting(self, state: SeriesState) -> WaitingSeries:
        """How many series are in a state, and for how long."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT count(*) AS number, min(state_since) AS oldest FROM series WHERE state = ?", (state,)
            ).fetchone()
        return WaitingSeries(int(row["number"]), row["oldest"])


def _stays(connection: sqlite3.Connection, series_id: str, after: int) -> list[Stay]:
    events = connection.execute(
        "SELECT number, at, state FROM event WHERE series_id = ? ORDER BY number", (series_id,)
    ).fetchall()
    stays = []
    since = events[0]
    for event in events[1:]:
        if event["state"] == since["state"]:
            continue  # a remark
        if event["number"] > after:
            seconds = max(0.0, event["at"] - since["at"])  # the clock may have been set back
            stays.append(Stay(SeriesState(since["state"]), seconds, SeriesState(event["state"])))
        since = event
    return stays

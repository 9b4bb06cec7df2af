"""A ledger that a node has after months, written at once."""

from __future__ import annotations

import random

from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import series_key

STATES = ("delivered",) * 90 + ("refused",) * 6 + ("failed",) * 2 + ("receiving", "delivering")
BEGAN_AT = 1_700_000_000.0


def many_series(ledger: Ledger, number: int) -> list[str]:
    """Series in all states, ten minutes apart, two to a study, each with its story; their ids."""
    chance = random.Random(0)
    ids = []
    with ledger.database.write() as connection:
        for index in range(number):
            study, uid = f"1.2.{index // 2}", f"1.2.{index // 2}.{index}"
            ids.append(series_key(study, uid))
            at = BEGAN_AT + 600.0 * index
            state = STATES[0] if index < len(STATES) // 4 else chance.choice(STATES)
            reason = "gap" if state in ("refused", "failed") else ""
            connection.execute(
                "INSERT INTO series (id, study_instance_uid, series_instance_uid, state, reason, detail, "
                "instances, bytes, created_at, last_received_at, state_since) "
                "VALUES (?, ?, ?, ?, ?, '', 300, 150000000, ?, ?, ?)",
                (ids[-1], study, uid, state, reason, at, at + 20, at + 90),
            )
            for seconds, name in ((0, "receiving"), (30, "complete"), (31, "analyzing"), (90, state)):
                connection.execute(
                    "INSERT INTO event (series_id, at, state, generation, text) VALUES (?, ?, ?, 1, '')",
                    (ids[-1], at + seconds, name),
                )
    return ids

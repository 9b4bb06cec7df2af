"""A ledger of an earlier version is brought up to date with everything in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from dicomnode.spool.ledger import Ledger
from dicomnode.spool.schema import VERSIONS
from dicomnode.spool.states import DeliveryState, SeriesState
from tests.spool.ledger_cases import SERIES

DELIVERED_SERIES = f"""
INSERT INTO series (id, study_instance_uid, series_instance_uid, state, created_at, last_received_at,
    state_since, instances, bytes) VALUES ('{SERIES}', '1.2', '1.2.3', 'delivering', 1.0, 2.0, 3.0, 1, 1000);
INSERT INTO instance VALUES
    ('{SERIES}', '1.2.3.1', '1.5', '1.2.840.10008.1.2.1', 'instances/x/1.dcm', 1000, 'a', 2.0, 'CT', 1, 0);
INSERT INTO result VALUES
    ('{SERIES}', '2.25.1', 1, 0, 'seg', '1.6', '/var/lib/dicomnode/results/{SERIES}/1/seg.dcm', 3.0);
INSERT INTO result VALUES
    ('{SERIES}', '2.25.2', 1, 1, 'sr', '1.7', '/var/lib/dicomnode/results/{SERIES}/1/sr.dcm', 3.0);
INSERT INTO delivery (series_id, sop_instance_uid, destination, state, next_attempt_at, delivered_at)
    VALUES ('{SERIES}', '2.25.1', 'pacs', 'delivered', 3.0, 4.0);
INSERT INTO delivery (series_id, sop_instance_uid, destination, state, next_attempt_at)
    VALUES ('{SERIES}', '2.25.2', 'pacs', 'pending', 3.0);
PRAGMA user_version = 1;
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger as version 1 left it, one result delivered and one not."""
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(VERSIONS[0] + DELIVERED_SERIES)
    connection.close()
    return path


def test_version_1_is_brought_up_to_date_and_goes_on(old: Path) -> None:
    ledger = Ledger(old)
    details = ledger.show(SERIES)
    assert details.series.state is SeriesState.DELIVERING
    assert [result.path for result in details.results] == [
        Path("results", SERIES, "1", "seg.dcm"),
        Path("results", SERIES, "1", "sr.dcm"),
    ]
    assert [one.state for one in details.deliveries] == [DeliveryState.DELIVERED, DeliveryState.PENDING]
    (waiting,) = ledger.outbox.due("pacs")
    ledger.outbox.succeeded(waiting)
    assert ledger.show(SERIES).series.state is SeriesState.DELIVERED
    ledger.close()


def test_an_update_that_is_interrupted_leaves_the_old_version(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (*VERSIONS[:1], VERSIONS[1] + "ALTER TABLE nowhere ADD COLUMN x INTEGER;")
    monkeypatch.setattr("dicomnode.spool.schema.VERSIONS", broken)
    with pytest.raises(Exception, match="nowhere"):
        Ledger(old)
    monkeypatch.undo()
    connection = sqlite3.connect(old)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert "position_mm" not in [row[1] for row in connection.execute("PRAGMA table_info(instance)")]
    connection.close()
    Ledger(old).close()


def test_an_updated_ledger_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    Ledger(old).close()
    Ledger(tmp_path / "new.sqlite").close()

    def tables(path: Path) -> dict[str, set[tuple[str, str]]]:
        connection = sqlite3.connect(path)
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {
            name: {(row[1], row[2]) for row in connection.execute(f"PRAGMA table_info({name})")}
            for name in names
        }
        connection.close()
        return found

    assert tables(old) == tables(tmp_path / "new.sqlite")

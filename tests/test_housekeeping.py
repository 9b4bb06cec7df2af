"""What happens by the clock, and the purge command beside a running node and without one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicomnode import housekeeping
from dicomnode.housekeeping import ALARMS, DAY_SECONDS, FAULT_SECONDS, Housekeeping, overdue_series
from dicomnode.spool.deadlines import Deadlines
from dicomnode.spool.records import SeriesRecord
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from tests.spool.ledger_cases import SERIES, Receiver, analyzed, arrive, results

DEADLINES = Deadlines(receiving=960, complete=3600, analyzing=1020, delivering=3600, delivered=7200)
PACS = Receiver("pacs")
ARCHIVE = Receiver("archive", commitment=True)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool")
    yield opened
    opened.close()


class Later:
    """The clock, moved."""

    def __init__(self, days: float = 0.0) -> None:
        self.days = days

    def __call__(self) -> float:
        return time.time() + self.days * DAY_SECONDS


def housekeeper(spool: Spool, retention_days: float = 30.0, later: Later | None = None) -> Housekeeping:
    return Housekeeping(spool, DEADLINES, retention_days, clock=later or Later())


def deliver(spool: Spool, destination: str) -> None:
    for delivery in spool.ledger.outbox.due(destination):
        spool.ledger.outbox.succeeded(delivery)


def series(spool: Spool, series_id: str = SERIES) -> SeriesRecord:
    return spool.ledger.show(series_id).series


def test_delivered_series_go_after_the_retention_time_and_not_before(spool: Spool) -> None:
    analyzed(spool.ledger, [PACS])
    deliver(spool, "pacs")
    housekeeper(spool, 30.0, Later(29.9)).look_around()
    assert series(spool).purged_at is None
    housekeeper(spool, 30.0, Later(30.1)).look_around()
    assert series(spool).purged_at is not None


def test_a_clock_that_jumps_purges_nothing(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    analyzed(spool.ledger, [PACS])
    deliver(spool, "pacs")
    clock = Later(0)
    keeper = housekeeper(spool, 30.0, clock)
    clock.days = 4000
    keeper.look_around()
    keeper.look_around()
    assert series(spool).purged_at is None
    assert sum("jumped ahead" in record.getMessage() for record in caplog.records) == 1


def test_nothing_goes_without_a_retention_time(spool: Spool) -> None:
    analyzed(spool.ledger, [PACS])
    deliver(spool, "pacs")
    housekeeper(spool, 0.0, Later(10_000)).look_around()
    assert series(spool).purged_at is None


def test_results_that_are_not_promised_are_not_purged_however_old(spool: Spool) -> None:
    analyzed(spool.ledger, [ARCHIVE])
    deliver(spool, "archive")
    housekeeper(spool, 1.0, Later(10_000)).look_around()
    assert series(spool).purged_at is None


def test_what_nobody_took_in_all_that_time_fails_and_stays(spool: Spool) -> None:
    analyzed(spool.ledger, [PACS])
    housekeeper(spool, 30.0, Later(29)).look_around()
    assert series(spool).state is SeriesState.DELIVERING
    keeper = housekeeper(spool, 30.0, Later(31))
    keeper.look_around()
    assert (series(spool).state, series(spool).reason) == (SeriesState.FAILED, "undeliverable")
    assert "dicomnode retry" in series(spool).detail
    keeper.look_around()
    assert series(spool).purged_at is None, "a failed series waits for a person"
    assert spool.ledger.retry(SERIES).state is SeriesState.DELIVERING


def test_each_state_that_waits_is_overdue_after_its_time(spool: Spool) -> None:
    ledger, now = spool.ledger, time.time()

    def overdue(seconds: float) -> list[SeriesState]:
        return [one.series.state for one in overdue_series(ledger, DEADLINES, now + seconds)]

    arrive(ledger)
    assert (overdue(900), overdue(1000)) == ([], [SeriesState.RECEIVING])
    ledger.mark_complete(SERIES, "quiet")
    assert (overdue(3500), overdue(3700)) == ([], [SeriesState.COMPLETE])
    ledger.claim_next()
    assert (overdue(1000), overdue(1100)) == ([], [SeriesState.ANALYZING])
    ledger.record_results(SERIES, 1, results(), [ARCHIVE])
    assert (overdue(3500), overdue(3700)) == ([], [SeriesState.DELIVERING])
    deliver(spool, "archive")
    assert (overdue(7100), overdue(7300)) == ([], [SeriesState.DELIVERED])
    ledger.outbox.forget_commitment(except_for=[])
    assert overdue(1e9) == []


def test_an_alarm_is_told_once(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    analyzed(spool.ledger, [PACS])
    keeper = housekeeper(spool, 0.0, Later(1))
    for _ in range(3):
        keeper.look_around()
    told = [record for record in caplog.records if "overdue" in record.getMessage()]
    assert len(told) == 1


def test_a_jump_of_the_clock_alone_is_no_fault(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    arrive(spool.ledger)
    keeper = housekeeper(spool, 0.0, Later(1))
    keeper.look_around()
    assert not keeper.hanging
    steady = time.monotonic
    monkeypatch.setattr(housekeeping.time, "monotonic", lambda: steady() + FAULT_SECONDS + 1)
    keeper.look_around()
    assert keeper.hanging == (SERIES,)


def purge(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    return command(tmp_path, "purge", *arguments)


def command(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    config = tmp_path / "dicomnode.toml"
    config.write_text(
        f'[spool]\ndirectory = "{tmp_path / "spool"}"\n[analysis]\nwaiting_alarm_seconds = 0.001\n',
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "dicomnode.cli", *arguments, "--json", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def test_the_command_asks_a_running_node(spool: Spool, tmp_path: Path) -> None:
    analyzed(spool.ledger, [])
    keeper = housekeeper(spool, 0.0)
    keeper.start()
    try:
        assert purge(tmp_path, SERIES[:8]) == (
            0,
            {"purged": [SERIES], "dry_run": False, "waiting": [], "kept": {}},
        )
    finally:
        keeper.stop()
    assert series(spool).purged_at is not None


def test_status_tells_what_is_overdue_and_leaves_out_what_is_purged(spool: Spool, tmp_path: Path) -> None:
    analyzed(spool.ledger, [])
    spool.purge(SERIES)
    assert command(tmp_path, "status") == (
        0,
        {"series": [], "overdue": [], "backlog": [], "destinations": []},
    )
    assert [one["id"] for one in command(tmp_path, "status", "--all")[1]["series"]] == [SERIES]
    arrive(spool.ledger, 7)
    spool.ledger.mark_complete(SERIES, "quiet")
    status, told = command(tmp_path, "status")
    assert status == 1
    assert [(one["series"], one["alarm"]) for one in told["overdue"]] == [
        (SERIES, ALARMS[SeriesState.COMPLETE])
    ]


def test_the_command_purges_by_itself_without_a_node(spool: Spool, tmp_path: Path) -> None:
    done = analyzed(spool.ledger, [], number=1)
    waiting = analyzed(spool.ledger, [PACS], number=2)
    spool.close()
    assert purge(tmp_path, "--older-than", "0", "--dry-run")[1]["purged"] == [done.id]
    assert purge(tmp_path, "--older-than", "0")[1]["purged"] == [done.id]
    status, answer = purge(tmp_path, waiting.id)
    assert status == 1
    assert "is delivering, not at its end" in str(answer["kept"])
    status, answer = purge(tmp_path)
    assert status == 1 and "name series, or give --older-than DAYS" in str(answer["error"])
    reopened = Spool(tmp_path / "spool")
    assert series(reopened, done.id).purged_at is not None
    assert series(reopened, waiting.id).purged_at is None
    reopened.close()

"""How long series stayed in their states, as the history has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import NewInstance
from dicomnode.spool.states import SeriesState
from dicomnode.spool.statistics import Statistics, Stay, WaitingSeries


class Clock:
    """Stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite", clock=clock)
    yield ledger
    ledger.close()


def receive(ledger: Ledger, series: str) -> str:
    instance = NewInstance("1.2", series, f"{series}.1", "1.2.840", "1.2.840.10008.1.2", "0" * 64, "CT1")
    ledger.record_instance(instance, Path(f"{series}.dcm"), 100)
    return instance.series_id


def test_each_stay_is_told_once(ledger: Ledger, clock: Clock) -> None:
    statistics = Statistics(ledger.database)
    assert statistics.stays_since(0) == (0, [])
    one = receive(ledger, "1.2.3")
    clock.now += 30
    ledger.mark_complete(one, "quiet")
    seen, stays = statistics.stays_since(0)
    assert stays == [Stay(SeriesState.RECEIVING, 30, SeriesState.COMPLETE)]
    assert statistics.last_event() == seen

    clock.now += 5
    ledger.note(one, "a remark ends no stay")
    ledger.claim_next()
    clock.now -= 100  # the clock is set back
    ledger.fail(one, 1, "analysis_failed", "")
    seen, stays = statistics.stays_since(seen)
    assert stays == [
        Stay(SeriesState.COMPLETE, 5, SeriesState.ANALYZING),
        Stay(SeriesState.ANALYZING, 0, SeriesState.FAILED),
    ]
    assert statistics.stays_since(seen) == (seen, [])


def test_how_long_the_oldest_has_waited(ledger: Ledger, clock: Clock) -> None:
    statistics = Statistics(ledger.database)
    assert statistics.waiting(SeriesState.COMPLETE) == WaitingSeries(0, None)
    for series in ("1.2.3", "1.2.4"):
        ledger.mark_complete(receive(ledger, series), "quiet")
        clock.now += 10
    assert statistics.waiting(SeriesState.COMPLETE) == WaitingSeries(2, 1000.0)

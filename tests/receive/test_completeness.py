"""When a series is complete, by a clock that the tests turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.receive.completeness import CompletenessSettings, CompletenessWatch
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import NewInstance, series_key
from dicomnode.spool.states import SeriesState
from tests.dicom_network import until

SERIES = series_key("1.2", "1.2.3")
SETTINGS = CompletenessSettings(quiet_seconds=10, deadline_seconds=100)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(ledger: Ledger, clock: Clock) -> CompletenessWatch:
    return CompletenessWatch(ledger, SETTINGS, clock=clock)


def arrive(ledger: Ledger, number: int = 1) -> None:
    new = NewInstance("1.2", "1.2.3", f"1.4.{number}", "1.5", "1.2.840", "a" * 64, "SCANNER")
    ledger.record_instance(new, Path("x"), 1)


def look(watch: CompletenessWatch) -> tuple[list[tuple[str, str]], float | None]:
    return watch._look()


def test_quiet_time_runs_from_the_last_instance(watch: CompletenessWatch, clock: Clock) -> None:
    watch.received(SERIES)
    clock.now += 9
    assert look(watch) == ([], pytest.approx(1))
    watch.received(SERIES)
    clock.now += 9
    assert look(watch) == ([], pytest.approx(1))
    clock.now += 1
    complete, next_due = look(watch)
    assert [series for series, _ in complete] == [SERIES]
    assert "quiet time" in complete[0][1]
    assert next_due is None
    assert look(watch) == ([], None)


def test_an_open_association_holds_the_series_until_the_deadline(
    watch: CompletenessWatch, clock: Clock
) -> None:
    watch.hold(SERIES, 1)
    watch.received(SERIES)
    clock.now += 99
    assert look(watch) == ([], pytest.approx(1))
    clock.now += 1
    ((_, decision),), _ = look(watch)
    assert "deadline" in decision


def test_the_last_of_several_associations_lets_go(watch: CompletenessWatch, clock: Clock) -> None:
    for association in (1, 2):
        watch.hold(SERIES, association)
        watch.received(SERIES)
    clock.now += 20
    watch.association_ended(1)
    assert look(watch)[0] == []
    watch.association_ended(2)
    assert len(look(watch)[0]) == 1


def test_an_association_that_brought_nothing_new_leaves_no_trace(watch: CompletenessWatch) -> None:
    watch.hold(SERIES, 1)
    watch.association_ended(1)
    assert look(watch) == ([], None)


def test_the_thread_wakes_when_a_series_is_due_and_writes_the_decision(ledger: Ledger) -> None:
    watch = CompletenessWatch(ledger, CompletenessSettings(0.2, 5))
    watch.start()
    arrive(ledger)
    watch.hold(SERIES, 1)
    watch.received(SERIES)
    watch.association_ended(1)
    begin = time.monotonic()
    until(lambda: ledger.list_series(SeriesState.COMPLETE))
    assert time.monotonic() - begin < 2
    watch.stop()
    assert "quiet time" in ledger.list_series()[0].completeness


def test_series_of_a_previous_run_are_taken_up(ledger: Ledger) -> None:
    arrive(ledger)
    watch = CompletenessWatch(ledger, CompletenessSettings(0.1, 5))
    watch.start()
    until(lambda: ledger.list_series(SeriesState.COMPLETE))
    watch.stop()


def test_a_series_that_is_no_longer_receiving_does_not_stop_the_watch(ledger: Ledger) -> None:
    watch = CompletenessWatch(ledger, CompletenessSettings(0.1, 5))
    watch.start()
    arrive(ledger)
    ledger.mark_complete(SERIES, "by other evidence")
    watch.received(SERIES)
    until(lambda: not watch._arrivals)
    arrive(ledger, 2)
    watch.received(SERIES)
    until(lambda: ledger.list_series(SeriesState.COMPLETE))
    watch.stop()


def test_an_unavailable_ledger_is_asked_again(ledger: Ledger) -> None:
    watch = CompletenessWatch(ledger, CompletenessSettings(0.1, 5))
    arrive(ledger)
    with ledger.database.write() as connection:
        connection.execute("ALTER TABLE series RENAME TO hidden")
    watch._arrivals.clear()
    watch._thread = None
    watch.received(SERIES)
    time.sleep(0.1)
    for series, decision in look(watch)[0]:
        watch._mark(series, decision)
    with ledger.database.write() as connection:
        connection.execute("ALTER TABLE hidden RENAME TO series")
    watch.start()
    until(lambda: ledger.list_series(SeriesState.COMPLETE))
    watch.stop()


@pytest.mark.parametrize(("quiet", "deadline"), [(0, 10), (-1, 10), (11, 10)])
def test_senseless_times_are_refused(quiet: float, deadline: float) -> None:
    with pytest.raises(ValueError, match="quiet_seconds"):
        CompletenessSettings(quiet, deadline)

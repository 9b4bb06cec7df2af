"""When a series is complete, by a clock that the tests turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.receive.completeness import CompletenessWatch
from dicomnode.receive.judge import CompletenessSettings
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


def arrive(ledger: Ledger, number: int = 1, position_mm: float | None = None) -> None:
    new = NewInstance("1.2", "1.2.3", f"1.4.{number}", "1.5", "1.2.840", "a" * 64, "SCANNER", position_mm)
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
    watch.association_ended(1, released=True)
    assert look(watch)[0] == []
    watch.association_ended(2, released=True)
    assert len(look(watch)[0]) == 1


@pytest.fixture
def stack(ledger: Ledger, watch: CompletenessWatch) -> int:
    """The number of the open association that has brought 40 slices without a gap."""
    for number in range(40):
        watch.hold(SERIES, 7)
        arrive(ledger, number, 3.0 * number)
        watch.received(SERIES)
    return 7


def test_a_released_stack_without_a_gap_is_complete_soon(
    watch: CompletenessWatch, clock: Clock, stack: int
) -> None:
    clock.now += 1
    watch.association_ended(stack, released=True)
    assert look(watch) == ([], pytest.approx(1))
    clock.now += 1
    ((_, decision),), _ = look(watch)
    assert decision == "released, 40 slices from 0.0 to 117.0 mm without a gap"


def test_after_an_abort_the_quiet_time_decides(watch: CompletenessWatch, clock: Clock, stack: int) -> None:
    watch.association_ended(stack, released=False)
    clock.now += 9
    assert look(watch) == ([], pytest.approx(1))
    clock.now += 1
    ((_, decision),), _ = look(watch)
    assert decision.startswith("quiet time")


def test_a_stack_with_a_gap_waits_for_the_quiet_time(
    watch: CompletenessWatch, clock: Clock, ledger: Ledger, stack: int
) -> None:
    watch.hold(SERIES, stack)
    arrive(ledger, 50, 150.0)
    watch.received(SERIES)
    watch.association_ended(stack, released=True)
    clock.now += 9
    assert look(watch)[0] == []
    clock.now += 1
    assert look(watch)[0][0][1].startswith("quiet time")


def test_images_that_come_one_an_association_do_not_finish_early(
    watch: CompletenessWatch, clock: Clock, ledger: Ledger
) -> None:
    for number in range(60):
        watch.hold(SERIES, number)
        arrive(ledger, number, 3.0 * number)
        watch.received(SERIES)
        watch.association_ended(number, released=True)
        clock.now += 1.9
        assert look(watch)[0] == []
    clock.now += 0.1
    ((_, decision),), _ = look(watch)
    assert decision == "released, 60 slices from 0.0 to 177.0 mm without a gap"


def list_for_commitment(ledger: Ledger, watch: CompletenessWatch, numbers: range, uid: str = "1.9") -> None:
    ledger.asked_by_others.accept("SCANNER", uid, [("1.5", f"1.4.{number}") for number in numbers])
    watch.listed(ledger.asked_by_others.series_in("SCANNER", uid))


def test_a_commitment_request_completes_at_once_while_the_association_is_open(
    watch: CompletenessWatch, ledger: Ledger, stack: int
) -> None:
    list_for_commitment(ledger, watch, range(40))
    ((_, decision),), _ = look(watch)
    assert decision == "storage commitment: the sender listed 40 instances, all kept"


def test_what_the_commitment_request_lists_is_waited_for_until_the_deadline(
    watch: CompletenessWatch, clock: Clock, ledger: Ledger, stack: int
) -> None:
    list_for_commitment(ledger, watch, range(42))
    watch.association_ended(stack, released=True)
    clock.now += 99
    assert look(watch)[0] == []
    clock.now += 1
    assert look(watch)[0] == [(SERIES, "deadline: 40 of the 42 instances that the sender listed came")]


def test_the_missing_instances_complete_the_series_when_they_come(
    watch: CompletenessWatch, clock: Clock, ledger: Ledger, stack: int
) -> None:
    list_for_commitment(ledger, watch, range(42))
    watch.association_ended(stack, released=True)
    clock.now += 50
    for number in (40, 41):
        assert look(watch)[0] == []
        watch.hold(SERIES, 8)
        arrive(ledger, number)
        watch.received(SERIES)
    assert look(watch)[0] == [(SERIES, "storage commitment: the sender listed 42 instances, all kept")]


def test_one_commitment_request_an_image_does_not_finish_early(
    watch: CompletenessWatch, clock: Clock, ledger: Ledger
) -> None:
    for number in range(40):
        watch.hold(SERIES, 7)
        arrive(ledger, number)
        watch.received(SERIES)
        list_for_commitment(ledger, watch, range(number, number + 1), f"1.9.{number}")
        clock.now += 1
        assert look(watch)[0] == []
    clock.now += 1
    assert look(watch)[0] == [(SERIES, "storage commitment: the sender listed 40 instances, all kept")]


def test_a_commitment_request_of_a_previous_run_counts(ledger: Ledger) -> None:
    for number in range(12):
        arrive(ledger, number)
    ledger.asked_by_others.accept("SCANNER", "1.9", [("1.5", f"1.4.{number}") for number in range(12)])
    watch = CompletenessWatch(ledger, CompletenessSettings(60, 100, release_seconds=0.1))
    watch.start()
    until(lambda: ledger.list_series(SeriesState.COMPLETE))
    watch.stop()
    assert ledger.list_series()[0].completeness.startswith("storage commitment")


def test_a_stack_of_a_previous_run_waits_for_the_quiet_time(
    watch: CompletenessWatch, clock: Clock, ledger: Ledger
) -> None:
    for number in range(40):
        arrive(ledger, number, 3.0 * number)
    watch.start()
    clock.now += 5
    with watch._changed:
        assert look(watch) == ([], pytest.approx(5))
    watch.stop()


def test_an_association_that_brought_nothing_new_leaves_no_trace(watch: CompletenessWatch) -> None:
    watch.hold(SERIES, 1)
    watch.association_ended(1, released=True)
    assert look(watch) == ([], None)


def test_the_thread_wakes_when_a_series_is_due_and_writes_the_decision(ledger: Ledger) -> None:
    watch = CompletenessWatch(ledger, CompletenessSettings(0.2, 5))
    watch.start()
    arrive(ledger)
    watch.hold(SERIES, 1)
    watch.received(SERIES)
    watch.association_ended(1, released=True)
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

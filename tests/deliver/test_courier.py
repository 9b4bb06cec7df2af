"""Circuit breaker, refusals for good, objects that a destination cannot bear: with a clock that is moved."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dicomnode.deliver.courier import LOST_AT_ONE_OBJECT, NOT_NOW_IN_A_ROW
from dicomnode.deliver.delivery import DeliveryLoop
from dicomnode.deliver.destination import Destination, RetryPolicy
from dicomnode.deliver.peer import Peer
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import DestinationRecord, series_key
from dicomnode.spool.states import DeliveryState
from tests.deliver.recording_pacs import ABORT, SEG, Clock, make_results, pacs, state_of
from tests.dicom_network import CT_IMAGE_STORAGE, free_port, until

POLICY = RetryPolicy(first_seconds=5, factor=2, cap_seconds=900)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite", clock=clock)
    yield opened
    opened.close()


def to(port: int, name: str = "pacs") -> Destination:
    return Destination(name, Peer("PACS", "127.0.0.1", port, answer_seconds=5), retry=POLICY)


@contextmanager
def delivering(ledger: Ledger, clock: Clock, *destinations: Destination) -> Iterator[DeliveryLoop]:
    loop = DeliveryLoop(ledger, destinations, clock=clock)
    loop.start()
    try:
        yield loop
    finally:
        loop.stop()


def results_in_order(ledger: Ledger, clock: Clock, target: Destination, number: int) -> list[str]:
    """Series ``number``, a second after the one before."""
    clock.now += 1
    return make_results(ledger, [target], number)


def destination(ledger: Ledger) -> DestinationRecord:
    return ledger.outbox.destination("pacs")


def to_the_next_attempt(ledger: Ledger, clock: Clock) -> None:
    """Wait until the loop has tried and given up for now, then move the clock to its next attempt."""
    failures = destination(ledger).failures
    clock.now = destination(ledger).next_attempt_at + 0.001
    ledger.database.announce()
    until(lambda: destination(ledger).failures != failures or destination(ledger).next_attempt_at == 0)


def test_a_day_without_the_destination_loses_nothing_and_doubles_nothing(
    ledger: Ledger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    target = replace(to(free_port()), retry=RetryPolicy(5, 2, cap_seconds=3600))
    begin, attempts = clock.now + 1, 1
    expected = [uid for number in range(40) for uid in results_in_order(ledger, clock, target, number)]
    with delivering(ledger, clock, target):
        until(lambda: destination(ledger).failures == 1)
        while clock.now < begin + 86400:
            to_the_next_attempt(ledger, clock)
            attempts += 1
            if attempts == 20 and len(expected) < 100:
                for number in range(40, 50):
                    expected += results_in_order(ledger, clock, target, number)
        assert destination(ledger).failures == attempts
        (waiting,) = ledger.outbox.backlog()
        assert (waiting.pending, waiting.oldest_created_at) == (100, begin)
        with pacs(target.peer.port) as back:
            clock.now = destination(ledger).next_attempt_at
            ledger.database.announce()
            until(lambda: not ledger.outbox.backlog())
    print(
        f"\na day: {attempts} attempts at a connection, then {len(back.received)} objects, "
        f"{len(set(back.received))} different, in {back.associations} associations"
    )
    assert attempts < 24 * 3600 / (0.75 * 3600) + 10
    assert back.received == expected
    assert back.associations == 2, "one with a single object, one with the rest"
    messages = [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]
    assert len([text for text in messages if text.startswith("destination fails")]) == 1
    assert not [text for text in messages if text.startswith("not delivered")]
    assert caplog.text.count("destination works again") == 1
    assert destination(ledger).failures == 0


def test_the_breaker_outlasts_a_restart(ledger: Ledger, clock: Clock) -> None:
    target = to(free_port())
    make_results(ledger, [target], 1)
    with delivering(ledger, clock, target):
        until(lambda: destination(ledger).failures == 1)
    with pacs(target.peer.port) as back, delivering(ledger, clock, target):
        ledger.database.announce()
        make_results(ledger, [target], 2)
        assert back.associations == 0
        clock.now += 5
        ledger.database.announce()
        until(lambda: not ledger.outbox.backlog())
        assert len(back.received) == 4


def test_a_kind_that_is_refused_gives_way_to_the_picture(ledger: Ledger, clock: Clock) -> None:
    with pacs(sop_classes=[CT_IMAGE_STORAGE]) as ris:
        target = to(ris.port)
        kinds = ("seg", "sr", "sc")
        with delivering(ledger, clock, target):
            make_results(ledger, [target], 1, kinds, seg_class=SEG)
            until(lambda: state_of(ledger, 1) == "delivered")
            make_results(ledger, [target], 2, kinds, seg_class=SEG)
            until(lambda: state_of(ledger, 2) == "delivered")
        assert len(ris.received) == 4, "two reports, two pictures"
    (refusal,) = ledger.outbox.kind_refusals()
    assert (refusal.kind, refusal.for_good, refusal.objects) == ("seg", True, 1)


def test_a_destination_that_accepts_nothing_of_it_is_not_taken_for_down(ledger: Ledger, clock: Clock) -> None:
    with pacs(sop_classes=[SEG]) as odd, delivering(ledger, clock, to(odd.port)):
        make_results(ledger, [to(odd.port)], 1)
        until(lambda: state_of(ledger, 1) == "failed")
    assert destination(ledger).failures == 0
    assert ledger.show(series_key("1.2", "1.2.11")).series.reason == "destination_refused"


@pytest.mark.parametrize(("status", "refused"), [(0xA900, 1), (0xC123, 1), (0x0122, 1), (0xA700, 0)])
def test_the_status_tells_a_refusal_for_good(ledger: Ledger, clock: Clock, status: int, refused: int) -> None:
    with pacs() as picky:
        target = to(picky.port)
        bad = "1.2.826.0.1.3680043.8.498.1.10"
        picky.answer = lambda uid: status if uid == bad else 0
        with delivering(ledger, clock, target):
            make_results(ledger, [target], 1, ("seg", "sr", "sc"))
            until(lambda: len(picky.received) == 1 + refused)
            until(lambda: ledger.show(series_key("1.2", "1.2.11")).deliveries[0].attempts == 1)
            delivery = ledger.show(series_key("1.2", "1.2.11")).deliveries[0]
            assert delivery.state is (DeliveryState.REFUSED if refused else DeliveryState.PENDING)
            assert f"{status:04X}" in delivery.last_error
            picky.answer = lambda _uid: 0
            clock.now += 5
            ledger.database.announce()
            until(lambda: state_of(ledger, 1) == "delivered")
        assert picky.offered.count(bad) == (1 if refused else 2)


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_counts_as_delivered_and_is_noted(ledger: Ledger, clock: Clock, status: int) -> None:
    with pacs() as careless, delivering(ledger, clock, to(careless.port)):
        careless.answer = lambda _uid: status
        make_results(ledger, [to(careless.port)], 1)
        until(lambda: state_of(ledger, 1) == "delivered")
    details = ledger.show(series_key("1.2", "1.2.11"))
    assert all(f"{status:04X}" in one.last_error for one in details.deliveries)
    assert f"{status:04X}" in " ".join(event.text for event in details.events)


def test_a_full_pacs_is_left_alone_after_some_objects(ledger: Ledger, clock: Clock) -> None:
    with pacs() as full:
        full.answer = lambda _uid: 0xA700
        target = to(full.port)
        expected = [uid for number in range(10) for uid in make_results(ledger, [target], number)]
        with delivering(ledger, clock, target):
            until(lambda: destination(ledger).failures == 1)
            assert len(full.offered) == NOT_NOW_IN_A_ROW
            for attempt in (1, 2, 3):
                to_the_next_attempt(ledger, clock)
                assert len(full.offered) == NOT_NOW_IN_A_ROW + attempt, "a single object each"
            full.answer = lambda _uid: 0
            clock.now += 900
            ledger.database.announce()
            until(lambda: not ledger.outbox.backlog())
        assert sorted(full.received) == sorted(expected)


def test_an_object_that_makes_it_abort_does_not_hold_up_the_others(ledger: Ledger, clock: Clock) -> None:
    with pacs() as frail:
        target = to(frail.port)
        expected = [uid for number in range(5) for uid in results_in_order(ledger, clock, target, number)]
        frail.answer = lambda uid: ABORT if uid == expected[0] else 0
        with delivering(ledger, clock, target):
            for lost in range(1, LOST_AT_ONE_OBJECT + 1):
                until(lambda lost=lost: destination(ledger).failures == lost)  # type: ignore[misc]
                assert frail.received == []
                clock.now = destination(ledger).next_attempt_at
                ledger.database.announce()
            until(lambda: frail.received == expected[1:])
            frail.answer = lambda _uid: 0
            clock.now += 900
            ledger.database.announce()
            until(lambda: not ledger.outbox.backlog())
        assert frail.received == [*expected[1:], expected[0]]
        assert frail.offered.count(expected[0]) == LOST_AT_ONE_OBJECT + 1


def test_a_clock_that_is_set_back_makes_nothing_wait_for_days(ledger: Ledger, clock: Clock) -> None:
    target = to(free_port())
    make_results(ledger, [target], 1)
    with delivering(ledger, clock, target):
        until(lambda: destination(ledger).failures == 1)
        with pacs(target.peer.port):
            clock.now -= 5 * 86400
            ledger.database.announce()
            until(lambda: not ledger.outbox.backlog())


def test_destinations_are_replaced_while_it_runs(ledger: Ledger, clock: Clock) -> None:
    with pacs() as old, pacs() as new:
        same = to(old.port, "same")
        with delivering(ledger, clock, same, to(old.port)) as loop:
            make_results(ledger, [to(old.port)], 1)
            until(lambda: state_of(ledger, 1) == "delivered")
            threads = dict(loop._couriers)
            loop.replace_destinations([same, to(new.port), to(new.port, "third")])
            assert loop._couriers["same"] is threads["same"]
            assert not threads["pacs"].is_alive
            assert loop.is_alive
            make_results(ledger, [to(new.port), to(new.port, "third")], 2)
            until(lambda: state_of(ledger, 2) == "delivered")
        assert (len(old.received), len(new.received)) == (2, 4)


def test_other_contexts_make_another_destination() -> None:
    one, other = ssl.create_default_context(), ssl.create_default_context()
    assert Destination("a", Peer("A", "b", 1, tls=one)) != Destination("a", Peer("A", "b", 1, tls=other))

"""What a destination refuses, when it fails as a whole, and what it promises to keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.spool.errors import LedgerError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.outbox import KIND_REFUSAL_SECONDS, OBJECTS_FOR_GOOD
from dicomnode.spool.records import DeliveryRecord
from dicomnode.spool.states import DeliveryState, SeriesState
from tests.spool.ledger_cases import SERIES, Receiver, analyzed, arrive, results

PACS = Receiver("pacs")
ARCHIVE = Receiver("archive", commitment=True)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite", clock=clock)
    yield opened
    opened.close()


def due(ledger: Ledger, kind: str, destination: str = "pacs") -> DeliveryRecord:
    return next(one for one in ledger.outbox.due(destination) if one.kind == kind)


def kinds(ledger: Ledger, destination: str = "pacs") -> list[str]:
    return [one.kind for one in ledger.outbox.due(destination)]


def deliver_all(ledger: Ledger, destination: str) -> None:
    for delivery in ledger.outbox.due(destination):
        ledger.outbox.succeeded(delivery)


def test_every_object_of_a_kind_is_offered_and_their_refusal_gives_one_picture(ledger: Ledger) -> None:
    """An overlay is as many objects as slices."""
    uid = "1.2.3"
    arrive(ledger, 1, uid)
    ledger.mark_complete(SERIES, "quiet")
    ledger.claim_next()
    made = results(kinds=("seg", "sr", "sc", "overlay", "overlay", "overlay"))
    pictures = Receiver("pictures", accepts=("overlay",))
    ledger.record_results(SERIES, 1, made, [PACS, pictures], ["seg", "sr", "overlay"])
    assert kinds(ledger) == ["seg", "sr"]
    assert kinds(ledger, "pictures") == ["overlay"] * 3
    for delivery in ledger.outbox.due("pictures"):
        ledger.outbox.refused(delivery, "SOP class not accepted", whole_kind=True)
    assert kinds(ledger, "pictures") == ["sc"]


def test_a_refused_kind_is_replaced_by_the_picture_and_not_offered_again(
    ledger: Ledger, clock: Clock
) -> None:
    analyzed(ledger, [PACS])
    assert ledger.outbox.refused(due(ledger, "seg"), "SOP class not accepted", whole_kind=True)
    assert kinds(ledger) == ["sr", "sc"]
    deliver_all(ledger, "pacs")
    assert ledger.show(SERIES).series.state is SeriesState.DELIVERED

    analyzed(ledger, [PACS], number=2)
    assert kinds(ledger) == ["sr", "sc"]
    deliver_all(ledger, "pacs")

    clock.now += KIND_REFUSAL_SECONDS
    ledger.outbox.forget_old_refusals()
    analyzed(ledger, [PACS], number=3)
    assert kinds(ledger) == ["seg", "sr"]


def test_a_single_bad_object_does_not_spoil_its_kind_but_several_in_a_row_do(ledger: Ledger) -> None:
    for number in range(1, OBJECTS_FOR_GOOD + 1):
        analyzed(ledger, [PACS], number=number)
        assert kinds(ledger) == ["seg", "sr"], number
        ledger.outbox.refused(due(ledger, "seg"), "C000", whole_kind=False)
        deliver_all(ledger, "pacs")
    analyzed(ledger, [PACS], number=9)
    assert kinds(ledger) == ["sr", "sc"]


def test_a_success_in_between_clears_the_kind(ledger: Ledger) -> None:
    for number in range(1, 3 * OBJECTS_FOR_GOOD):
        analyzed(ledger, [PACS], number=number)
        assert kinds(ledger) == ["seg", "sr"]
        if number % OBJECTS_FOR_GOOD:
            ledger.outbox.refused(due(ledger, "seg"), "C000", whole_kind=False)
        deliver_all(ledger, "pacs")


def test_what_nobody_takes_fails_the_series_until_retry_offers_it_again(ledger: Ledger) -> None:
    analyzed(ledger, [PACS])
    for kind in ("seg", "sr", "sc"):
        ledger.outbox.refused(due(ledger, kind), "SOP class not accepted", whole_kind=True)
    series = ledger.show(SERIES).series
    assert (series.state, series.reason) == (SeriesState.FAILED, "destination_refused")
    assert "pacs took neither" in series.detail

    assert ledger.retry(SERIES).state is SeriesState.DELIVERING
    assert kinds(ledger) == ["seg", "sr", "sc"]
    assert not ledger.outbox.kind_refusals()


def test_one_destination_that_refuses_does_not_hold_up_another(ledger: Ledger) -> None:
    analyzed(ledger, [PACS, Receiver("ris", ("sr",))])
    for kind in ("seg", "sr", "sc"):
        ledger.outbox.refused(due(ledger, kind), "no", whole_kind=True)
    assert ledger.show(SERIES).series.state is SeriesState.DELIVERING
    deliver_all(ledger, "ris")
    assert ledger.show(SERIES).series.state is SeriesState.FAILED
    assert [one.state for one in ledger.show(SERIES).deliveries if one.destination == "ris"] == [
        DeliveryState.DELIVERED
    ]


def test_a_destination_that_would_get_nothing_gets_the_picture(ledger: Ledger) -> None:
    arrive(ledger)
    ledger.mark_complete(SERIES, "quiet")
    ledger.claim_next()
    refusal = results(kinds=("sr", "sc"))
    ledger.refuse(
        SERIES, 1, "gap", "3 slices missing", results=refusal, destinations=[Receiver("x", ("seg",))]
    )
    assert kinds(ledger, "x") == ["sc"]


def test_a_destination_that_fails_is_left_alone_for_all_series(ledger: Ledger, clock: Clock) -> None:
    analyzed(ledger, [PACS])
    analyzed(ledger, [PACS], number=2)
    assert ledger.outbox.destination_failed("pacs", "no connection", clock.now + 60) == 1
    assert ledger.outbox.destination_failed("pacs", "no connection", clock.now + 120) == 2
    assert kinds(ledger) == []
    assert ledger.outbox.next_attempt_at("pacs") == clock.now + 120
    (waiting,) = ledger.outbox.backlog()
    assert (waiting.pending, waiting.last_error) == (4, "no connection")
    clock.now += 121
    ledger.outbox.succeeded(due(ledger, "seg"))
    assert ledger.outbox.destination("pacs").failures == 0
    assert len(kinds(ledger)) == 3


def test_retry_tries_a_destination_that_is_left_alone(ledger: Ledger, clock: Clock) -> None:
    analyzed(ledger, [PACS])
    ledger.outbox.destination_failed("pacs", "no connection", clock.now + 9000)
    ledger.retry(SERIES)
    assert kinds(ledger) == ["seg", "sr"]


def test_giving_up_is_a_failure_that_retry_undoes(ledger: Ledger) -> None:
    analyzed(ledger, [PACS])
    ledger.outbox.give_up(SERIES, "not delivered in 30 days")
    series = ledger.show(SERIES).series
    assert (series.state, series.reason) == (SeriesState.FAILED, "undeliverable")
    assert kinds(ledger) == []
    ledger.retry(SERIES)
    assert kinds(ledger) == ["seg", "sr"]
    deliver_all(ledger, "pacs")
    with pytest.raises(LedgerError, match="not delivering"):
        ledger.outbox.give_up(SERIES, "again")


def test_a_series_is_committed_when_each_object_is_promised(ledger: Ledger, clock: Clock) -> None:
    analyzed(ledger, [ARCHIVE, PACS])
    deliver_all(ledger, "pacs")
    deliver_all(ledger, "archive")
    assert ledger.show(SERIES).series.state is SeriesState.DELIVERED
    asked = ledger.asked_of_destinations
    waiting = asked.to_ask("archive")
    assert [one.kind for one in waiting] == ["seg", "sr"]
    asked.asked("2.25.77", "archive", waiting, clock.now + 600)
    assert not asked.to_ask("archive")
    assert asked.next_question_at("archive") == clock.now + 600

    uids = [one.sop_instance_uid for one in waiting]
    assert asked.answered("2.25.78", uids, []) is None, "nobody asked that"
    assert ledger.show(SERIES).series.state is SeriesState.DELIVERED
    assert asked.answered("2.25.77", uids[:1], []) == "archive"
    assert ledger.show(SERIES).series.state is SeriesState.DELIVERED
    asked.answered("2.25.77", uids[1:], [])
    assert ledger.show(SERIES).series.state is SeriesState.COMMITTED
    assert asked.next_question_at("archive") is None


def test_an_object_that_the_destination_lost_is_delivered_again(ledger: Ledger, clock: Clock) -> None:
    analyzed(ledger, [ARCHIVE])
    deliver_all(ledger, "archive")
    waiting = ledger.asked_of_destinations.to_ask("archive")
    ledger.asked_of_destinations.asked("2.25.77", "archive", waiting, clock.now + 600)
    ledger.asked_of_destinations.answered(
        "2.25.77", [waiting[0].sop_instance_uid], [waiting[1].sop_instance_uid]
    )
    assert ledger.show(SERIES).series.state is SeriesState.DELIVERING
    assert kinds(ledger, "archive") == ["sr"]
    deliver_all(ledger, "archive")
    assert [one.kind for one in ledger.asked_of_destinations.to_ask("archive")] == ["sr"]


def test_an_unanswered_question_is_asked_again(ledger: Ledger, clock: Clock) -> None:
    analyzed(ledger, [ARCHIVE])
    deliver_all(ledger, "archive")
    waiting = ledger.asked_of_destinations.to_ask("archive")
    ledger.asked_of_destinations.asked("2.25.77", "archive", waiting, clock.now + 600)
    clock.now += 601
    assert len(ledger.asked_of_destinations.to_ask("archive")) == 2
    ledger.asked_of_destinations.asked("2.25.78", "archive", waiting, clock.now + 600)
    # the first answer comes late, and is as good
    uids = [one.sop_instance_uid for one in waiting]
    assert ledger.asked_of_destinations.answered("2.25.77", uids, []) == "archive"
    assert ledger.show(SERIES).series.state is SeriesState.COMMITTED


def test_a_destination_that_no_longer_promises_leaves_nothing_waiting(ledger: Ledger) -> None:
    analyzed(ledger, [ARCHIVE])
    deliver_all(ledger, "archive")
    assert ledger.awaits_commitment(SERIES)
    ledger.outbox.forget_commitment(except_for=["archive"])
    assert ledger.awaits_commitment(SERIES)
    ledger.outbox.forget_commitment(except_for=[])
    assert not ledger.awaits_commitment(SERIES)
    assert ledger.show(SERIES).series.state is SeriesState.DELIVERED


def test_a_senders_request_is_kept_until_it_is_reported(ledger: Ledger, clock: Clock) -> None:
    arrive(ledger)
    asked = ledger.asked_by_others
    with pytest.raises(LedgerError, match="needs a transaction UID"):
        asked.accept("SCANNER", "not a uid", [("1.5", "1.2.3.1")])
    asked.accept("SCANNER", "1.9", [("1.5", "1.2.3.1"), ("1.5", "1.2.3.2")])
    (request,) = asked.waiting()
    assert asked.held(request.instances) == (True, False)
    asked.not_reported(request, "no connection", clock.now + 60)
    (request,) = asked.waiting()
    assert (request.attempts, request.next_attempt_at) == (1, clock.now + 60)
    asked.reported(request)
    assert not asked.waiting()
    assert "storage commitment reported to SCANNER" in ledger.show(SERIES).events[-1].text


def test_what_the_destination_warned_of_stays_with_the_delivery(ledger: Ledger) -> None:
    analyzed(ledger, [PACS])
    ledger.outbox.succeeded(due(ledger, "seg"), "stored with elements discarded (B006)")
    details = ledger.show(SERIES)
    assert details.deliveries[0].last_error == "stored with elements discarded (B006)"
    assert details.events[-1].text == "seg to pacs: stored with elements discarded (B006)"


def test_a_destination_that_answers_is_no_longer_left_alone(ledger: Ledger, clock: Clock) -> None:
    analyzed(ledger, [PACS])
    ledger.outbox.destination_failed("pacs", "no connection", clock.now + 900)
    ledger.outbox.destination_answers("pacs")
    assert ledger.outbox.destination("pacs").failures == 0
    assert kinds(ledger) == ["seg", "sr"]


def test_a_single_object_may_wait_for_longer_than_the_destination(ledger: Ledger, clock: Clock) -> None:
    analyzed(ledger, [PACS])
    ledger.outbox.failed(due(ledger, "seg"), "A700", clock.now + 5000)
    ledger.outbox.bring_forward("pacs", clock.now + 900, clock.now + 6000)
    assert kinds(ledger) == ["sr"]
    ledger.outbox.bring_forward("pacs", clock.now + 900)
    assert kinds(ledger) == ["seg", "sr"]


def test_an_object_that_is_lost_again_and_again_is_sent_less_and_less_often(
    ledger: Ledger, clock: Clock
) -> None:
    analyzed(ledger, [ARCHIVE])
    asked = ledger.asked_of_destinations
    waits = []
    for number in range(12):
        deliver_all(ledger, "archive")
        assert asked.unpromised("archive") == 2
        waiting = asked.to_ask("archive")
        asked.asked(f"2.25.{number}", "archive", waiting, clock.now + 600)
        asked.answered(f"2.25.{number}", [], [one.sop_instance_uid for one in waiting])
        waits.append((ledger.outbox.next_attempt_at("archive") or 0) - clock.now)
        clock.now += waits[-1]
    assert waits[:4] == [0, 60, 120, 240]
    assert waits[-1] == 6 * 3600


def test_a_request_that_came_to_nothing_is_in_the_story_once(ledger: Ledger, clock: Clock) -> None:
    analyzed(ledger, [ARCHIVE])
    deliver_all(ledger, "archive")
    asked = ledger.asked_of_destinations
    for number in (1, 2):
        asked.asked(f"2.25.{number}", "archive", asked.to_ask("archive"), clock.now)
        asked.not_taken(f"2.25.{number}", "not offered")
    texts = [event.text for event in ledger.show(SERIES).events]
    assert texts.count("no storage commitment: not offered") == 1

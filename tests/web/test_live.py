"""What the page knows of the front door."""

from __future__ import annotations

from dicomnode.receive.access import Rejection
from dicomnode.receive.observer import Caller, StoreOutcome
from dicomnode.web.live import MOST_TURNED_AWAY, SECONDS, Live

CALLER = Caller(1, "SCANNER", "192.0.2.7")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_association_is_listed_while_it_is_open() -> None:
    clock = Clock()
    live = Live(clock)
    live.association_established(CALLER)
    clock.now += 3
    live.instance_answered(StoreOutcome(CALLER, 0, 500, 0.01))
    live.instance_answered(StoreOutcome(CALLER, 0, 700, 0.01))
    (one,) = live.associations
    assert (one.since, one.instances, one.bytes) == (1000.0, 2, 1200)
    live.association_ended(1)
    live.association_ended(2)  # never was one
    assert live.associations == []
    assert live.turned_away == []


def test_throughput_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    live = Live(clock)
    for _ in range(200):
        live.instance_answered(StoreOutcome(CALLER, 0, 1000, 0.01))
        clock.now += 1
    throughput = live.throughput
    assert (throughput.instances, throughput.bytes) == (1.0, 1000.0)
    assert throughput.curve == (1000,) * SECONDS
    clock.now += 30
    assert live.throughput.instances == 0
    assert live.throughput.curve == (1000,) * (SECONDS - 30) + (0,) * 30


def test_the_same_refusal_again_is_counted_and_old_ones_make_room() -> None:
    live = Live(Clock())
    rejection = Rejection(1, 1, 7, "called AE title not recognized")
    for _ in range(3):
        live.association_rejected(CALLER, rejection)
    live.connection_failed("192.0.2.9", None)
    live.instance_answered(StoreOutcome(CALLER, 0xA700, 5, 0.1))
    newest, connection, rejected = live.turned_away
    assert "disk" in newest.why
    assert connection.who == "192.0.2.9"
    assert (rejected.times, rejected.why) == (3, rejection.sentence)
    for number in range(50):
        live.connection_failed(f"192.0.2.{number}", ValueError("Doe^Jane"))
    assert len(live.turned_away) == MOST_TURNED_AWAY
    assert live.turned_away[0].why == "ValueError"

"""The machine's clock is set, by days, forward and back: nothing hangs and nothing comes too early."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.deliver.delivery import DeliveryLoop
from dicomnode.deliver.destination import Destination, RetryPolicy
from dicomnode.deliver.peer import Peer
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import NewInstance, series_key
from dicomnode.spool.states import SeriesState
from tests.deliver.test_delivery import results
from tests.dicom_network import free_port, storescp, until

DAY = 86400.0
SERIES = series_key("1.2", "1.2.3")


class Clock:
    def __init__(self) -> None:
        self.now = 1.8e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite", clock=clock)
    new = NewInstance("1.2", "1.2.3", "1.4", "1.5", "1.2.840", "a" * 64, "SCANNER")
    opened.record_instance(new, Path("x"), 1)
    opened.mark_complete(SERIES, "quiet")
    opened.claim_next()
    yield opened
    opened.close()


@pytest.mark.parametrize("days", [-400, -3, 3, 400])
def test_a_delivery_that_waits_for_its_next_attempt(
    ledger: Ledger, clock: Clock, tmp_path: Path, days: float
) -> None:
    """A clock set back used to hold the delivery up by as many days."""
    port = free_port()
    retry = RetryPolicy(first_seconds=600, factor=2, cap_seconds=900)
    pacs = Destination("pacs", Peer("PACS", "127.0.0.1", port, "NODE"), retry=retry)
    ledger.record_results(SERIES, 1, results(tmp_path), [pacs])
    loop = DeliveryLoop(ledger, [pacs], clock=clock)
    loop.start()
    until(lambda: (ledger.outbox.next_attempt_at("pacs") or 0) > clock.now, 60)
    with storescp(tmp_path, port=port) as (_, received):
        clock.now += days * DAY
        ledger.database.announce()
        until(lambda: ledger.list_series(SeriesState.DELIVERED))
        assert len(list(received.iterdir())) == 2
    loop.stop()


def test_a_clock_set_back_by_less_than_a_back_off_brings_nothing_forward(
    ledger: Ledger, clock: Clock, tmp_path: Path
) -> None:
    ledger.record_results(SERIES, 1, results(tmp_path), [Destination("pacs", Peer("PACS", "127.0.0.1", 1))])
    (first, *_) = ledger.outbox.due("pacs")
    ledger.outbox.failed(first, "refused", clock.now + 600)
    ledger.outbox.bring_forward("pacs", clock.now + 900)
    assert first.sop_instance_uid not in {one.sop_instance_uid for one in ledger.outbox.due("pacs")}

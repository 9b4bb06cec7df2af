"""Promises of the ledger, one by one and in random order."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dicomnode.spool.errors import LedgerError, SupersededError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import Kept, NewInstance
from dicomnode.spool.states import TRANSITIONS, DeliveryState, SeriesState
from tests.spool.ledger_cases import SERIES, Receiver, Result, instance

PACS = Receiver("pacs")
SR_ONLY = Receiver("ris", ("sr",))


def arrive(ledger: Ledger, number: int = 1) -> Kept:
    return ledger.record_instance(instance(number), Path(f"instances/x/{number}.dcm"), 1000)


def results(generation: int = 1) -> list[Result]:
    return [
        Result("seg", f"2.25.{generation}1", Path(f"/results/{generation}/seg.dcm")),
        Result("sr", f"2.25.{generation}2", Path(f"/results/{generation}/sr.dcm")),
    ]


def state(ledger: Ledger) -> SeriesState:
    return ledger.show(SERIES).series.state


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def analyzing(ledger: Ledger) -> Ledger:
    arrive(ledger)
    ledger.mark_complete(SERIES, "quiet")
    claimed = ledger.claim_next()
    assert claimed is not None and claimed.attempts == 1
    return ledger


def test_a_series_walks_from_receiving_to_delivered(ledger: Ledger) -> None:
    assert arrive(ledger) is Kept.NEW
    assert state(ledger) is SeriesState.RECEIVING
    assert ledger.claim_next() is None
    ledger.mark_complete(SERIES, "nothing new for 10 s")
    claimed = ledger.claim_next()
    assert claimed is not None
    assert claimed.completeness == "nothing new for 10 s"
    assert ledger.claim_next() is None
    ledger.record_results(SERIES, 1, results(), [PACS, SR_ONLY])
    assert state(ledger) is SeriesState.DELIVERING
    pacs, ris = ledger.outbox.due("pacs"), ledger.outbox.due("ris")
    assert [delivery.kind for delivery in pacs] == ["seg", "sr"]
    assert [delivery.kind for delivery in ris] == ["sr"]
    for delivery in (*pacs, *ris):
        assert state(ledger) is SeriesState.DELIVERING
        ledger.outbox.succeeded(delivery)
    assert state(ledger) is SeriesState.DELIVERED
    assert ledger.outbox.due("pacs") == ()


def test_results_without_a_destination_are_delivered(analyzing: Ledger) -> None:
    assert analyzing.record_results(SERIES, 1, results(), []).state is SeriesState.DELIVERED


@pytest.mark.parametrize("wrong", ["complete", "analyzing"])
def test_a_wrong_move_is_refused_and_changes_nothing(ledger: Ledger, wrong: str) -> None:
    arrive(ledger)
    before = ledger.show(SERIES)
    with pytest.raises(LedgerError, match="is receiving"):
        if wrong == "complete":
            ledger.requeue(SERIES, 1, "")
        else:
            ledger.record_results(SERIES, 1, results(), [PACS])
    assert ledger.show(SERIES) == before


def test_every_state_can_be_left_and_no_state_leads_to_itself() -> None:
    assert set(TRANSITIONS) == set(SeriesState)
    for origin, targets in TRANSITIONS.items():
        assert targets
        assert origin not in targets


def test_a_late_slice_supersedes_what_was_not_sent_and_keeps_what_was(analyzing: Ledger) -> None:
    analyzing.record_results(SERIES, 1, results(), [PACS])
    seg, _ = analyzing.outbox.due("pacs")
    analyzing.outbox.succeeded(seg)
    assert arrive(analyzing, 2) is Kept.NEW
    details = analyzing.show(SERIES)
    assert details.series.state is SeriesState.RECEIVING
    assert (details.series.generation, details.series.attempts, details.series.completeness) == (2, 0, "")
    assert [delivery.state for delivery in details.deliveries] == [
        DeliveryState.DELIVERED,
        DeliveryState.SUPERSEDED,
    ]
    assert [one.generation for one in details.instances] == [1, 2]
    assert analyzing.outbox.due("pacs") == ()


def test_results_of_an_old_generation_are_not_taken(analyzing: Ledger) -> None:
    arrive(analyzing, 2)
    with pytest.raises(SupersededError, match="late slices"):
        analyzing.record_results(SERIES, 1, results(), [PACS])
    with pytest.raises(SupersededError):
        analyzing.refuse(SERIES, 1, "gap", "3 slices missing")
    with pytest.raises(SupersededError):
        analyzing.fail(SERIES, 1, "crash", "the worker died")
    assert state(analyzing) is SeriesState.RECEIVING


def test_the_same_instance_again_changes_no_state(analyzing: Ledger) -> None:
    assert arrive(analyzing) is Kept.DUPLICATE
    assert analyzing.note_repetition(instance(content="b")) is Kept.CONFLICT
    assert analyzing.note_repetition(instance(9)) is None
    details = analyzing.show(SERIES)
    assert details.series.state is SeriesState.ANALYZING
    assert details.series.generation == 1
    assert details.instances[0].conflicts == 1
    assert details.instances[0].sha256 == "a" * 64


def test_a_refused_series_stays_refused_while_its_sr_is_delivered(analyzing: Ledger) -> None:
    analyzing.refuse(
        SERIES, 1, "gap", "a gap of 5 mm at z = 12 mm", results=results()[1:], destinations=[PACS]
    )
    (sr,) = analyzing.outbox.due("pacs")
    analyzing.outbox.succeeded(sr)
    series = analyzing.show(SERIES).series
    assert (series.state, series.reason) == (SeriesState.REFUSED, "gap")


def test_retry_of_a_refused_series_does_not_deliver_the_same_object_twice(analyzing: Ledger) -> None:
    for _ in range(2):
        analyzing.refuse(SERIES, 1, "gap", "a gap", results=results()[1:], destinations=[PACS])
        for delivery in analyzing.outbox.due("pacs"):
            analyzing.outbox.succeeded(delivery)
        assert analyzing.retry(SERIES).state is SeriesState.COMPLETE
        assert analyzing.claim_next() is not None
    (delivery,) = analyzing.show(SERIES).deliveries
    assert delivery.attempts == 1


def test_failed_delivery_waits_for_its_next_attempt_and_retry_makes_it_due(analyzing: Ledger) -> None:
    analyzing.record_results(SERIES, 1, results(), [PACS])
    now = time.time()
    for delivery in analyzing.outbox.due("pacs"):
        analyzing.outbox.failed(delivery, "connection refused", now + 1000)
    assert analyzing.outbox.due("pacs") == ()
    assert analyzing.outbox.next_attempt_at("pacs") == now + 1000
    (backlog,) = analyzing.outbox.backlog()
    assert (backlog.pending, backlog.last_error) == (2, "connection refused")
    analyzing.retry(SERIES)
    assert len(analyzing.outbox.due("pacs")) == 2


def test_an_interrupted_series_is_queued_again_but_not_for_ever(analyzing: Ledger) -> None:
    (series,) = analyzing.requeue_interrupted(maximum_attempts=2)
    assert series.state is SeriesState.COMPLETE
    assert analyzing.claim_next() is not None
    (series,) = analyzing.requeue_interrupted(maximum_attempts=2)
    assert (series.state, series.reason) == (SeriesState.FAILED, "interrupted")
    assert analyzing.requeue_interrupted(maximum_attempts=2) == ()
    assert analyzing.retry(SERIES).attempts == 0


def test_a_delivery_that_ends_after_a_late_slice_counts_as_delivered(analyzing: Ledger) -> None:
    analyzing.record_results(SERIES, 1, results(), [PACS])
    seg, _ = analyzing.outbox.due("pacs")
    arrive(analyzing, 2)
    analyzing.outbox.succeeded(seg)
    assert state(analyzing) is SeriesState.RECEIVING
    assert analyzing.show(SERIES).deliveries[0].state is DeliveryState.DELIVERED


def test_series_are_found_by_the_beginning_of_their_id(ledger: Ledger) -> None:
    arrive(ledger)
    assert ledger.show(SERIES[:4].upper()).series.id == SERIES
    for unknown in ("", "zz", "%", "' OR 1=1 --"):
        with pytest.raises(LedgerError, match="no series"):
            ledger.show(unknown)


def test_two_series_with_the_same_beginning_are_not_mixed_up(ledger: Ledger) -> None:
    for number in range(20):
        new = NewInstance("1.2", f"1.2.{number}", "1.3", "1.5", "1.2.840", "a" * 64, "SCANNER")
        ledger.record_instance(new, Path("x"), 1)
    with pytest.raises(LedgerError, match="more than one"):  # 20 ids, 16 first digits
        for digit in "0123456789abcdef":
            if any(series.id.startswith(digit) for series in ledger.list_series()):
                ledger.show(digit)


@pytest.mark.parametrize("uid", ["", "1.2/../3", "1'; DROP TABLE series; --", "1." * 33, "1.2\n", "é"])
def test_what_is_no_uid_never_reaches_the_ledger(uid: str) -> None:
    with pytest.raises(LedgerError, match="series_instance_uid"):
        NewInstance("1.2", uid, "1.3", "1.5", "1.2.840", "a" * 64, "SCANNER")


def test_a_newer_schema_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="schema version 99"):
        Ledger(path)


def test_the_file_is_synced_at_every_commit(ledger: Ledger) -> None:
    with ledger.database.read() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_file_that_is_no_ledger_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is not a database, by far not one" * 100)
    with pytest.raises(LedgerError, match="can't open the ledger"):
        Ledger(path)


def test_waiting_ends_with_a_change_in_this_process(ledger: Ledger) -> None:
    arrive(ledger)
    seen = ledger.database.version
    threading.Timer(0.05, ledger.mark_complete, (SERIES, "quiet")).start()
    begin = time.monotonic()
    assert ledger.database.wait(seen, 20) != seen
    assert time.monotonic() - begin < 5
    assert ledger.claim_next() is not None


def test_waiting_ends_with_a_change_in_another_process(analyzing: Ledger) -> None:
    analyzing.fail(SERIES, 1, "crash", "the worker died")
    seen = analyzing.database.version
    program = (
        "from pathlib import Path; from dicomnode.spool.ledger import Ledger; import sys; "
        "Ledger(Path(sys.argv[1])).retry(sys.argv[2])"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(analyzing.database.path), SERIES])
    assert analyzing.database.wait(seen, 20) != seen
    assert other.wait() == 0
    assert analyzing.claim_next() is not None


def test_waiting_without_a_change_ends_in_time(ledger: Ledger) -> None:
    begin = time.monotonic()
    assert ledger.database.wait(ledger.database.version, 0.05) == ledger.database.version
    assert 0.04 < time.monotonic() - begin < 1


def test_many_threads_claim_each_series_once(ledger: Ledger) -> None:
    for number in range(30):
        new = NewInstance("1.2", f"1.2.{number}", "1.3", "1.5", "1.2.840", "a" * 64, "SCANNER")
        ledger.record_instance(new, Path("x"), 1)
        ledger.mark_complete(new.series_id, "quiet")
    claimed: list[str] = []

    def work() -> None:
        while (series := ledger.claim_next()) is not None:
            claimed.append(series.id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 30


class LedgerMachine(RuleBasedStateMachine):
    """Anything that can happen, in any order: the ledger always agrees with the table of transitions."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.sqlite")
        self.numbers = iter(range(1, 1000))
        self.sent: set[tuple[str, str]] = set()

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    @property
    def series(self):  # type: ignore[no-untyped-def]
        found = self.ledger.list_series()
        return found[0] if found else None

    @rule()
    def new_slice(self) -> None:
        arrive(self.ledger, next(self.numbers))

    @precondition(lambda self: self.series is not None)
    @rule(
        action=st.sampled_from(
            ["complete", "claim", "results", "refuse", "fail", "requeue", "retry", "restart"]
        )
    )
    def act(self, action: str) -> None:
        series, ledger = self.series, self.ledger
        generation = series.generation
        try:
            match action:
                case "complete":
                    ledger.mark_complete(series.id, "quiet")
                case "claim":
                    ledger.claim_next()
                case "results":
                    ledger.record_results(series.id, generation, results(generation), [PACS, SR_ONLY])
                case "refuse":
                    sr = results(generation)[1:]
                    ledger.refuse(series.id, generation, "gap", "", results=sr, destinations=[PACS])
                case "fail":
                    ledger.fail(series.id, generation, "crash", "")
                case "requeue":
                    ledger.requeue(series.id, generation, "")
                case "retry":
                    ledger.retry(series.id)
                case "restart":
                    ledger.requeue_interrupted(3)
        except LedgerError:
            assert self.series == series, "a refused move changed the series"

    @rule(name=st.sampled_from(["pacs", "ris"]))
    def deliver(self, name: str) -> None:
        for delivery in self.ledger.outbox.due(name):
            key = (name, delivery.sop_instance_uid)
            assert key not in self.sent, "delivered twice"
            self.sent.add(key)
            self.ledger.outbox.succeeded(delivery)

    @invariant()
    def states_agree(self) -> None:
        series = self.series
        if series is None:
            return
        details = self.ledger.show(series.id)
        assert series.instances == len(details.instances)
        pending = [one for one in details.deliveries if one.state is DeliveryState.PENDING]
        assert (series.state is SeriesState.DELIVERING) <= bool(pending), "delivering, but nothing to deliver"
        if pending:
            assert series.state in (SeriesState.DELIVERING, SeriesState.REFUSED)


LedgerMachine.TestCase.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedgerMachine = LedgerMachine.TestCase

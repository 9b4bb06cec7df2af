"""Purging takes away only what is at its end, and never what arrives meanwhile."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.spool.errors import LedgerError
from dicomnode.spool.purging import PURGED_BY_RETENTION
from dicomnode.spool.records import Kept, NewInstance
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from tests.spool.ledger_cases import SERIES, Receiver, Result


def instance(number: int) -> tuple[NewInstance, bytes]:
    content = bytes([number]) * 5000
    digest = hashlib.sha256(content).hexdigest()
    return NewInstance(
        "1.2", "1.2.3", f"1.2.3.{number}", "1.5", "1.2.840.10008.1.2.1", digest, "SCANNER"
    ), content


def keep(spool: Spool, number: int) -> Kept:
    new, content = instance(number)
    return spool.keep(new, (content,))


def analyze(spool: Spool, destinations: list[Receiver]) -> Path:
    """Take the series to its results; the folder of the results."""
    spool.ledger.mark_complete(SERIES, "quiet")
    series = spool.ledger.claim_next()
    assert series is not None
    folder = spool.results_directory(series.id, series.generation)
    for name in ("sr.dcm", "overview.png", "measurements.json"):
        (folder / name).write_bytes(name.encode())
    sr = Result("sr", f"2.25.{series.generation}", folder / "sr.dcm")
    spool.ledger.record_results(series.id, series.generation, [sr], destinations)
    return folder


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool")
    yield opened
    opened.close()


def files(spool: Spool) -> list[Path]:
    return list(spool.files.all_paths())


def test_images_and_objects_go_history_and_measurements_stay(spool: Spool) -> None:
    keep(spool, 1)
    folder = analyze(spool, [])
    spool.purge(SERIES)
    assert not files(spool)
    assert [path.name for path in folder.iterdir()] == ["measurements.json"]
    details = spool.ledger.show(SERIES)
    assert details.series.purged_at is not None
    assert (details.instances, details.series.instances) == ((), 1)
    assert [event.text for event in details.events][-1] == "purged"
    assert not list((spool.directory / "purged").iterdir())
    with pytest.raises(LedgerError, match="purged already"):
        spool.purge(SERIES)


@pytest.mark.parametrize("commitment", [False, True])
def test_what_is_not_at_its_end_stays(spool: Spool, commitment: bool) -> None:
    keep(spool, 1)
    with pytest.raises(LedgerError, match="is receiving, not at its end"):
        spool.purge(SERIES)
    analyze(spool, [Receiver("pacs", commitment=commitment)])
    with pytest.raises(LedgerError, match="is delivering"):
        spool.purge(SERIES)
    for delivery in spool.ledger.outbox.due("pacs"):
        spool.ledger.outbox.succeeded(delivery)
    if commitment:
        with pytest.raises(LedgerError, match="has not promised to keep"):
            spool.purge(SERIES)
        assert not spool.ledger.purgeable(PURGED_BY_RETENTION, 1e12)
    else:
        assert [one.id for one in spool.ledger.purgeable(PURGED_BY_RETENTION, 1e12)] == [SERIES]
        spool.purge(SERIES)
    assert len(files(spool)) == commitment


def test_a_refused_series_waits_for_the_delivery_of_its_report(spool: Spool) -> None:
    keep(spool, 1)
    spool.ledger.mark_complete(SERIES, "quiet")
    spool.ledger.claim_next()
    sr = Result("sr", "2.25.1", spool.results_directory(SERIES, 1) / "sr.dcm")
    spool.ledger.refuse(SERIES, 1, "gap", "slices", results=[sr], destinations=[Receiver("pacs")])
    with pytest.raises(LedgerError, match="results that are not delivered"):
        spool.purge(SERIES)


def test_failed_series_are_purged_only_by_hand(spool: Spool) -> None:
    keep(spool, 1)
    spool.ledger.mark_complete(SERIES, "quiet")
    spool.ledger.claim_next()
    spool.ledger.fail(SERIES, 1, "analysis_failed", "why")
    assert not spool.ledger.purgeable(PURGED_BY_RETENTION, 1e12)
    spool.purge(SERIES)
    with pytest.raises(LedgerError, match="send it again"):
        spool.ledger.retry(SERIES)


def test_a_purged_series_that_is_sent_again_is_new_and_its_result_is_not_sent_twice(spool: Spool) -> None:
    pacs = [Receiver("pacs")]
    keep(spool, 1)
    analyze(spool, pacs)
    for delivery in spool.ledger.outbox.due("pacs"):
        spool.ledger.outbox.succeeded(delivery)
    spool.purge(SERIES)
    assert keep(spool, 1) is Kept.NEW
    series = spool.ledger.show(SERIES).series
    assert (series.state, series.instances, series.purged_at) == (SeriesState.RECEIVING, 1, None)
    spool.ledger.mark_complete(SERIES, "quiet")
    spool.ledger.claim_next()
    same = Result("sr", "2.25.1", spool.results_directory(SERIES, 2) / "sr.dcm")
    done = spool.ledger.record_results(SERIES, 2, [same], pacs)
    assert done.state is SeriesState.DELIVERED


def test_a_crash_between_row_and_files_brings_nothing_back(spool: Spool) -> None:
    keep(spool, 1)
    analyze(spool, [])
    spool.ledger.mark_purged(SERIES)
    assert files(spool)
    assert spool.recover().adopted == 0
    assert not files(spool)
    assert spool.ledger.show(SERIES).series.purged_at is not None


def test_nothing_that_arrives_during_a_purge_is_lost(spool: Spool) -> None:
    for round_number in range(20):
        keep(spool, 1)
        analyze(spool, [])
        barrier = threading.Barrier(3)
        kept: list[Kept] = []

        def send(number: int, barrier: threading.Barrier = barrier, kept: list[Kept] = kept) -> None:
            barrier.wait()
            kept.append(keep(spool, number))

        def purge(barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            spool.purge(SERIES)

        senders = [threading.Thread(target=send, args=(100 + 2 * round_number + n,)) for n in range(2)]
        purger = threading.Thread(target=_quietly, args=(purge,))
        for thread in (*senders, purger):
            thread.start()
        for thread in (*senders, purger):
            thread.join()
        assert kept == [Kept.NEW, Kept.NEW]
        recorded = {one.path for one in spool.ledger.instances(SERIES)}
        assert recorded == set(files(spool))
        assert len(recorded) >= 2


def _quietly(purge: object) -> None:
    """A late slice may be faster, and then the series isn't at its end."""
    try:
        purge()  # type: ignore[operator]
    except LedgerError as error:
        assert "not at its end" in str(error)


def test_requests_of_senders_go_with_the_last_series_that_they_list(spool: Spool) -> None:
    keep(spool, 1)
    asked = spool.ledger.asked_by_others
    of_series, unheard = [("1.5", "1.2.3.1")], [("1.5", "1.2.3.1"), ("1.5", "1.2.3.2")]
    asked.accept("SCANNER", "1.9.1", of_series)
    asked.reported(asked.waiting()[0])
    asked.accept("SCANNER", "1.9.2", unheard)
    assert len(asked.listings(SERIES)) == 2
    analyze(spool, [])
    spool.purge(SERIES)
    with spool.ledger.database.read() as connection:
        left = connection.execute("SELECT DISTINCT transaction_uid FROM commitment_request_item").fetchall()
    assert [row[0] for row in left] == ["1.9.2"], "not reported yet"
    assert [request.transaction_uid for request in asked.waiting()] == ["1.9.2"]

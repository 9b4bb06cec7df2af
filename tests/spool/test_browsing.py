"""Looking around in the ledger: beside the node, and in a time that doesn't grow with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.spool.browsing import FINISHED, NOT_MEASURED, ON_THE_WAY, Browser, Delivered, Query
from dicomnode.spool.errors import LedgerError, LedgerUnavailableError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import series_key
from dicomnode.spool.states import SeriesState
from tests.spool.ledger_cases import Receiver, analyzed, arrive
from tests.spool.many_series import many_series

PACS = Receiver("pacs")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


@pytest.fixture
def browser(ledger: Ledger) -> Iterator[Browser]:
    browser = Browser(ledger.database.path)
    yield browser
    browser.close()


def test_it_sees_what_the_ledger_says(ledger: Ledger, browser: Browser) -> None:
    series = analyzed(ledger, [PACS])
    arrive(ledger, series="1.2.99")
    assert [one.id for one in browser.newest(ON_THE_WAY, 10)] == [series_key("1.2", "1.2.99"), series.id]
    assert browser.newest(FINISHED, 10) == browser.newest(NOT_MEASURED, 10) == []
    assert browser.counts() == ledger.count_by_state()
    assert browser.show(series.id[:6]) == ledger.show(series.id)
    assert browser.delivered(series.id, 1) == Delivered(0, 2)
    first = ledger.show(series.id).deliveries[0]
    ledger.outbox.succeeded(first)
    assert browser.delivered(series.id, 1) == Delivered(1, 2)
    ledger.outbox.refused(ledger.show(series.id).deliveries[1], "no", whole_kind=False)
    assert browser.delivered(series.id, 1).done == 1


def test_it_reads_while_the_node_writes(ledger: Ledger, browser: Browser) -> None:
    arrive(ledger)
    with ledger.database.write() as connection:
        connection.execute("UPDATE series SET state = 'failed'")
        assert browser.counts()[SeriesState.RECEIVING] == 1
    assert browser.counts()[SeriesState.FAILED] == 1


def test_it_can_not_write(ledger: Ledger, browser: Browser) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        browser._connection.execute("DELETE FROM series")


def test_search(ledger: Ledger, browser: Browser) -> None:
    many_series(ledger, 200)
    every = browser.search(Query(), 1000)
    assert len(every) == browser.count(Query()) == 200
    assert [one.created_at for one in every] == sorted((one.created_at for one in every), reverse=True)
    assert browser.search(Query(), 20, 40) == every[40:60]
    begin, end = every[150].created_at, every[50].created_at
    inside = browser.search(Query(begin, end), 1000)
    assert inside == [one for one in every if begin <= one.created_at < end]
    failed = browser.search(Query(states=NOT_MEASURED), 1000)
    assert failed == [one for one in every if one.state in NOT_MEASURED] != []
    study = Query(study_instance_uid=every[7].study_instance_uid)
    assert every[7] in browser.search(study, 1000)
    assert {one.study_instance_uid for one in browser.search(study, 1000)} == {every[7].study_instance_uid}
    assert browser.search(Query(series_ids=(every[3].id,)), 10) == [every[3]]
    assert browser.count(Query(series_ids=())) == 0
    assert browser.count(Query(study_instance_uid="1' OR '1'='1")) == 0


@pytest.mark.parametrize(
    "question",
    [
        lambda browser: browser.newest((*ON_THE_WAY, *FINISHED, *NOT_MEASURED), 12),
        lambda browser: browser.delivered("0" * 16, 1),
        lambda browser: browser.search(Query(), 50),
        lambda browser: browser.search(Query(begins_at=1.0, ends_at=2.0), 50),
        lambda browser: browser.search(Query(study_instance_uid="1.2.3"), 50),
    ],
)
def test_no_question_of_a_page_reads_all_series(ledger: Ledger, question: object) -> None:
    """Steps by an index, however many series there are: SQLite says how it will find the answer."""
    browser = Browser(ledger.database.path)
    asked: list[str] = []
    browser._connection.set_trace_callback(asked.append)
    question(browser)  # type: ignore[operator]
    browser._connection.set_trace_callback(None)
    for query in [text for text in asked if text.startswith("SELECT")]:
        for row in browser._connection.execute(f"EXPLAIN QUERY PLAN {query}"):
            assert "SCAN series" not in row["detail"] or "USING INDEX" in row["detail"], row["detail"]
            few = "study_instance_uid = " in query
            assert few or "ORDER BY" not in row["detail"], "sorted after reading all of them"
    browser.close()


def test_without_a_ledger_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailableError, match="can't read the ledger"):
        Browser(tmp_path / "none.sqlite")


def test_an_unknown_series(browser: Browser) -> None:
    with pytest.raises(LedgerError, match="no series"):
        browser.show("ffff")

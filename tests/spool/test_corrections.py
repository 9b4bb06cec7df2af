"""Which series corrects which, and what a correction begins with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import series_key
from dicomnode.spool.states import SeriesState
from tests.spool.ledger_cases import SERIES, analyzed, arrive, results

FIRST, SECOND = series_key("1.2", "1.2.4"), series_key("1.2", "1.2.5")


class Clock:
    """Moves on by a second each time it is read."""

    now = 1000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite", clock=Clock())
    yield ledger
    ledger.close()


def measured(ledger: Ledger, number: int) -> None:
    analyzed(ledger, (), number=number)


def test_a_correction_begins_with_the_last_result_of_its_ct(ledger: Ledger) -> None:
    measured(ledger, 1)
    measured(ledger, 2)
    ledger.corrections.note_source(FIRST, SERIES)
    last = ledger.corrections.last_results(SERIES, SECOND)
    assert [result.series_id for result in last] == [FIRST] * 3
    assert [result.kind for result in last] == ["seg", "sr", "sc"]


def test_a_correction_made_again_begins_where_it_began_the_first_time(ledger: Ledger) -> None:
    measured(ledger, 1)
    for number, correction in ((2, FIRST), (3, SECOND)):
        measured(ledger, number)
        ledger.corrections.note_source(correction, SERIES)
    assert {r.series_id for r in ledger.corrections.last_results(SERIES, FIRST)} == {SERIES}
    assert {r.series_id for r in ledger.corrections.last_results(SERIES, SECOND)} == {FIRST}


def test_a_correction_without_its_ct_waits_and_is_taken_up_once(ledger: Ledger) -> None:
    arrive(ledger, series="1.2.4")
    ledger.mark_complete(FIRST, "quiet")
    claimed = ledger.claim_next()
    assert claimed is not None
    ledger.corrections.note_source(FIRST, SERIES)
    assert ledger.corrections.source(SERIES) is None
    refusal = results(1, 2, ("sr",))
    ledger.refuse(FIRST, 1, "no_source_images", "not here", results=refusal)
    measured(ledger, 1)
    assert [series.id for series in ledger.corrections.take_up(SERIES)] == [FIRST]
    assert ledger.corrections.take_up(SERIES) == ()
    (waiting,) = ledger.list_series(SeriesState.COMPLETE)
    assert (waiting.id, waiting.attempts, waiting.corrects) == (FIRST, 0, SERIES)
    # what told that it waits is no result to begin with
    assert {r.series_id for r in ledger.corrections.last_results(SERIES, FIRST)} == {SERIES}


def test_other_refusals_are_not_taken_up(ledger: Ledger) -> None:
    arrive(ledger, series="1.2.4")
    ledger.mark_complete(FIRST, "quiet")
    ledger.claim_next()
    ledger.corrections.note_source(FIRST, SERIES)
    ledger.refuse(FIRST, 1, "other_grid", "elsewhere")
    assert ledger.corrections.take_up(SERIES) == ()


def test_results_of_this_node_are_known_by_their_uids(ledger: Ledger) -> None:
    measured(ledger, 1)
    own = results()[0]
    assert ledger.corrections.own_results([own.sop_instance_uid, "1.2.3"]) == {own.sop_instance_uid: own.path}

"""Results by the digests of their patients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomnode.spool.ledger import Ledger
from dicomnode.spool.patient_results import PatientResult
from tests.spool.ledger_cases import SERIES, arrive

ONE = PatientResult({"PatientID": "a" * 64, "PatientSex": "c" * 64}, "{}", '["found"]')


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def record(ledger: Ledger, number: int, result: PatientResult | None) -> int:
    arrive(ledger, number)
    ledger.mark_complete(SERIES, "quiet")
    series = ledger.claim_next()
    assert series is not None
    ledger.record_results(SERIES, series.generation, [], [], patient_result=result)
    return series.generation


def test_a_result_is_found_by_each_of_its_marks(ledger: Ledger) -> None:
    generation = record(ledger, 1, ONE)
    for keyword, digest in ONE.marks.items():
        assert ledger.patient_results(keyword, digest) == (ONE,)
    assert ledger.patient_results("PatientID", "b" * 64) == ()
    assert ledger.patient_results("PatientName", "a" * 64) == ()
    assert ledger.findings(SERIES, generation) == '["found"]'
    assert ledger.findings(SERIES, generation + 1) is None
    assert ledger.findings("nobody", 1) is None


def test_a_new_generation_takes_the_place_of_the_old(ledger: Ledger) -> None:
    record(ledger, 1, ONE)
    arrive(ledger, 2)
    assert ledger.patient_results("PatientID", "a" * 64) == (), "late slices came"
    ledger.mark_complete(SERIES, "quiet")
    series = ledger.claim_next()
    assert series is not None
    other = PatientResult({"PatientID": "b" * 64}, '{"new": 1}', "[]")
    ledger.record_results(SERIES, series.generation, [], [], patient_result=other)
    assert ledger.patient_results("PatientID", "b" * 64) == (other,)
    assert ledger.patient_results("PatientID", "a" * 64) == ()
    assert ledger.patient_results("PatientSex", "c" * 64) == ()


def test_a_result_that_replaces_without_being_noted_hides_the_old_one(ledger: Ledger) -> None:
    record(ledger, 1, ONE)
    record(ledger, 2, None)
    assert ledger.patient_results("PatientID", "a" * 64) == ()


def test_it_is_there_with_the_results_or_not_at_all(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    arrive(ledger)
    ledger.mark_complete(SERIES, "quiet")
    series = ledger.claim_next()
    assert series is not None

    def dies(*_: object) -> None:
        raise RuntimeError("killed before the commit")

    monkeypatch.setattr("dicomnode.spool.ledger.settle", dies)
    with pytest.raises(RuntimeError):
        ledger.record_results(SERIES, series.generation, [], [], patient_result=ONE)
    assert ledger.patient_results("PatientID", "a" * 64) == ()
    assert ledger.findings(SERIES, series.generation) is None

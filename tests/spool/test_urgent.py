"""Series of an emergency station are analyzed before those that wait longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicomnode.spool.ledger import Ledger
from tests.spool.ledger_cases import instance


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def complete(ledger: Ledger, series: str, sender: str) -> str:
    new = replace(instance(series=series), calling_ae_title=sender)
    ledger.record_instance(new, Path(f"{series}.dcm"), 1000)
    ledger.mark_complete(new.series_id, "quiet")
    return new.series_id


def order(ledger: Ledger, *urgent: str) -> list[str]:
    claimed = []
    while (series := ledger.claim_next(urgent)) is not None:
        claimed.append(series.id)
    return claimed


def test_urgent_senders_first_and_the_longest_waiting_of_each(ledger: Ledger) -> None:
    assert not ledger.has_complete()
    senders = ("CT1", "EMERGENCY", "CT1", "SHOCKROOM")
    ids = [complete(ledger, f"1.2.{number}", sender) for number, sender in enumerate(senders)]
    assert ledger.has_complete()
    assert order(ledger, "SHOCKROOM", "EMERGENCY") == [ids[1], ids[3], ids[0], ids[2]]
    assert not ledger.has_complete()


def test_without_urgent_senders_the_longest_waiting_first(ledger: Ledger) -> None:
    ids = [complete(ledger, f"1.2.{number}", "EMERGENCY' OR 1") for number in range(3)]
    assert order(ledger) == ids

"""Messages of storage commitment, right and wrong, and what a report changes in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode, encode

from dicomnode.spool.ledger import Ledger
from dicomnode.spool.states import SeriesState
from dicomnode.storage_commitment import (
    FAILURES_EVENT,
    INVALID_ARGUMENT,
    NO_SUCH_EVENT_TYPE,
    SUCCESS,
    FailureReason,
    Report,
    Request,
    StorageCommitmentError,
    build_report,
    build_request,
    handle_event_report,
    read_report,
    read_request,
)
from tests.spool.ledger_cases import SERIES, Receiver, analyzed

CT = "1.2.840.10008.5.1.4.1.1.2"
ARCHIVE = Receiver("archive", commitment=True)


def through_the_network(dataset: Dataset) -> Dataset:
    encoded = encode(dataset, False, True)
    assert encoded is not None
    return decode(BytesIO(encoded), False, True)


def test_a_request_arrives_as_it_was_sent() -> None:
    request = Request("2.25.1", ((CT, "1.2.3"), (CT, "1.2.4")))
    assert read_request(through_the_network(build_request(request))) == request


@pytest.mark.parametrize("failed", [(), (((CT, "1.2.4"), FailureReason.NO_SUCH_INSTANCE),)])
def test_a_report_arrives_as_it_was_sent(failed: tuple[tuple[tuple[str, str], int], ...]) -> None:
    report = Report("2.25.1", ((CT, "1.2.3"),), failed)
    dataset = build_report(report)
    assert read_report(through_the_network(dataset)) == report
    assert ("FailedSOPSequence" in dataset) == bool(failed)
    assert report.event_type == (2 if failed else 1)


def test_what_is_in_both_lists_counts_as_failed() -> None:
    both = Report("2.25.1", ((CT, "1.2.3"), (CT, "1.2.4")), (((CT, "1.2.4"), 0x0110),))
    assert read_report(build_report(both)).committed == ((CT, "1.2.3"),)


def test_messages_that_are_none() -> None:
    with pytest.raises(StorageCommitmentError, match="not a storage commitment request"):
        read_request(Dataset())
    with pytest.raises(StorageCommitmentError, match="refers to no instance"):
        read_request(build_request(Request("2.25.1", ())))
    with pytest.raises(StorageCommitmentError, match="not a storage commitment report"):
        read_report(Dataset())
    for wrong in ("../1", "1" * 65, ""):
        with pytest.raises(StorageCommitmentError, match="UID that isn't one"), pytest.warns(UserWarning):
            read_report(build_report(Report(wrong or "'", ((CT, "1.2"),))))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Of a series that an archive has, and has been asked to keep."""
    opened = Ledger(tmp_path / "ledger.sqlite")
    analyzed(opened, [ARCHIVE])
    for delivery in opened.outbox.due("archive"):
        opened.outbox.succeeded(delivery)
    asked = opened.asked_of_destinations
    asked.asked("2.25.77", "archive", asked.to_ask("archive"), 2e10)
    yield opened
    opened.close()


def references(ledger: Ledger) -> list[tuple[str, str]]:
    return [(one.sop_class_uid, one.sop_instance_uid) for one in ledger.show(SERIES).deliveries]


def state(ledger: Ledger) -> SeriesState:
    return ledger.show(SERIES).series.state


def test_a_report_commits_the_series(ledger: Ledger) -> None:
    dataset = build_report(Report("2.25.77", tuple(references(ledger))))
    assert handle_event_report(ledger, dataset, 1) == SUCCESS
    assert state(ledger) is SeriesState.COMMITTED
    assert handle_event_report(ledger, dataset, 1) == SUCCESS, "the same report may come twice"


def test_what_is_missing_is_delivered_again_and_what_is_not_is_asked_for_again(ledger: Ledger) -> None:
    seg, sr = references(ledger)
    unsupported = Report("2.25.77", (), ((sr, FailureReason.SOP_CLASS_NOT_SUPPORTED),))
    assert handle_event_report(ledger, build_report(unsupported), FAILURES_EVENT) == SUCCESS
    assert state(ledger) is SeriesState.DELIVERED
    missing = Report("2.25.77", (sr,), ((seg, FailureReason.NO_SUCH_INSTANCE),))
    assert handle_event_report(ledger, build_report(missing), FAILURES_EVENT) == SUCCESS
    assert state(ledger) is SeriesState.DELIVERING
    assert [one.kind for one in ledger.outbox.due("archive")] == ["seg"]


def test_reports_that_nobody_asked_for_change_nothing(ledger: Ledger) -> None:
    dataset = build_report(Report("2.25.78", tuple(references(ledger))))
    assert handle_event_report(ledger, dataset, 1) == INVALID_ARGUMENT
    assert handle_event_report(ledger, dataset, 3) == NO_SUCH_EVENT_TYPE
    assert handle_event_report(ledger, Dataset(), 1) == INVALID_ARGUMENT
    assert state(ledger) is SeriesState.DELIVERED

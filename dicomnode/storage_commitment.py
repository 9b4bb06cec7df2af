"""Storage Commitment Push Model (PS3.4 Annex J): what its messages say, for both ends of the corridor."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from pydicom.dataset import Dataset

from dicomnode.spool.errors import SpoolError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import is_uid

LOGGER = logging.getLogger(__name__)

SOP_CLASS = "1.2.840.10008.1.20.1"
SOP_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known instance that every request and report is about (PS3.4 J.3.5)."""

REQUEST_ACTION = 1
"""Action Type ID of the N-ACTION that asks for a promise (PS3.4 Table J.3-1)."""

ALL_COMMITTED_EVENT = 1
FAILURES_EVENT = 2
"""Event Type IDs of the N-EVENT-REPORT that answers (PS3.4 Table J.3-2)."""

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_EVENT_TYPE = 0x0113
INVALID_ARGUMENT = 0x0115

Reference = tuple[str, str]
"""SOP class UID and SOP instance UID."""


class FailureReason(IntEnum):
    """Why an instance is not promised to be kept (PS3.3 C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    DUPLICATE_TRANSACTION = 0x0131
    RESOURCE_LIMITATION = 0x0213


NOT_MISSING = frozenset(
    {
        FailureReason.SOP_CLASS_NOT_SUPPORTED,
        FailureReason.DUPLICATE_TRANSACTION,
        FailureReason.RESOURCE_LIMITATION,
    }
)
"""Reasons that don't say that the instance isn't there: it is asked for later, not sent again."""


class StorageCommitmentError(Exception):
    """A message isn't one of storage commitment; the message quotes nothing of it."""


@dataclass(frozen=True)
class Request:
    """Action Information of an N-ACTION: instances that the requestor would like to delete."""

    transaction_uid: str
    instances: tuple[Reference, ...]


@dataclass(frozen=True)
class Report:
    """Event Information of an N-EVENT-REPORT.

    Parameters
    ----------
    committed:
        Instances that are safe with whom was asked.
    failed:
        Those that are not, each with its Failure Reason (0008,1197).
    """

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...] = ()

    @property
    def event_type(self) -> int:
        """Event Type ID."""
        return FAILURES_EVENT if self.failed else ALL_COMMITTED_EVENT


def build_request(request: Request) -> Dataset:
    """Action Information."""
    dataset = Dataset()
    dataset.TransactionUID = request.transaction_uid
    dataset.ReferencedSOPSequence = [_item(reference) for reference in request.instances]
    return dataset


def read_request(dataset: Dataset) -> Request:
    """Action Information of somebody else.

    Raises
    ------
    StorageCommitmentError
        If it lacks something, or a UID isn't one.
    """
    try:
        request = Request(str(dataset.TransactionUID), tuple(map(_reference, dataset.ReferencedSOPSequence)))
    except Exception as error:  # pydicom reads lazily and raises many kinds
        raise StorageCommitmentError(f"not a storage commitment request ({type(error).__name__})") from error
    if not request.instances:
        raise StorageCommitmentError("a storage commitment request refers to no instance")
    _check_uids(request.transaction_uid, request.instances)
    return request


def build_report(report: Report) -> Dataset:
    """Event Information; a sequence without items is left out (types 1C, PS3.4 Table J.3-2)."""
    dataset = Dataset()
    dataset.TransactionUID = report.transaction_uid
    if report.failed:
        dataset.FailedSOPSequence = []
        for reference, reason in report.failed:
            item = _item(reference)
            item.FailureReason = reason
            dataset.FailedSOPSequence.append(item)
    if report.committed:
        dataset.ReferencedSOPSequence = [_item(reference) for reference in report.committed]
    return dataset


def read_report(dataset: Dataset) -> Report:
    """Event Information of somebody else; an instance that is in both lists counts as failed.

    Raises
    ------
    StorageCommitmentError
        If it lacks the transaction, or a UID isn't one.
    """
    try:
        failed = tuple(
            (_reference(item), int(item.get("FailureReason") or FailureReason.PROCESSING_FAILURE))
            for item in dataset.get("FailedSOPSequence") or ()
        )
        lost = {reference for reference, _ in failed}
        referenced = map(_reference, dataset.get("ReferencedSOPSequence") or ())
        report = Report(
            str(dataset.TransactionUID), tuple(one for one in referenced if one not in lost), failed
        )
    except Exception as error:  # pydicom reads lazily and raises many kinds
        raise StorageCommitmentError(f"not a storage commitment report ({type(error).__name__})") from error
    _check_uids(report.transaction_uid, [*report.committed, *lost])
    return report


def handle_event_report(ledger: Ledger, dataset: Dataset, event_type: int) -> int:
    """Take a destination's N-EVENT-REPORT, wherever it arrived; the status to answer with (PS3.7 10.1.1)."""
    if event_type not in (ALL_COMMITTED_EVENT, FAILURES_EVENT):
        return NO_SUCH_EVENT_TYPE
    try:
        report = read_report(dataset)
    except StorageCommitmentError as error:
        LOGGER.warning("storage commitment report refused: %s", error)
        return INVALID_ARGUMENT
    committed = [uid for (_, uid) in report.committed]
    missing = [uid for (_, uid), reason in report.failed if reason not in NOT_MISSING]
    try:
        destination = ledger.asked_of_destinations.answered(report.transaction_uid, committed, missing)
    except SpoolError as error:
        LOGGER.error("storage commitment report not noted: %s", error)
        return PROCESSING_FAILURE
    if destination is None:
        LOGGER.warning("storage commitment report refused: the node has not asked for it")
        return INVALID_ARGUMENT
    extra = {"destination": destination, "committed": len(committed), "failed": len(report.failed)}
    if report.failed:
        reasons = ", ".join(sorted({f"{reason:04X}" for _, reason in report.failed}))
        LOGGER.warning("storage commitment refused for some objects: %s", reasons, extra=extra)
    else:
        LOGGER.info("storage commitment", extra=extra)
    return SUCCESS


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    return item


def _reference(item: Dataset) -> Reference:
    return str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)


def _check_uids(transaction_uid: str, references: Iterable[Reference]) -> None:
    if not all(map(is_uid, (transaction_uid, *(uid for reference in references for uid in reference)))):
        raise StorageCommitmentError("a storage commitment message contains a UID that isn't one")

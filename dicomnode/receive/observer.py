"""What happens at the front door, told to whoever keeps count of it: metrics, audit trail, identifier log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from dicomnode.receive.access import Rejection
from dicomnode.receive.dataset_scan import DatasetIdentity
from dicomnode.spool.records import Kept

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """The requestor of an association; ``association`` is the number that the log has."""

    association: int
    ae_title: str
    address: str


@dataclass(frozen=True)
class StoreOutcome:
    """One C-STORE request and its answer.

    Parameters
    ----------
    status:
        What the sender got (PS3.4 B.2.3).
    size:
        Bytes of the data set.
    seconds:
        From the complete request to the answer.
    identity:
        ``None`` if the data set could not be read.
    kept:
        ``None`` if it was not stored.
    series_id:
        Of the ledger; empty as long as the series is not known.
    """

    caller: Caller
    status: int
    size: int
    seconds: float
    identity: DatasetIdentity | None = None
    kept: Kept | None = None
    series_id: str = ""


class ReceiveObserver:
    """Does nothing; observers override what they want to know. Methods are called from many threads."""

    def connection_failed(self, address: str, error: BaseException | None) -> None:
        """A connection never became an association; ``error`` is ``None`` if there were too many."""

    def association_rejected(self, caller: Caller, rejection: Rejection) -> None:
        """The requestor got an A-ASSOCIATE-RJ."""

    def association_established(self, caller: Caller) -> None:
        """The requestor got an A-ASSOCIATE-AC."""

    def instance_answered(self, outcome: StoreOutcome) -> None:
        """A C-STORE request is about to be answered."""

    def association_ended(self, association: int) -> None:
        """A connection is over, however it ended; it may never have become an association."""


class Observers(ReceiveObserver):
    """Tells several; what goes wrong with one of them never reaches the sender."""

    def __init__(self, observers: Sequence[ReceiveObserver]) -> None:
        self._observers = tuple(observers)

    def connection_failed(self, address: str, error: BaseException | None) -> None:
        """Pass it on."""
        self._tell("connection_failed", address, error)

    def association_rejected(self, caller: Caller, rejection: Rejection) -> None:
        """Pass it on."""
        self._tell("association_rejected", caller, rejection)

    def association_established(self, caller: Caller) -> None:
        """Pass it on."""
        self._tell("association_established", caller)

    def instance_answered(self, outcome: StoreOutcome) -> None:
        """Pass it on."""
        self._tell("instance_answered", outcome)

    def association_ended(self, association: int) -> None:
        """Pass it on."""
        self._tell("association_ended", association)

    def _tell(self, what: str, *about: object) -> None:
        for observer in self._observers:
            try:
                getattr(observer, what)(*about)
            except Exception as error:  # the type alone: a message could quote the data set
                LOGGER.error("%s not noted: unexpected %s", what, type(error).__name__)

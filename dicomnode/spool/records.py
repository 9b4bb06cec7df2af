"""Rows of the ledger as frozen, typed records; times are seconds since 1970-01-01 UTC."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from dicomnode.spool.errors import LedgerError
from dicomnode.spool.states import DeliveryState, SeriesState

_UID = re.compile(r"[0-9.]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_uid(text: str) -> bool:
    """Whether ``text`` has the characters and the length of a UID (PS3.5 9.1).

    Leading zeros in a component, which the standard forbids and some devices write, are let through.
    """
    return _UID.fullmatch(text) is not None


def series_key(study_instance_uid: str, series_instance_uid: str) -> str:
    """The name of a series in the ledger, in logs and in file names: 16 hexadecimal digits, no UID."""
    return hashlib.sha256(f"{study_instance_uid}\n{series_instance_uid}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class NewInstance:
    """An instance as it arrived.

    Parameters
    ----------
    sha256:
        Of the encoded data set without file meta information, in hexadecimal.
    calling_ae_title:
        Who sent it.
    position_mm:
        Of an image: its position along the normal of its plane.

    Raises
    ------
    LedgerError
        If a UID or the digest isn't one.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    calling_ae_title: str
    position_mm: float | None = None

    def __post_init__(self) -> None:
        for name in ("study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid"):
            if not is_uid(getattr(self, name)):
                raise LedgerError(f"{name} isn't a UID of 1 to 64 digits and dots")
        if not is_uid(self.transfer_syntax_uid):
            raise LedgerError("transfer_syntax_uid isn't a UID of 1 to 64 digits and dots")
        if not _SHA256.fullmatch(self.sha256):
            raise LedgerError("sha256 isn't 64 hexadecimal digits")

    @property
    def series_id(self) -> str:
        """Key of its series."""
        return series_key(self.study_instance_uid, self.series_instance_uid)


class Kept(Enum):
    """What became of an instance that was offered; in the first three cases the spool holds it durably."""

    NEW = "new"
    DUPLICATE = "duplicate"  # the same bytes were kept before
    CONFLICT = "conflict"  # other bytes were kept before under this UID; the first ones stay
    HANDED_OVER = "handed over"  # the node itself had asked for it; who sent it keeps it


@dataclass(frozen=True)
class SeriesRecord:
    """One series; ``corrects`` is the CT series that its segmentations correct."""

    id: str
    study_instance_uid: str
    series_instance_uid: str
    state: SeriesState
    reason: str
    detail: str
    generation: int
    attempts: int
    instances: int
    bytes: int
    completeness: str
    created_at: float
    last_received_at: float
    state_since: float
    purge_requested_at: float | None = None
    purged_at: float | None = None
    corrects: str = ""


@dataclass(frozen=True)
class EventRecord:
    """One step of a series: when, into which state, and why."""

    series_id: str
    at: float
    state: SeriesState
    generation: int
    text: str


@dataclass(frozen=True)
class InstanceRecord:
    """One received instance; ``path`` is relative to the spool directory."""

    series_id: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: Path
    bytes: int
    sha256: str
    received_at: float
    calling_ae_title: str
    generation: int
    conflicts: int
    position_mm: float | None = None


@dataclass(frozen=True)
class ResultRecord:
    """One result object of one generation of a series; ``path`` is relative to the spool directory."""

    series_id: str
    sop_instance_uid: str
    series_instance_uid: str
    generation: int
    kind: str
    sop_class_uid: str
    path: Path
    created_at: float


@dataclass(frozen=True)
class DeliveryRecord:
    """One result object for one destination; ``path`` is relative to the spool directory."""

    series_id: str
    sop_instance_uid: str
    destination: str
    state: DeliveryState
    attempts: int
    next_attempt_at: float
    last_error: str
    delivered_at: float | None
    wants_commitment: bool
    transaction_uid: str
    committed_at: float | None
    kind: str
    sop_class_uid: str
    path: Path


@dataclass(frozen=True)
class SeriesDetails:
    """Everything the ledger knows of one series."""

    series: SeriesRecord
    instances: tuple[InstanceRecord, ...]
    results: tuple[ResultRecord, ...]
    deliveries: tuple[DeliveryRecord, ...]
    events: tuple[EventRecord, ...]


@dataclass(frozen=True)
class DestinationRecord:
    """How one destination answers: failures in a row, and when it is tried again."""

    name: str
    failures: int
    next_attempt_at: float
    last_error: str
    last_success_at: float | None


@dataclass(frozen=True)
class KindRefusal:
    """A kind of object that a destination refused; ``for_good`` if it isn't offered any more."""

    destination: str
    kind: str
    reason: str
    objects: int
    for_good: bool
    refused_at: float


@dataclass(frozen=True)
class CommitmentRequest:
    """A sender's storage commitment request (PS3.4 J.3.2): instances as (SOP class UID, SOP instance UID)."""

    requestor: str
    transaction_uid: str
    instances: tuple[tuple[str, str], ...]
    requested_at: float
    attempts: int = 0
    next_attempt_at: float = 0.0
    last_error: str = ""
    reported_at: float | None = None


@dataclass(frozen=True)
class CommitmentListing:
    """What one storage commitment request says of a series, as SOP Instance UIDs.

    Parameters
    ----------
    held:
        Instances of the series that it lists.
    missing:
        Instances that it lists and the node doesn't hold, of the SOP classes that the series has; they may
        belong to it.
    """

    requestor: str
    transaction_uid: str
    held: frozenset[str]
    missing: frozenset[str]


@dataclass(frozen=True)
class Backlog:
    """What waits for one destination."""

    destination: str
    pending: int
    oldest_created_at: float
    next_attempt_at: float
    last_error: str


class ResultObject(Protocol):
    """What :meth:`Ledger.record_results` needs to know of a result (``report.ResultFile`` is one)."""

    @property
    def kind(self) -> str: ...
    @property
    def sop_class_uid(self) -> str: ...
    @property
    def sop_instance_uid(self) -> str: ...
    @property
    def series_instance_uid(self) -> str: ...
    @property
    def path(self) -> Path: ...


class Accepting(Protocol):
    """What :meth:`Ledger.record_results` needs to know of a destination (``deliver.Destination`` is one)."""

    @property
    def name(self) -> str: ...
    @property
    def accepts(self) -> tuple[str, ...]: ...
    @property
    def commitment(self) -> bool: ...

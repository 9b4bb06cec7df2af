"""The answer to a C-STORE request: Success once the instance is on disk, else why not (PS3.4 B.2.3)."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from dicomnode.receive.completeness import CompletenessWatch
from dicomnode.receive.dataset_scan import DatasetIdentity, UnreadableDatasetError, scan_dataset
from dicomnode.receive.expected import ExpectedInstances
from dicomnode.receive.file_meta import file_head
from dicomnode.receive.instance_buffer import InstanceBuffer
from dicomnode.receive.observer import Caller, ReceiveObserver, StoreOutcome
from dicomnode.receive.presentation_contexts import STORAGE_SOP_CLASSES
from dicomnode.receive.status import (
    CANNOT_UNDERSTAND,
    DOES_NOT_MATCH_SOP_CLASS,
    OUT_OF_RESOURCES,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
)
from dicomnode.spool.errors import SpoolError, SpoolFullError
from dicomnode.spool.records import Kept, NewInstance, is_uid
from dicomnode.spool.spool import Spool

LOGGER = logging.getLogger(__name__)

NO_ROOM = "not enough free disk space"


class _StoreError(Exception):
    """The status and the Error Comment (ASCII, at most 64 characters) that the sender gets."""

    def __init__(self, status: int, comment: str) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment.encode("ascii", errors="replace").decode()[:64]


@dataclass(frozen=True, slots=True)
class Offered:
    """A C-STORE request, however it was received; UIDs as the command set and the context have them."""

    sop_class_uid: str
    sop_instance_uid: str
    abstract_syntax_uid: str
    transfer_syntax_uid: str


class DataSet(Protocol):
    """The data set of a request."""

    def view(self) -> memoryview:
        """The bytes as they were received."""

    def identify(self) -> DatasetIdentity:
        """As :func:`~dicomnode.receive.dataset_scan.scan_dataset` on the whole."""

    def sha256(self) -> str:
        """Of the whole, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and Error Comment (ASCII, at most 64 characters)."""

    status: int
    comment: str = ""


@dataclass
class _Progress:
    """What is known of a request by the time it is answered."""

    size: int = 0
    identity: DatasetIdentity | None = None
    kept: Kept | None = None
    series_id: str = ""


class StoreHandler:
    """Answers C-STORE requests; called, it is the handler of ``EVT_C_STORE``.

    The data set is written as it was received, not decoded and encoded again. A UID that is kept already
    is answered with Success whether its bytes are the same or not: the node holds an instance of that UID
    durably, and the first bytes stay (:meth:`dicomnode.spool.spool.Spool.keep`).
    """

    def __init__(
        self,
        spool: Spool,
        completeness: CompletenessWatch,
        caller_of: Callable[[Event], Caller],
        observer: ReceiveObserver,
        expected: ExpectedInstances | None = None,
    ) -> None:
        self._spool = spool
        self._completeness = completeness
        self._caller_of = caller_of
        self._observer = observer
        self._expected = expected or ExpectedInstances()

    def __call__(self, event: Event) -> Dataset:
        """Keep the instance and return the status."""
        request, context = event.request, event.context
        offered = Offered(
            str(request.AffectedSOPClassUID),
            str(request.AffectedSOPInstanceUID),
            str(context.abstract_syntax),
            str(context.transfer_syntax),
        )
        received: InstanceBuffer = request.DataSet
        try:
            with _Buffered(received, offered.transfer_syntax_uid) as data_set:
                return _status(self.answer(self._caller_of(event), offered, data_set))
        finally:
            received.release()

    def answer(self, caller: Caller, offered: Offered, data_set: DataSet) -> Answer:
        """Keep the instance; the answer may be sent."""
        began, progress = time.monotonic(), _Progress()
        answer = self._answer(caller, offered, data_set, progress)
        self._observer.instance_answered(
            StoreOutcome(caller, answer.status, seconds=time.monotonic() - began, **vars(progress))
        )
        return answer

    def _answer(self, caller: Caller, offered: Offered, data_set: DataSet, progress: _Progress) -> Answer:
        association = caller.association
        try:
            self._store(offered, data_set, caller, progress)
        except _StoreError as error:
            LOGGER.warning(
                "instance not stored: %s",
                error.comment,
                extra={"association": association, "status": f"{error.status:04X}"},
            )
            return Answer(error.status, error.comment)
        except Exception as error:
            # The type alone: a message could quote the data set.
            LOGGER.error(
                "instance not stored: unexpected %s", type(error).__name__, extra={"association": association}
            )
            return Answer(CANNOT_UNDERSTAND, "internal error")
        return Answer(SUCCESS)

    def _store(self, offered: Offered, data_set: DataSet, caller: Caller, progress: _Progress) -> None:
        data = data_set.view()
        progress.size = len(data)
        identity = progress.identity = _identify(data_set)
        _check_command_set(identity, offered)
        instance = NewInstance(
            study_instance_uid=identity.study_instance_uid,
            series_instance_uid=identity.series_instance_uid,
            sop_instance_uid=identity.sop_instance_uid,
            sop_class_uid=identity.sop_class_uid,
            transfer_syntax_uid=offered.transfer_syntax_uid,
            sha256=data_set.sha256(),
            calling_ae_title=caller.ae_title,
            position_mm=identity.position_mm,
        )
        head = file_head(
            identity.sop_class_uid,
            identity.sop_instance_uid,
            offered.transfer_syntax_uid,
            caller.ae_title,
        )
        if self._expected.take(identity.sop_instance_uid, (head, data)):
            progress.kept = Kept.HANDED_OVER
            return
        progress.series_id = instance.series_id
        progress.kept = self._keep(instance, (head, data), caller.association)

    def _keep(self, instance: NewInstance, parts: tuple[bytes, memoryview], association: int) -> Kept:
        series_id = instance.series_id
        self._completeness.hold(series_id, association)
        try:
            kept = self._spool.keep(instance, parts)
        except SpoolFullError as error:
            raise _StoreError(OUT_OF_RESOURCES, NO_ROOM) from error
        except SpoolError as error:
            LOGGER.error(
                "the spool failed: %s", error, extra={"series": series_id, "association": association}
            )
            raise _StoreError(OUT_OF_RESOURCES, "the spool can't be written") from error
        if kept is Kept.NEW:
            self._completeness.received(series_id)
        elif kept is Kept.CONFLICT:
            LOGGER.warning(
                "other bytes for a SOP Instance UID that is kept already; the first ones stay",
                extra={"series": series_id, "association": association},
            )
        return kept


class _Buffered:
    """The data set of a message that pynetdicom received."""

    def __init__(self, received: InstanceBuffer, transfer_syntax_uid: str) -> None:
        self._received = received
        self._transfer_syntax_uid = transfer_syntax_uid
        self._view: memoryview | None = None

    def __enter__(self) -> _Buffered:
        return self

    def __exit__(self, *_: object) -> None:
        if self._view is not None:
            self._view.release()

    def view(self) -> memoryview:
        if self._received.gave_up:
            raise _StoreError(OUT_OF_RESOURCES, NO_ROOM)
        if self._view is None:
            self._view = self._received.getbuffer()
        return self._view

    def identify(self) -> DatasetIdentity:
        return scan_dataset(self.view(), self._transfer_syntax_uid)

    def sha256(self) -> str:
        return hashlib.sha256(self.view()).hexdigest()


def _identify(data_set: DataSet) -> DatasetIdentity:
    try:
        identity = data_set.identify()
    except UnreadableDatasetError as error:
        raise _StoreError(CANNOT_UNDERSTAND, str(error)) from error
    for name in ("study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid"):
        if not is_uid(getattr(identity, name)):
            raise _StoreError(CANNOT_UNDERSTAND, f"{name} isn't a UID")
    return identity


def _check_command_set(identity: DatasetIdentity, offered: Offered) -> None:
    if offered.sop_class_uid not in STORAGE_SOP_CLASSES:
        raise _StoreError(SOP_CLASS_NOT_SUPPORTED, "SOP class not supported")
    if offered.sop_class_uid != offered.abstract_syntax_uid:
        raise _StoreError(DOES_NOT_MATCH_SOP_CLASS, "SOP class isn't the one of the presentation context")
    if identity.sop_class_uid != offered.sop_class_uid:
        raise _StoreError(DOES_NOT_MATCH_SOP_CLASS, "SOP Class UID of command and data set differ")
    if identity.sop_instance_uid != offered.sop_instance_uid:
        raise _StoreError(DOES_NOT_MATCH_SOP_CLASS, "SOP Instance UID of command and data set differ")


def _status(answer: Answer) -> Dataset:
    status = Dataset()
    status.Status = answer.status
    if answer.comment:
        status.ErrorComment = answer.comment
    return status

"""The answer to a C-STORE request: Success once the instance is on disk, else why not (PS3.4 B.2.3)."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass
class _Offer:
    """What is known of a request by the time it is answered."""

    size: int = 0
    identity: DatasetIdentity | None = None
    kept: Kept | None = None
    series_id: str = ""


class StoreHandler:
    """Handler of ``EVT_C_STORE``.

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
        began, caller, offer = time.monotonic(), self._caller_of(event), _Offer()
        answer = self._answer(event, caller, offer)
        self._observer.instance_answered(
            StoreOutcome(caller, answer.Status, seconds=time.monotonic() - began, **vars(offer))
        )
        return answer

    def _answer(self, event: Event, caller: Caller, offer: _Offer) -> Dataset:
        association = caller.association
        received: InstanceBuffer = event.request.DataSet
        try:
            with received.getbuffer() as data:
                self._store(event, received, data, caller, offer)
        except _StoreError as error:
            LOGGER.warning(
                "instance not stored: %s",
                error.comment,
                extra={"association": association, "status": f"{error.status:04X}"},
            )
            return _status(error.status, error.comment)
        except Exception as error:
            # The type alone: a message could quote the data set.
            LOGGER.error(
                "instance not stored: unexpected %s", type(error).__name__, extra={"association": association}
            )
            return _status(CANNOT_UNDERSTAND, "internal error")
        finally:
            received.release()
        return _status(SUCCESS)

    def _store(
        self, event: Event, received: InstanceBuffer, data: memoryview, caller: Caller, offer: _Offer
    ) -> None:
        if received.gave_up:
            raise _StoreError(OUT_OF_RESOURCES, NO_ROOM)
        request = event.request
        transfer_syntax_uid = str(event.context.transfer_syntax)
        offer.size = len(data)
        identity = offer.identity = _identify(data, transfer_syntax_uid)
        _check_command_set(
            identity,
            str(request.AffectedSOPClassUID),
            str(request.AffectedSOPInstanceUID),
            str(event.context.abstract_syntax),
        )
        instance = NewInstance(
            study_instance_uid=identity.study_instance_uid,
            series_instance_uid=identity.series_instance_uid,
            sop_instance_uid=identity.sop_instance_uid,
            sop_class_uid=identity.sop_class_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            sha256=hashlib.sha256(data).hexdigest(),
            calling_ae_title=caller.ae_title,
            position_mm=identity.position_mm,
        )
        head = file_head(
            identity.sop_class_uid, identity.sop_instance_uid, transfer_syntax_uid, caller.ae_title
        )
        if self._expected.take(identity.sop_instance_uid, (head, data)):
            offer.kept = Kept.HANDED_OVER
            return
        offer.series_id = instance.series_id
        offer.kept = self._keep(instance, (head, data), caller.association)

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


def _identify(data: memoryview, transfer_syntax_uid: str) -> DatasetIdentity:
    try:
        identity = scan_dataset(data, transfer_syntax_uid)
    except UnreadableDatasetError as error:
        raise _StoreError(CANNOT_UNDERSTAND, str(error)) from error
    for name in ("study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid"):
        if not is_uid(getattr(identity, name)):
            raise _StoreError(CANNOT_UNDERSTAND, f"{name} isn't a UID")
    return identity


def _check_command_set(
    identity: DatasetIdentity, sop_class_uid: str, sop_instance_uid: str, abstract_syntax: str
) -> None:
    if sop_class_uid not in STORAGE_SOP_CLASSES:
        raise _StoreError(SOP_CLASS_NOT_SUPPORTED, "SOP class not supported")
    if sop_class_uid != abstract_syntax:
        raise _StoreError(DOES_NOT_MATCH_SOP_CLASS, "SOP class isn't the one of the presentation context")
    if identity.sop_class_uid != sop_class_uid:
        raise _StoreError(DOES_NOT_MATCH_SOP_CLASS, "SOP Class UID of command and data set differ")
    if identity.sop_instance_uid != sop_instance_uid:
        raise _StoreError(DOES_NOT_MATCH_SOP_CLASS, "SOP Instance UID of command and data set differ")


def _status(status: int, comment: str = "") -> Dataset:
    answer = Dataset()
    answer.Status = status
    if comment:
        answer.ErrorComment = comment
    return answer

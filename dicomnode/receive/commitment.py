"""Storage commitment (PS3.4 Annex J) at the front door: senders ask, destinations report."""

from __future__ import annotations

import logging
from collections.abc import Callable
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode
from pynetdicom.events import Event

from dicomnode import storage_commitment
from dicomnode.receive.commitment_reports import CommitmentReporter
from dicomnode.receive.completeness import CompletenessWatch
from dicomnode.receive.instance_buffer import InstanceBuffer
from dicomnode.receive.observer import Caller
from dicomnode.spool.errors import SpoolError
from dicomnode.spool.ledger import Ledger
from dicomnode.storage_commitment import StorageCommitmentError

LOGGER = logging.getLogger(__name__)

MAXIMUM_LIST_BYTES = 16 << 20
"""A list of 100 000 instances."""

# PS3.7 10.1.4.1.10 and Annex C
SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
INVALID_ARGUMENT = 0x0115
NO_SUCH_CLASS = 0x0118
NO_SUCH_ACTION = 0x0123
RESOURCE_LIMITATION = 0x0213

Answer = tuple[int, None]


class CommitmentHandler:
    """Handlers of ``EVT_N_ACTION`` and ``EVT_N_EVENT_REPORT``.

    A request is in the ledger before it is answered with Success; its report follows by itself.
    """

    def __init__(
        self,
        ledger: Ledger,
        completeness: CompletenessWatch,
        reporter: CommitmentReporter,
        caller_of: Callable[[Event], Caller],
    ) -> None:
        self._ledger = ledger
        self._completeness = completeness
        self._reporter = reporter
        self._caller_of = caller_of

    def on_action(self, event: Event) -> Answer:
        """A sender asks the node to promise that it keeps instances."""
        caller, request = self._caller_of(event), event.request
        status = _misdirected(event, str(request.RequestedSOPClassUID), str(request.RequestedSOPInstanceUID))
        if status == SUCCESS and event.action_type != storage_commitment.REQUEST_ACTION:
            status = NO_SUCH_ACTION
        if status == SUCCESS:
            status = self._accept(event, caller)
        else:
            release(request.ActionInformation)
        if status != SUCCESS:
            extra = {"association": caller.association, "status": f"{status:04X}"}
            LOGGER.warning("storage commitment request refused", extra=extra)
        return status, None

    def on_event_report(self, event: Event) -> Answer:
        """A destination reports what it promises to keep."""
        request = event.request
        status = _misdirected(event, str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID))
        if status != SUCCESS:
            release(request.EventInformation)
            return status, None
        try:
            information = _decode(event, request.EventInformation)
        except StorageCommitmentError as error:
            LOGGER.warning("storage commitment report refused: %s", error)
            return INVALID_ARGUMENT, None
        return storage_commitment.handle_event_report(self._ledger, information, event.event_type), None

    def _accept(self, event: Event, caller: Caller) -> int:
        try:
            asked = storage_commitment.read_request(_decode(event, event.request.ActionInformation))
        except StorageCommitmentError as error:
            extra = {"association": caller.association}
            LOGGER.warning("storage commitment request can't be read: %s", error, extra=extra)
            return INVALID_ARGUMENT
        requests = self._ledger.asked_by_others
        try:
            requests.accept(caller.ae_title, asked.transaction_uid, asked.instances)
            series_ids = requests.series_in(caller.ae_title, asked.transaction_uid)
        except SpoolError as error:
            LOGGER.error("storage commitment request not kept: %s", error)
            return RESOURCE_LIMITATION
        LOGGER.info(
            "storage commitment requested",
            extra={
                "association": caller.association,
                "instances": len(asked.instances),
                "series": ",".join(series_ids),
            },
        )
        self._reporter.requested(caller.ae_title, asked.transaction_uid, event.assoc)
        self._completeness.listed(series_ids)
        return SUCCESS


def release(information: object) -> None:
    """Give back the memory of a data set that isn't looked at."""
    if isinstance(information, InstanceBuffer):
        information.release()


def _misdirected(event: Event, sop_class_uid: str, sop_instance_uid: str) -> int:
    """Whether the message is about something else than storage commitment's well-known instance."""
    if storage_commitment.SOP_CLASS not in (sop_class_uid, str(event.context.abstract_syntax)):
        return NO_SUCH_CLASS
    if sop_class_uid != str(event.context.abstract_syntax):
        return NO_SUCH_CLASS
    return SUCCESS if sop_instance_uid == storage_commitment.SOP_INSTANCE else NO_SUCH_INSTANCE


def _decode(event: Event, information: BytesIO | None) -> Dataset:
    """The data set of a message, decoded; its memory is given back.

    Raises
    ------
    StorageCommitmentError
        If there is none, or one that can't be read.
    """
    if information is None:
        raise StorageCommitmentError("the message has no data set")
    syntax = event.context.transfer_syntax
    try:
        with information.getbuffer() as view:
            if len(view) > MAXIMUM_LIST_BYTES:
                raise StorageCommitmentError("the list is too long")
            encoded = BytesIO(bytes(view))
        return decode(encoded, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    except StorageCommitmentError:
        raise
    except Exception as error:  # whatever hostile bytes make pydicom raise
        raise StorageCommitmentError(f"the data set can't be read ({type(error).__name__})") from error
    finally:
        release(information)

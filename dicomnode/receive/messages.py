"""DIMSE messages of one association: pynetdicom's, with limits in size and number, and an answer to each.

pynetdicom 3.0.4 collects a data set in memory without a limit, takes any number of requests before it has
answered the first, lets its thread die of a command set that it can't decode, aborts the association when it
doesn't know the SOP class of a C-STORE request, and leaves one that lacks a parameter without an answer. The
class here changes just that.

Memory is bounded for all associations together without one of them waiting for another: each holds one data
set that is being received and one that waits, both up to ``in_memory_bytes`` in memory and beyond that on the
disk of the spool. A peer that sends more requests finds that the node doesn't read on until it has answered.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from dicomnode.receive.instance_buffer import BufferLimits, InstanceBuffer, InstanceTooLargeError
from dicomnode.receive.status import CANNOT_UNDERSTAND, SOP_CLASS_NOT_SUPPORTED
from dicomnode.receive.waking import LONGEST_SLEEP_SECONDS, AnnouncedQueue

LOGGER = logging.getLogger(__name__)

# The longest has six UIDs and some AE titles; an N-ACTION's list is in its data set.
MAXIMUM_COMMAND_SET_BYTES = 16 * 1024

_VALUE_AT = 11  # message control header and fragment in such a PDU (PS3.8 9.3.5)
_INVALID_PDU = "Evt19"  # events of PS3.8 9.2.2: the state machine aborts the association


class BoundedMessages(DIMSEServiceProvider):  # type: ignore[misc]  # pynetdicom has no types
    """Takes the place of an association's ``dimse``.

    Parameters
    ----------
    limits:
        Called for each message, since the room to leave free may change.
    number:
        Of the association, for the log.
    refused:
        Gets the status of a C-STORE request that was answered here.
    """

    def __init__(
        self,
        association: Association,
        limits: Callable[[], BufferLimits],
        number: Callable[[], int],
        refused: Callable[[int], None],
    ) -> None:
        super().__init__(association)
        self.message: Any = None
        self._limits = limits
        self._number = number
        self._refused = refused
        self._news = threading.Event()
        self._is_serving = False
        self._sending = threading.Lock()
        self._notification_ids = itertools.cycle(range(1, 1 << 16))
        self._notification_answers: queue.SimpleQueue[N_EVENT_REPORT] = queue.SimpleQueue()
        self.last_request_at = time.monotonic()
        self.msg_queue = AnnouncedQueue(self.wake)

    @property
    def is_full(self) -> bool:
        """Whether a request waits for the one before it to be answered."""
        return not self.msg_queue.empty()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being received or waits for its answer; for the thread that receives."""
        return self.message is None and self.msg_queue.empty() and not self._is_serving

    def receive_primitive(self, primitive: Any) -> None:
        """Add a P-DATA to the message that is being received; abort the association if that can't be."""
        try:
            if self.message is None:
                self.message = DIMSEMessage()
                self.message.data_set = InstanceBuffer(self._limits())
                self.message.encoded_command_set = _CommandSet()
            super().receive_primitive(primitive)
        except InstanceTooLargeError as error:
            self._abort(f"an instance is {error}")
        except _CommandSetTooLongError:
            self._abort(f"a command set is longer than {MAXIMUM_COMMAND_SET_BYTES} bytes")
        except Exception as error:  # whatever a hostile command set makes pydicom raise
            self._abort(f"a message can't be decoded ({type(error).__name__})")

    def get_msg(self, block: bool = False) -> tuple[Any, Any]:
        """The next message, but for those C-STORE requests that pynetdicom wouldn't answer; they are here."""
        if not block:  # asked by the thread that serves the association, again and again
            self._is_serving = False
            self._wait_for_news()
            self._is_serving = True  # before the queue can become empty: is_idle is asked meanwhile
        context_id, message = super().get_msg(block)
        if message is not None:
            self.last_request_at = time.monotonic()
        else:
            self._is_serving = False
        if isinstance(message, N_EVENT_REPORT) and message.MessageIDBeingRespondedTo is not None:
            self._notification_answers.put(message)
            return None, None
        if isinstance(message, C_STORE) and message.MessageIDBeingRespondedTo is None:
            refusal = _refusal(message)
            if refusal is not None:
                self._refuse(message, context_id, *refusal)
                return None, None
        return context_id, message

    def wake(self) -> None:
        """There is a message, or a primitive for the service user."""
        self._news.set()

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send; the peer waited for it and wasn't idle, however long the node took."""
        self.dul._idle_timer.restart()
        with self._sending:  # the fragments of two messages must not be mixed
            super().send_msg(primitive, context_id)

    def send_encoded(self, pdu: bytes, context_id: int) -> None:
        """Send a message that is one P-DATA-TF PDU with one value; only for the thread of the upper layer."""
        with self._sending:
            if self.dul.to_provider_queue.empty():
                self.dul.socket.send(pdu)
                return
            primitive = P_DATA()  # after what is waiting to be said
            primitive.presentation_data_value_list.append((context_id, pdu[_VALUE_AT:]))
            self.dul.send_pdu(primitive)

    def notify(self, request: N_EVENT_REPORT, context_id: int, seconds: float) -> N_EVENT_REPORT | None:
        """Send a notification from another thread; the peer's answer, or ``None`` if it gives none.

        pynetdicom's own way would take a request that the peer sends meanwhile for the answer.
        """
        request.MessageID = next(self._notification_ids)
        self.send_msg(request, context_id)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.assoc.is_established:
            try:
                answer = self._notification_answers.get(timeout=LONGEST_SLEEP_SECONDS)
            except queue.Empty:
                continue
            if request.MessageID == answer.MessageIDBeingRespondedTo:
                return answer
        return None

    def close(self) -> None:
        """Give back what half a message took; the association is over."""
        if self.message is not None:
            self.message.data_set.release()
            self.message = None
        while not self.msg_queue.empty():
            _, message = self.msg_queue.get()
            if isinstance(message, C_STORE) and message.DataSet is not None:
                message.DataSet.release()

    def _wait_for_news(self) -> None:
        self._news.clear()
        if self.msg_queue.empty() and self.dul.to_user_queue.empty():
            self._news.wait(LONGEST_SLEEP_SECONDS)

    def _refuse(self, request: C_STORE, context_id: int, status: int, comment: str) -> None:
        extra = {"association": self._number(), "status": f"{status:04X}"}
        LOGGER.warning("instance not stored: %s", comment, extra=extra)
        if request.MessageID is None:
            self._abort("a request has no Message ID, so it can't be answered")
            return
        self._refused(status)
        answer = C_STORE()
        answer.MessageIDBeingRespondedTo = request.MessageID
        answer.AffectedSOPClassUID = request.AffectedSOPClassUID
        answer.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        answer.Status = status
        answer.ErrorComment = comment
        self.send_msg(answer, context_id)

    def _abort(self, why: str) -> None:
        LOGGER.warning("association aborted: %s", why, extra={"association": self._number()})
        self.message = None
        self.dul.event_queue.put(_INVALID_PDU)


class _CommandSetTooLongError(Exception):
    pass


class _CommandSet(BytesIO):
    def write(self, data: Any) -> int:
        if self.tell() + len(data) > MAXIMUM_COMMAND_SET_BYTES:
            raise _CommandSetTooLongError
        return super().write(data)


def _refusal(request: C_STORE) -> tuple[int, str] | None:
    """Status and Error Comment for a request that pynetdicom doesn't hand to the storage service."""
    if not request.is_valid_request:
        return CANNOT_UNDERSTAND, "a mandatory parameter of the C-STORE request is missing"
    if uid_to_service_class(request.AffectedSOPClassUID) is not StorageServiceClass:
        return SOP_CLASS_NOT_SUPPORTED, "SOP class not supported"
    return None

"""C-STORE requests in their plain form, received without pynetdicom.

Most of what a node hears is C-STORE: a command set in one P-DATA-TF PDU, then the data set in others with
one presentation data value each. Those are read here, in the thread that reads the connection for
pynetdicom, straight into memory, and answered as soon as the instance is kept. Everything else, and every
doubt, is given back to pynetdicom with all bytes from where it takes over, be it in the middle of a data
set. What both answer is the same (a differential test holds them equal).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import P_DATA

from dicomnode.receive.arriving import ArrivalMemory, ArrivingDataSet
from dicomnode.receive.instance_buffer import IN_MEMORY_BYTES
from dicomnode.receive.messages import MAXIMUM_COMMAND_SET_BYTES, BoundedMessages
from dicomnode.receive.observer import Caller
from dicomnode.receive.presentation_contexts import STORAGE_SOP_CLASSES
from dicomnode.receive.store import Offered, StoreHandler
from dicomnode.receive.store_command import (
    COMMAND,
    LAST,
    StoreCommand,
    read_store_command,
    store_response,
)
from dicomnode.receive.timed_socket import MAXIMUM_PDU_BYTES, PDU_HEADER_BYTES, TimedSocket

_P_DATA = 0x04
_VALUE_HEADER_BYTES = 6  # length, context, message control header of a presentation data value (PS3.8 9.3.5)
_HEADERS_BYTES = PDU_HEADER_BYTES + _VALUE_HEADER_BYTES
_KEPT_BYTES = 1 << 20
_PIECE_BYTES = 128 << 10
_LONGEST_RESPONSE_BYTES = 512
_ESTABLISHED = "Sta6"  # PS3.8 9.2.1
_CONNECTION_CLOSED = "Evt17"

_headers = struct.Struct(">BxLLBB").unpack


@dataclass
class _Request:
    """A request whose data set is arriving."""

    context_id: int
    encoded: bytes
    command: StoreCommand
    offered: Offered
    data_set: ArrivingDataSet


class FastStore:
    """Reads one association; :meth:`take` runs in the thread of its upper layer (``dul``)."""

    def __init__(
        self,
        association: Association,
        caller: Caller,
        handler: StoreHandler,
        maximum_bytes: Callable[[], int],
    ) -> None:
        self._association = association
        self._dul = association.dul
        self._connection: TimedSocket = association.dul.socket
        self._messages: BoundedMessages = association.dimse
        self._caller = caller
        self._handler = handler
        self._maximum_bytes = maximum_bytes
        self._memory = ArrivalMemory(IN_MEMORY_BYTES)
        self._request: _Request | None = None
        self._contexts = {
            cast(int, context.context_id): (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in association.accepted_contexts
            if context.abstract_syntax in STORAGE_SOP_CLASSES
        }

    def take(self) -> bool:
        """Read what has come; ``False`` if pynetdicom has to read the next PDU."""
        if self._dul.state_machine.current_state != _ESTABLISHED:
            self._request = None  # the association is over, or nearly
            return False
        if self._request is None and not self._is_pynetdicom_idle():
            return False
        while self._take_one():
            if not self._may_go_on() or not self._connection.ready:
                return True
        return False

    def _take_one(self) -> bool:
        """Read one PDU; ``False`` if it was left to pynetdicom."""
        try:
            header = self._connection.begin_pdu(_HEADERS_BYTES)
        except OSError:
            return self._fail()
        if len(header) < _HEADERS_BYTES:
            return self._give_back(header)
        kind, pdu_length, value_length, context_id, control = _headers(header)
        if kind != _P_DATA or pdu_length != value_length + 4 or not value_length >= 2:
            return self._give_back(header)
        if pdu_length > MAXIMUM_PDU_BYTES:
            return self._give_back(header)
        if self._request is None:
            return self._take_command(header, value_length - 2, context_id, control)
        return self._take_data(header, value_length - 2, context_id, control)

    def _take_command(self, header: bytes, length: int, context_id: int, control: int) -> bool:
        syntaxes = self._contexts.get(context_id)
        if control != COMMAND | LAST or length > MAXIMUM_COMMAND_SET_BYTES or syntaxes is None:
            return self._give_back(header)
        encoded = bytearray(length)
        count = self._fill(memoryview(encoded))
        if count is None:
            return self._fail()
        command = read_store_command(bytes(encoded)) if count == length else None
        if command is None or command.sop_class_uid not in STORAGE_SOP_CLASSES:
            return self._give_back(header + encoded[:count])
        self._dul._idle_timer.restart()
        offered = Offered(command.sop_class_uid, command.sop_instance_uid, *syntaxes)
        data_set = ArrivingDataSet(self._memory, offered.transfer_syntax_uid)
        self._request = _Request(context_id, bytes(encoded), command, offered, data_set)
        return True

    def _take_data(self, header: bytes, length: int, context_id: int, control: int) -> bool:
        request = cast(_Request, self._request)
        data_set = request.data_set
        is_last = control == LAST
        is_strange = context_id != request.context_id or control not in (0, LAST)
        if is_strange or data_set.size + length > self._maximum_bytes() or data_set.size + length == 0:
            return self._give_back(header)
        room = data_set.room(length)
        if room is None:
            return self._give_back(header)
        count = self._fill(room, ahead=0 if is_last else _HEADERS_BYTES)
        if count is None:
            return self._fail()
        if count < length:
            return self._give_back(header + bytes(room[:count]))
        data_set.came(room)
        self._dul._idle_timer.restart()
        if is_last:
            self._answer(request)
        return True

    def _answer(self, request: _Request) -> None:
        self._request = None
        self._messages.last_request_at = time.monotonic()
        self._dul._idle_timer.stop()  # it isn't the peer who is slow
        answer = self._handler.answer(self._caller, request.offered, request.data_set)
        self._memory.give_back(but=_KEPT_BYTES)
        self._dul._idle_timer.restart()
        if not self._association.is_established:
            return
        response = store_response(request.command, request.context_id, answer.status, answer.comment)
        self._messages.send_encoded(response, request.context_id)

    def _fill(self, view: memoryview, ahead: int = 0) -> int | None:
        """Read; ``None`` if the connection failed or took too long."""
        try:
            return self._connection.fill(view, ahead=ahead)
        except OSError:
            return None

    def _fail(self) -> bool:
        self._request = None
        self._dul.event_queue.put(_CONNECTION_CLOSED)
        return True

    def _give_back(self, unread: bytes | bytearray) -> bool:
        """Let pynetdicom go on from here, knowing of the request what it would know."""
        self._connection.put_back(unread)
        request, self._request = self._request, None
        if request is None:
            return False
        self._hand_over(request.context_id, COMMAND | LAST, request.encoded)
        data = request.data_set.view()
        for start in range(0, len(data), _PIECE_BYTES):
            self._hand_over(request.context_id, 0, data[start : start + _PIECE_BYTES])
        self._memory.give_back()
        return False

    def _hand_over(self, context_id: int, control: int, fragment: bytes | memoryview) -> None:
        primitive: Any = P_DATA()
        primitive.presentation_data_value_list.append((context_id, bytes((control,)) + bytes(fragment)))
        self._messages.receive_primitive(primitive)

    def _is_pynetdicom_idle(self) -> bool:
        """Whether it neither holds a part of a message nor owes an answer."""
        return self._association.is_established and self._messages.is_idle and self._has_nothing_to_do()

    def _may_go_on(self) -> bool:
        return self._association.is_established and self._has_nothing_to_do()

    def _has_nothing_to_do(self) -> bool:
        dul = self._dul
        # The deques below the queues, without their locks: asked for each PDU.
        waiting = dul.event_queue.queue or dul.to_provider_queue.queue or dul.to_user_queue.queue
        return not (waiting or dul._kill_thread)


def is_fit(association: Association) -> bool:
    """Whether the responses of the fast path fit the peer's PDUs, and its SOP classes are the usual ones."""
    longest = association.requestor.maximum_length
    usual = not association.acceptor.accepted_common_extended
    return usual and (longest == 0 or longest >= _LONGEST_RESPONSE_BYTES)

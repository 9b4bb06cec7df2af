"""The socket of an association: pynetdicom's, with limits in time and size, and few system calls."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import cast

from pynetdicom.transport import AssociationSocket

from dicomnode.receive.messages import BoundedMessages
from dicomnode.receive.waking import LONGEST_SLEEP_SECONDS, Alarm

LOGGER = logging.getLogger(__name__)

# More than any A-ASSOCIATE-RQ; a longer PDU is an attack or not DICOM.
MAXIMUM_PDU_BYTES = 1 << 20

PDU_HEADER_BYTES = 6
_P_DATA = 0x04
_ASSOCIATE_REQUEST = 0x01  # PDU type, the first byte of a connection (PS3.8 9.3.2)
_TLS_HANDSHAKE = 0x16
_AWAITING_CLOSE = "Sta13"  # PS3.8 9.2.1
_CONNECTION_CLOSED = "Evt17"  # PS3.8 9.2.2


class TimedSocket(AssociationSocket):  # type: ignore[misc]  # pynetdicom has no types
    """Reads a PDU within a time limit and a size limit, and acknowledges at once.

    Parameters
    ----------
    opened:
        The socket of an association, whose place this one takes.
    pdu_seconds:
        Time for one PDU, from its first byte to its last; may be changed later.

    Attributes
    ----------
    reader:
        Reads PDUs before pynetdicom does; ``False`` if pynetdicom has to.
    """

    def __init__(self, opened: AssociationSocket, pdu_seconds: float) -> None:
        # Not AssociationSocket's constructor: it would announce the connection a second time.
        self.__dict__.update(opened.__dict__)
        self._pdu_seconds = pdu_seconds
        self.alarm = Alarm()
        connection = cast(socket.socket, self.socket)
        # Of its own, so that nothing of another connection is ever read; TLS has to be asked itself.
        self._reading = None if isinstance(connection, ssl.SSLSocket) else connection.dup()
        self.reader: Callable[[], bool] | None = None
        self._deadline = 0.0
        self._is_first = True
        self._unread = bytearray()
        self._is_begun = False

    @property
    def pdu_seconds(self) -> float:
        """Time for one PDU."""
        return self._pdu_seconds

    @pdu_seconds.setter
    def pdu_seconds(self, seconds: float) -> None:
        self._pdu_seconds = seconds
        connection = cast(socket.socket | None, self.socket)
        if connection is not None:
            with contextlib.suppress(OSError):  # closed already
                connection.settimeout(seconds)

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``, or less if the peer closes.

        Raises
        ------
        OSError
            If the PDU doesn't arrive within ``pdu_seconds`` or is absurdly long; pynetdicom then closes the
            connection.
        """
        if nr_bytes == PDU_HEADER_BYTES and not self._is_begun:
            self._begin()
        self._is_begun = False
        if nr_bytes > MAXIMUM_PDU_BYTES:
            raise OSError(f"a PDU of {nr_bytes} bytes is longer than {MAXIMUM_PDU_BYTES}")
        data = bytearray(nr_bytes)
        with memoryview(data) as view:
            taken = self._take_unread(view)
            received = taken + self.fill(view[taken:])
        del data[received:]
        if self._is_first and data:
            self._is_first = False
            if data[0] != _ASSOCIATE_REQUEST:
                peer = cast(socket.socket, self.socket).getpeername()[0]
                LOGGER.warning("no DICOM: %s", _what_is_no_dicom(data[0]), extra={"peer": peer})
        return data

    def begin_pdu(self, wanted: int) -> bytes:
        """The first ``wanted`` bytes of a PDU; a shorter one whole, of others than P-DATA-TF at least 6.

        Raises
        ------
        OSError
            If they don't arrive in time.
        """
        self._begin()
        header = memoryview(bytearray(wanted))
        count = self._take_unread(header)
        if count < PDU_HEADER_BYTES:
            count += self.fill(header[count:], at_least=PDU_HEADER_BYTES - count)
        if count >= PDU_HEADER_BYTES and header[0] == _P_DATA:
            wanted = min(wanted, PDU_HEADER_BYTES + int.from_bytes(header[2:PDU_HEADER_BYTES], "big"))
            if count < wanted:
                count += self.fill(header[count:wanted])
        return bytes(header[:count])

    def put_back(self, unread: bytes | bytearray) -> None:
        """Bytes of a PDU that the next one who reads gets first."""
        self._unread[:0] = unread
        self._is_begun = True

    def fill(self, view: memoryview, *, at_least: int | None = None, ahead: int = 0) -> int:
        """Read until ``view`` has ``at_least`` bytes (all), or fewer if the peer closes; how many.

        Parameters
        ----------
        ahead:
            How many bytes of the next PDU to take along if they are there.

        Raises
        ------
        OSError
            If the PDU doesn't arrive in time.
        """
        needed = len(view) if at_least is None else at_least
        beyond = memoryview(bytearray(ahead))
        received = 0
        while received < needed:
            count = self._receive(view[received:], beyond)
            if count == 0:
                break
            received += count
        if received > len(view):
            self._unread += beyond[: received - len(view)]
            received = len(view)
        return received

    def _receive(self, view: memoryview, beyond: memoryview) -> int:
        """What is there, or the next that comes, in one system call if there is something; 0 at the end."""
        if self._reading is None:
            connection = cast(socket.socket, self.socket)
            connection.settimeout(self._remaining())
            count = connection.recv_into(view)
            connection.settimeout(self.pdu_seconds)
            return count
        while True:
            try:
                return os.readv(self._reading.fileno(), [view, beyond] if len(beyond) else [view])
            except BlockingIOError:  # as the socket has a time limit
                waiting = select.poll()
                waiting.register(self._reading, select.POLLIN)
                waiting.poll(self._remaining() * 1000)

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError(f"a PDU took longer than {self.pdu_seconds:g} s")
        return remaining

    def _take_unread(self, view: memoryview) -> int:
        taken = min(len(view), len(self._unread))
        view[:taken] = self._unread[:taken]
        del self._unread[:taken]
        return taken

    def release(self) -> None:
        """The association is over."""
        self.reader = None  # and its memory
        self.alarm.close()
        if self._reading is not None:
            self._reading.close()

    def take(self) -> bool:
        """Let the faster reader read, if there is one; ``False`` if a PDU is left to read."""
        reader = self.reader
        return reader is not None and reader()

    def _begin(self) -> None:
        self._deadline = time.monotonic() + self.pdu_seconds
        # Senders that leave Nagle's algorithm on would wait 40 ms for each acknowledgement.
        _acknowledge_at_once(cast(socket.socket, self.socket))

    @property
    def ready(self) -> bool:
        """Whether there is something to read and room to take it in; waits a little if there is nothing."""
        connection, dul = cast(socket.socket | None, self.socket), self.assoc.dul
        if connection is None or not self._is_connected:
            return False
        if cast(BoundedMessages, self.assoc.dimse).is_full:
            dul._idle_timer.restart()  # it isn't the peer who is slow
            return False
        if self._unread or (isinstance(connection, ssl.SSLSocket) and connection.pending()):
            return True
        is_closing = dul.state_machine.current_state == _AWAITING_CLOSE
        something_to_do = not (dul.event_queue.empty() and dul.to_provider_queue.empty())
        try:
            return self.alarm.wait(
                connection.fileno(), 0 if is_closing or something_to_do else LONGEST_SLEEP_SECONDS
            )
        except (OSError, ValueError):
            dul.event_queue.put(_CONNECTION_CLOSED)
            return False


def _what_is_no_dicom(first_byte: int) -> str:
    if first_byte == _TLS_HANDSHAKE:
        return "it speaks TLS, this port does not"
    return "it speaks HTTP" if chr(first_byte) in "GHPOCDT" else "the first bytes are no A-ASSOCIATE-RQ"


def _acknowledge_at_once(connection: socket.socket) -> None:
    if hasattr(socket, "TCP_QUICKACK"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

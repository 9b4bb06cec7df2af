"""The listening socket and its connections: pynetdicom's, with limits in time, number and size.

pynetdicom 3.0.4 reads in pieces of 4 KiB without a time limit, does the TLS handshake in the thread that
accepts connections, and leaves TCP's delayed acknowledgements on. The classes here change just that.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from socketserver import BaseServer, TCPServer
from typing import Any

from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.fsm import TRANSITION_TABLE, StateMachine
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from dicomnode.receive.messages import BoundedMessages
from dicomnode.receive.timed_socket import TimedSocket
from dicomnode.receive.waking import AnnouncedQueue, MonotonicTimer

LOGGER = logging.getLogger(__name__)

_AWAITING_REQUEST = "Sta2"  # states of PS3.8 9.2.1
_SAID_BY_THE_NODE = ("Evt7", "Evt8", "Evt9", "Evt11", "Evt14", "Evt15")
_REQUEST_WILL_NOT_COME = ("Sta1", "Sta13")
_BACKLOG = 128
_POLL_SECONDS = 0.1
_ABORT_SECONDS = 2.0


class PatientStateMachine(StateMachine):  # type: ignore[misc]  # pynetdicom has no types
    """Passes over what the node wants to say too late, when the connection is closing already.

    PS3.8 table 9-10 doesn't foresee it and pynetdicom's thread would die of it.
    """

    def do_action(self, event: str) -> None:
        """Act on an event of PS3.8 9.2.2."""
        words = self.dul.to_provider_queue
        if event in _SAID_BY_THE_NODE and words.empty():
            return  # announced twice, said once
        if (event, self.current_state) in TRANSITION_TABLE:
            super().do_action(event)
        elif event in _SAID_BY_THE_NODE:
            words.get(block=False)


class ConnectionHandler(RequestHandler):  # type: ignore[misc]  # pynetdicom has no types
    """One connection, from the TLS handshake to its end."""

    server: ConnectionServer
    request: socket.socket

    def handle(self) -> None:
        """Run the association and tell the server when it has ended, however it ended."""
        connection = self.request
        connection.settimeout(self.server.handshake_seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server.tls is not None:
            connection = self.server.tls.wrap_socket(connection, server_side=True)
            self.request = connection
        association = self._create_association()
        dul = association.dul
        connection_of_association = dul.socket
        association.start()
        try:
            association.join()
        finally:
            dul.kill_dul()  # it would outlive an association that ended by an error
            dul.join(_ABORT_SECONDS)
            connection_of_association.release()
            association.dimse.close()
            self.server.association_ended(association)

    def _create_association(self) -> Association:
        association = super()._create_association()
        dul, dimse = association.dul, self.server.messages(association)
        dul.socket = TimedSocket(dul.socket, self.server.handshake_seconds)
        dul.artim_timer = MonotonicTimer(dul.artim_timer.timeout)
        dul._idle_timer = MonotonicTimer(dul._idle_timer.timeout)
        dul.state_machine = PatientStateMachine(dul)
        dul.to_provider_queue = AnnouncedQueue(dul.socket.alarm.ring)
        dul.to_user_queue = AnnouncedQueue(dimse.wake)
        association.dimse = dimse
        read_pdu = dul._read_pdu_data
        dul._read_pdu_data = lambda: dul.socket.take() or read_pdu()
        return association


class ConnectionServer(ThreadedAssociationServer):  # type: ignore[misc]  # pynetdicom has no types
    """Accepts connections, a limited number at a time, each in a thread of its own."""

    daemon_threads = True
    request_queue_size = _BACKLOG

    def __init__(
        self,
        *args: Any,
        tls: ssl.SSLContext | None = None,
        maximum_connections: int,
        handshake_seconds: float,
        messages: Callable[[Association], BoundedMessages],
        association_ended: Callable[[Association], None],
        connection_failed: Callable[[str, BaseException | None], None],
        **kwargs: Any,
    ) -> None:
        self.tls = tls
        self.handshake_seconds = handshake_seconds
        self.messages = messages
        self.association_ended = association_ended
        self._connection_failed = connection_failed
        self._free_connections = threading.BoundedSemaphore(maximum_connections)
        super().__init__(*args, request_handler=ConnectionHandler, **kwargs)

    def serve(self) -> None:
        """Accept connections until :meth:`stop_accepting`."""
        self.serve_forever(poll_interval=_POLL_SECONDS)

    def stop_accepting(self) -> None:
        """Close the listening socket; open associations go on."""
        BaseServer.shutdown(self)
        TCPServer.server_close(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand the connection to a thread, or close it if there are too many."""
        if not self._free_connections.acquire(blocking=False):
            LOGGER.warning("connection closed: too many", extra={"peer": client_address[0]})
            self._connection_failed(client_address[0], None)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread of one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free_connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that never became an association, for example a failed TLS handshake."""
        error = sys.exception()
        LOGGER.warning(
            "connection failed: %s",
            _why(error),
            extra={"peer": client_address[0]},
            exc_info=LOGGER.isEnabledFor(10),
        )
        self._connection_failed(client_address[0], error)


def wake_without_request(event: Event) -> None:
    """Handler of ``EVT_FSM_TRANSITION``: end an association that can't come about any more.

    After a lost connection or bytes that are no A-ASSOCIATE-RQ, pynetdicom's association thread would wait
    out its ACSE timeout for the request.
    """
    if event.current_state == _AWAITING_REQUEST and event.next_state in _REQUEST_WILL_NOT_COME:
        event.assoc.dul.to_user_queue.put(None)


def hang_up(associations: Sequence[Association]) -> None:
    """Abort associations; those whose peer keeps the node waiting in the middle of a PDU are cut off."""
    aborting = [
        threading.Thread(target=association.abort, daemon=True)
        for association in associations
        if association.is_established
    ]
    for thread in aborting:
        thread.start()
    deadline = time.monotonic() + _ABORT_SECONDS
    for thread in aborting:
        thread.join(max(0.0, deadline - time.monotonic()))
    for association in associations:
        connection = association.dul.socket.socket
        if association.is_alive() and connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _why(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "nothing came in time"
    if isinstance(error, ConnectionError):
        return "it hung up"
    return type(error).__name__

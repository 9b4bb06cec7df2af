"""A DICOM application entity on the network, and how to reach it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pynetdicom import _config as pynetdicom_config
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context

from dicomnode.deliver.checkpoint import check_reactor

VERIFICATION = "1.2.840.10008.1.1"

_ADDRESS = re.compile(r"(?P<ae_title>[^@]+)@(?:\[(?P<ipv6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]+)")
_REJECT_SOURCE_USER = 1
_REJECT_REASONS = {
    1: "without a reason",
    2: "application context not supported",
    3: "it doesn't know our AE title",
    7: "it has another AE title",
}


EventHandler = tuple[Any, Callable[[evt.Event], Any]]


class PeerError(Exception):
    """No association with the peer; the message says why in a sentence."""


class NothingAcceptedError(PeerError):
    """The peer took the association but none of its presentation contexts.

    Parameters
    ----------
    rejected:
        The contexts with their results (PS3.8 Table 9-18).
    """

    def __init__(self, message: str, rejected: Sequence[PresentationContext]) -> None:
        super().__init__(message)
        self.rejected = tuple(rejected)


@dataclass(frozen=True)
class Peer:
    """A storage or verification SCP.

    Parameters
    ----------
    calling_ae_title:
        What we call ourselves.
    tls:
        ``None`` for plain TCP.
    connect_seconds, answer_seconds:
        Time for the connection and for one answer.

    Raises
    ------
    ValueError
        If the AE titles or the port are not valid.
    """

    ae_title: str
    host: str
    port: int
    calling_ae_title: str = "DICOMNODE"
    tls: ssl.SSLContext | None = None
    connect_seconds: float = 10.0
    answer_seconds: float = 60.0

    def __post_init__(self) -> None:
        for title in (self.ae_title, self.calling_ae_title):
            if (
                not 1 <= len(title.strip()) <= 16
                or not title.isascii()
                or not title.isprintable()
                or "\\" in title
            ):
                raise ValueError(f"an AE title has 1 to 16 printable ASCII characters, not {title!r}")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"a port is a number from 1 to 65535, not {self.port}")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}"


def parse_peer(address: str, calling_ae_title: str = "DICOMNODE", tls: ssl.SSLContext | None = None) -> Peer:
    """Peer from ``AE@HOST:PORT``; an IPv6 address stands in brackets.

    Raises
    ------
    ValueError
        If it isn't of this form.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(
            f"a peer is written AE@HOST:PORT, for example ORTHANC@127.0.0.1:4242, not {address!r}"
        )
    return Peer(
        ae_title=match["ae_title"],
        host=match["ipv6"] or match["host"],
        port=int(match["port"]),
        calling_ae_title=calling_ae_title,
        tls=tls,
    )


@contextmanager
def associated(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    handlers: Sequence[EventHandler] = (),
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[Association]:
    """An association with ``peer``, released at the end.

    Parameters
    ----------
    handlers:
        Of events of pynetdicom, for what the peer sends by itself.
    roles:
        SCP/SCU role selection, where the node isn't the SCU.

    Raises
    ------
    PeerError
        If there is none to be had; :class:`NothingAcceptedError` if only for want of a context.
    """
    pynetdicom_config.LOG_HANDLER_LEVEL = "none"
    entity = ApplicationEntity(peer.calling_ae_title)
    entity.connection_timeout = peer.connect_seconds
    entity.acse_timeout = peer.answer_seconds
    entity.dimse_timeout = peer.answer_seconds
    entity.network_timeout = peer.answer_seconds
    tls = None if peer.tls is None else _ObservedTls(peer.tls)
    try:
        association = entity.associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ext_neg=list(roles),
            ae_title=peer.ae_title,
            tls_args=tls and (tls, peer.host),
            evt_handlers=[
                (evt.EVT_CONN_OPEN, _send_at_once),
                (evt.EVT_PDU_SENT, _acknowledge_at_once),
                *handlers,
            ],
        )
    except OSError as error:
        raise PeerError(f"{peer}: {error.strerror or error}") from error
    if not association.is_established:
        if not association.accepted_contexts and association.rejected_contexts:
            raise NothingAcceptedError(
                f"{peer}: it offers none of the SOP classes", association.rejected_contexts
            )
        raise PeerError(f"{peer}: {(tls and tls.failure) or _why_not(association)}")
    check_reactor(association)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def echo(peer: Peer) -> str | None:
    """C-ECHO; ``None`` if the peer answered with Success, else a sentence that says what went wrong."""
    try:
        with associated(peer, [build_context(VERIFICATION)]) as association:
            if not association.accepted_contexts:
                return f"{peer}: it doesn't offer verification (C-ECHO)"
            answer = association.send_c_echo()
    except PeerError as error:
        return str(error)
    if "Status" not in answer:
        return f"{peer}: no answer to C-ECHO within {peer.answer_seconds:g} s"
    return None if answer.Status == 0 else f"{peer}: C-ECHO was answered with status {answer.Status:04X}"


class _ObservedTls:
    """Stands in for an SSLContext: pynetdicom swallows TLS errors, the socket remembers the last one."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._socket: ssl.SSLSocket | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As the context does it."""
        self._socket = self._context.wrap_socket(*args, **kwargs)
        return self._socket

    @property
    def failure(self) -> str:
        """A sentence; empty if it wasn't TLS that failed."""
        failure = getattr(self._socket, "failure", "")
        return f"TLS failed, {failure}" if failure else ""


def _send_at_once(event: evt.Event) -> None:
    """Without Nagle's algorithm, which waits for acknowledgements in the middle of a message."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _acknowledge_at_once(event: evt.Event) -> None:
    """Peers with Nagle's algorithm on would wait 40 ms for the acknowledgement of half an answer."""
    connection = event.assoc.dul.socket.socket
    if connection is not None and hasattr(socket, "TCP_QUICKACK"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _why_not(association: Association) -> str:
    if association.is_rejected:
        answer = association.acceptor.primitive
        if answer.result_source == _REJECT_SOURCE_USER:
            return f"association rejected, {_REJECT_REASONS.get(answer.diagnostic, 'reason unknown')}"
        return "association rejected, too many associations or a temporary fault there"
    if association.acceptor.primitive is None:
        return "no connection, or no DICOM answer"
    return "association aborted"

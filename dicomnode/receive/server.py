"""The storage SCP of the node."""

from __future__ import annotations

import itertools
import logging
import ssl
import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pynetdicom import _config as pynetdicom_config
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

from dicomnode.receive.access import LOCAL_LIMIT_EXCEEDED, AccessPolicy, Rejection
from dicomnode.receive.calling import Connect
from dicomnode.receive.commitment import CommitmentHandler
from dicomnode.receive.commitment_reports import CommitmentReporter
from dicomnode.receive.completeness import CompletenessWatch
from dicomnode.receive.count_source import Source
from dicomnode.receive.expected import ExpectedInstances
from dicomnode.receive.fast_store import FastStore, is_fit
from dicomnode.receive.instance_buffer import BufferLimits
from dicomnode.receive.judge import CompletenessSettings
from dicomnode.receive.known_uids import remember_uids
from dicomnode.receive.messages import BoundedMessages
from dicomnode.receive.observer import Caller, Observers, ReceiveObserver, StoreOutcome
from dicomnode.receive.presentation_contexts import follow_proposal, supported_contexts
from dicomnode.receive.store import StoreHandler
from dicomnode.receive.transport import ConnectionServer, hang_up, wake_without_request
from dicomnode.spool.spool import Spool

LOGGER = logging.getLogger(__name__)

_WAIT_SECONDS = 0.05


@dataclass(frozen=True)
class ServerSettings:
    """How the node listens.

    Parameters
    ----------
    max_associations:
        At once; there may be twice as many connections and 8, most of them not yet or no longer associations.
    port:
        0 lets the system choose; :attr:`StorageServer.port` tells.
    max_pdu:
        Longest P-DATA-TF PDU in bytes that senders may send.
    max_instance_bytes:
        Longest data set; the association of a sender that sends more is aborted.
    negotiation_seconds:
        Time for the TLS handshake, and for the A-ASSOCIATE-RQ.
    idle_seconds:
        An association that sends nothing for so long is aborted; one PDU must not take longer either.
    fast:
        Receive plain C-STORE requests by :mod:`dicomnode.receive.fast_store`; the answers are the same.
    """

    ae_title: str
    host: str = "0.0.0.0"
    port: int = 11112
    max_associations: int = 32
    max_pdu: int = 128 * 1024
    max_instance_bytes: int = 512_000_000
    calling_ae_titles: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = None
    negotiation_seconds: float = 30.0
    idle_seconds: float = 60.0
    fast: bool = True
    completeness: CompletenessSettings = field(default_factory=CompletenessSettings)

    @property
    def access(self) -> AccessPolicy:
        """Who may open an association."""
        return AccessPolicy(self.ae_title, self.calling_ae_titles, self.addresses)


class StorageServer:
    """C-ECHO, C-STORE and storage commitment SCP that keeps what it gets in the spool.

    Parameters
    ----------
    spool:
        Where instances are kept; its :meth:`~dicomnode.spool.spool.Spool.recover` has run.
    decodable_transfer_syntaxes:
        UIDs of the transfer syntaxes that the node can decode; only these are accepted.
    observers:
        Are told what happens.
    call_back:
        How to reach senders that asked for storage commitment, by AE title.
    count_source:
        Whom to ask how many instances a series has.
    expected:
        Takes what the node itself asked for.
    """

    def __init__(
        self,
        settings: ServerSettings,
        spool: Spool,
        decodable_transfer_syntaxes: Iterable[str],
        observers: Sequence[ReceiveObserver] = (),
        *,
        call_back: Mapping[str, Connect] | None = None,
        count_source: Source | None = None,
        expected: ExpectedInstances | None = None,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._access = settings.access
        self._completeness = CompletenessWatch(spool.ledger, settings.completeness, source=count_source)
        self._reporter = CommitmentReporter(spool.ledger, call_back or {})
        self._contexts = supported_contexts(decodable_transfer_syntaxes)
        self._observer = Observers(observers)
        self._store = StoreHandler(
            spool, self._completeness, lambda event: self._caller(event.assoc), self._observer, expected
        )
        self._commitment = CommitmentHandler(
            spool.ledger, self._completeness, self._reporter, lambda event: self._caller(event.assoc)
        )
        self._numbers: weakref.WeakKeyDictionary[Association, int] = weakref.WeakKeyDictionary()
        self._next_number = itertools.count(1)
        self._admitted: set[int] = set()
        self._maximum_connections = 2 * settings.max_associations + 8
        self._lock = threading.Lock()
        self._server: ConnectionServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._running.server_address[1])

    @property
    def open_associations(self) -> int:
        """How many connections are open, associations or on the way to one."""
        return len(self._running.active_associations)

    def start(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            If the address is in use or isn't one of this machine.
        """
        # pynetdicom's own event log would print each request and response; ours says what matters.
        pynetdicom_config.LOG_HANDLER_LEVEL = "none"
        remember_uids()
        entity = ApplicationEntity(self._settings.ae_title)
        entity.maximum_associations = self._maximum_connections  # associations are counted by _admit
        entity.maximum_pdu_size = self._settings.max_pdu
        entity.acse_timeout = self._settings.negotiation_seconds
        entity.dimse_timeout = self._settings.idle_seconds
        entity.network_timeout = self._settings.idle_seconds
        self._server = entity.make_server(
            (self._settings.host, self._settings.port),
            contexts=self._contexts,
            evt_handlers=[
                (evt.EVT_FSM_TRANSITION, wake_without_request),
                (evt.EVT_REQUESTED, self._on_requested),
                (evt.EVT_ESTABLISHED, self._on_established),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_N_ACTION, self._commitment.on_action),
                (evt.EVT_N_EVENT_REPORT, self._commitment.on_event_report),
            ],
            server_class=ConnectionServer,
            tls=self._settings.tls,
            maximum_connections=self._maximum_connections,
            handshake_seconds=self._settings.negotiation_seconds,
            messages=self._messages,
            association_ended=self._on_ended,
            connection_failed=self._observer.connection_failed,
        )
        self._completeness.start()
        self._reporter.start()
        self._thread = threading.Thread(target=self._running.serve, name="storage-scp", daemon=True)
        self._thread.start()
        LOGGER.info(
            "listening",
            extra={"ae_title": self._settings.ae_title, "port": self.port, "tls": bool(self._settings.tls)},
        )

    def stop(self, drain_seconds: float = 10.0) -> None:
        """Take no new associations, let open ones finish for ``drain_seconds``, then abort them."""
        server = self._running
        server.stop_accepting()
        deadline = time.monotonic() + drain_seconds
        while server.active_associations and time.monotonic() < deadline:
            time.sleep(_WAIT_SECONDS)
        hang_up(server.active_associations)
        self._reporter.stop()
        self._completeness.stop()
        if self._thread is not None:
            self._thread.join()

    def reload(self, settings: ServerSettings) -> None:
        """Take over access, TLS and the times of completeness; the rest needs a restart."""
        self._access = settings.access
        self._running.tls = settings.tls
        self._completeness.reload(settings.completeness)

    def threads_alive(self) -> dict[str, bool]:
        """Whether each thread runs that must run as long as the server does."""
        return {
            "storage-scp": self._thread is not None and self._thread.is_alive(),
            "completeness": self._completeness.is_alive,
            "commitment-reports": self._reporter.is_alive,
        }

    @property
    def _running(self) -> ConnectionServer:
        if self._server is None:
            raise RuntimeError("the storage server was not started")
        return self._server

    def _number(self, association: Association) -> int:
        """A number for logs and for completeness, never used twice."""
        with self._lock:
            if association not in self._numbers:
                self._numbers[association] = next(self._next_number)
            return self._numbers[association]

    def _caller(self, association: Association) -> Caller:
        requestor = association.requestor
        return Caller(self._number(association), requestor.ae_title.strip(), requestor.address)

    def _messages(self, association: Association) -> BoundedMessages:
        def limits() -> BufferLimits:
            return BufferLimits(
                self._spool.directory, self._settings.max_instance_bytes, self._spool.minimum_free_bytes
            )

        def refused(status: int) -> None:
            self._observer.instance_answered(
                StoreOutcome(self._caller(association), status, size=0, seconds=0.0)
            )

        return BoundedMessages(association, limits, lambda: self._number(association), refused)

    def _on_requested(self, event: evt.Event) -> None:
        association = event.assoc
        request = association.requestor.primitive
        address = association.requestor.address
        rejection = self._access.verdict(
            request.called_ae_title,
            request.calling_ae_title,
            address,
            str(request.application_context_name),
        )
        rejection = rejection or self._admit(association)
        if rejection is None:
            association.acceptor.supported_contexts = follow_proposal(
                self._contexts, request.presentation_context_definition_list
            )
            return
        LOGGER.warning(
            "association rejected: %s",
            rejection.sentence,
            extra={"association": self._number(association), "peer": address},
        )
        self._observer.association_rejected(
            Caller(self._number(association), request.calling_ae_title.strip(), address), rejection
        )
        association.acse.send_reject(rejection.result, rejection.source, rejection.reason)
        association.kill()

    def _admit(self, association: Association) -> Rejection | None:
        """Count the association; connections that have not asked for one take nobody's place."""
        number = self._number(association)
        with self._lock:
            if len(self._admitted) >= self._settings.max_associations:
                return LOCAL_LIMIT_EXCEEDED
            self._admitted.add(number)
        return None

    def _on_established(self, event: evt.Event) -> None:
        caller = self._caller(event.assoc)
        association = event.assoc
        association.dul.socket.pdu_seconds = self._settings.idle_seconds
        self._observer.association_established(caller)
        if self._settings.fast and is_fit(association):
            fast = FastStore(association, caller, self._store, lambda: self._settings.max_instance_bytes)
            association.dul.socket.reader = fast.take
        LOGGER.info(
            "association established",
            extra={
                "association": caller.association,
                "calling_ae_title": caller.ae_title,
                "peer": caller.address,
            },
        )

    def _on_ended(self, association: Association) -> None:
        number = self._number(association)
        with self._lock:
            self._admitted.discard(number)
        self._completeness.association_ended(number, released=association.is_released)
        self._reporter.wake()
        self._observer.association_ended(number)
        LOGGER.info("association ended", extra={"association": number, "released": association.is_released})

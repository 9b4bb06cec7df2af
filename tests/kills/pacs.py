"""A PACS that remembers each arrival, byte for byte, and survives the kills of the node."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

SUCCESS = 0x0000


@dataclass
class Arrival:
    """One C-STORE request."""

    life: int
    """The node's life that sent it, though the PACS may read it after that life's end."""
    cut_off: bool = False
    """Whether the PACS closed the association before the node showed that it has the answer."""


@dataclass
class Held:
    """One SOP instance at the destination."""

    kind: str
    sources: frozenset[str]
    digests: set[str] = field(default_factory=set)
    arrivals: list[Arrival] = field(default_factory=list)


class RecordingPacs:
    """Storage SCP on loopback. Its memory outlasts :meth:`stop` and :meth:`start`."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.life = 0
        self.port = 0
        self.on_arrival: Callable[[], None] = lambda: None
        self._breaks_down = False
        self._senders: dict[Association, int] = {}
        self._last_arrivals: dict[Association, Arrival] = {}
        self._lock = threading.Lock()
        self._server = None
        self._ae = AE("PACS")
        for context in AllStoragePresentationContexts:
            self._ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        self._ae.add_supported_context(Verification)
        self._ae.add_supported_context(StorageCommitmentPushModel)

    def start(self) -> None:
        """Listen, on the same port as before."""
        handlers = [
            (evt.EVT_REQUESTED, self._meet),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._commit),
            (evt.EVT_PDU_RECV, self._hear),
        ]
        self._server = self._ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        self.port = self._server.socket.getsockname()[1]

    def stop(self) -> None:
        """Close the port and all associations."""
        if self._server is not None:
            server, self._server = self._server, None
            self._cut_off(server.active_associations)
            server.shutdown()

    def break_down_once(self) -> None:
        """Cut the connection after the next object is stored, instead of an answer."""
        with self._lock:
            self._breaks_down = True

    def _meet(self, event: evt.Event) -> None:
        with self._lock:
            self._senders[event.assoc] = self.life

    def _store(self, event: evt.Event) -> int:
        dataset = event.dataset
        digest = hashlib.sha256(event.request.DataSet.getvalue()).hexdigest()
        with self._lock:
            uid = str(event.request.AffectedSOPInstanceUID)
            held = self.held.setdefault(uid, Held(str(dataset.Modality), sources_of(dataset)))
            held.digests.add(digest)
            arrival = Arrival(self._senders[event.assoc])
            held.arrivals.append(arrival)
            self._last_arrivals[event.assoc] = arrival
            breaks_down, self._breaks_down = self._breaks_down, False
        self.on_arrival()
        if breaks_down:
            self._cut_off([event.assoc])
            event.assoc.abort()
        return SUCCESS

    def _hear(self, event: evt.Event) -> None:
        """Before it has the answer a requestor says nothing, unless it gives up."""
        if not isinstance(event.pdu, A_ABORT_RQ):
            with self._lock:
                self._last_arrivals.pop(event.assoc, None)

    def _cut_off(self, associations: Iterable[Association]) -> None:
        with self._lock:
            for association in associations:
                if arrival := self._last_arrivals.get(association):
                    arrival.cut_off = True

    def _commit(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """Storage commitment (PS3.4 Annex J): the answer follows on the same association."""
        request = event.action_information
        report = Dataset()
        report.TransactionUID = request.TransactionUID
        with self._lock:
            asked = list(request.ReferencedSOPSequence)
            missing = [item for item in asked if str(item.ReferencedSOPInstanceUID) not in self.held]
        for item in missing:
            item.FailureReason = 0x0112
        report.ReferencedSOPSequence = Sequence(item for item in asked if item not in missing)
        if missing:
            report.FailedSOPSequence = Sequence(missing)
        threading.Thread(target=_report, args=(event, report, 2 if missing else 1), daemon=True).start()
        return SUCCESS, None


def sources_of(dataset: Dataset) -> frozenset[str]:
    """Series Instance UIDs that the object refers to, wherever they stand in it."""
    found = {
        str(series.SeriesInstanceUID)
        for element in dataset.iterall()
        if element.keyword == "ReferencedSeriesSequence"
        for series in element.value
    }
    return frozenset(found)


def _report(event: evt.Event, report: Dataset, event_type: int) -> None:
    with contextlib.suppress(RuntimeError, ValueError):  # the node was killed meanwhile; it will ask again
        event.assoc.send_n_event_report(
            report, event_type, StorageCommitmentPushModel, event.request.RequestedSOPInstanceUID
        )

"""Storage commitment SCU (PS3.4 Annex J): a destination is asked to promise that it keeps what it got."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.presentation import build_context

from dicomnode.deliver.destination import Destination
from dicomnode.deliver.peer import NothingAcceptedError, PeerError, associated
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import DeliveryRecord
from dicomnode.storage_commitment import (
    INVALID_ARGUMENT,
    REQUEST_ACTION,
    SOP_CLASS,
    SOP_INSTANCE,
    Request,
    build_request,
    handle_event_report,
)

LOGGER = logging.getLogger(__name__)

TRANSFER_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)

OBJECTS_A_REQUEST = 100

WAIT_FOR_REPORT_SECONDS = 2.0
"""The association stays open for so long; a report that takes longer comes to the node's own port."""

SHORTEST_PATIENCE_SECONDS = 300.0
LONGEST_PATIENCE_SECONDS = 6 * 3600.0

_POLL_SECONDS = 0.02


class CommitmentRequester:
    """Asks one destination.

    Parameters
    ----------
    hurry:
        Whether there is something better to do than to wait for a report.
    """

    def __init__(
        self,
        ledger: Ledger,
        destination: Destination,
        clock: Callable[[], float],
        hurry: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._destination = destination
        self._clock = clock
        self._hurry = hurry
        self._told = ""
        self._began = False

    def next_question_at(self) -> float | None:
        """When the next request is due; ``None`` if nothing is left to ask."""
        if not self._destination.commitment:
            return None
        return self._ledger.asked_of_destinations.next_question_at(self._destination.name)

    def ask(self) -> bool:
        """Ask for what is due, one request; whether there was anything.

        The first time it is also due what was asked before the node was started, and not answered.
        """
        if not self._destination.commitment:
            return False
        if not self._began:
            self._ledger.asked_of_destinations.ask_again_now(self._destination.name)
            self._began = True
        waiting = self._ledger.asked_of_destinations.to_ask(self._destination.name)
        if not waiting:
            return False
        asked_before = [one for one in waiting if one.transaction_uid]
        fresh = [one for one in waiting if not one.transaction_uid]
        self._request((fresh or asked_before)[:OBJECTS_A_REQUEST])
        return True

    def _request(self, deliveries: Sequence[DeliveryRecord]) -> None:
        name = self._destination.name
        transaction_uid = generate_uid(prefix=None)
        again_at = self._clock() + self._patience_seconds(deliveries)
        self._ledger.asked_of_destinations.asked(transaction_uid, name, deliveries, again_at)
        instances = tuple((one.sop_class_uid, one.sop_instance_uid) for one in deliveries)
        error, permanent = self._exchange(Request(str(transaction_uid), instances))
        if not error:
            self._told = ""
            return
        self._ledger.asked_of_destinations.not_taken(transaction_uid, error)
        if error != self._told:  # the same again would tell nobody anything new
            self._told = error
            extra = {"destination": name}
            if permanent:
                LOGGER.error("storage commitment is not offered: %s", error, extra=extra)
            else:
                LOGGER.warning("storage commitment not asked for, next time later: %s", error, extra=extra)

    def _patience_seconds(self, deliveries: Sequence[DeliveryRecord]) -> float:
        """As long again as the oldest has waited so far: 5 min, 10 min, 20 min ... 6 h."""
        oldest = min(one.delivered_at or self._clock() for one in deliveries)
        waited = self._clock() - oldest
        return min(max(waited, SHORTEST_PATIENCE_SECONDS), LONGEST_PATIENCE_SECONDS)

    def _exchange(self, request: Request) -> tuple[str, bool]:
        """Send it and wait for the report; the error in words, and whether it will stay one."""
        coming, reported = threading.Event(), threading.Event()

        def on_report(event: evt.Event) -> tuple[int, None]:
            coming.set()
            try:
                dataset = event.event_information
            except Exception:  # pydicom raises many kinds for what isn't a data set
                return INVALID_ARGUMENT, None
            return handle_event_report(self._ledger, dataset, event.event_type), None

        def on_sent(event: evt.Event) -> None:
            if coming.is_set() and isinstance(event.pdu, P_DATA_TF):
                reported.set()  # a release before the answer to the report would be against the protocol

        peer = self._destination.peer
        handlers = [(evt.EVT_N_EVENT_REPORT, on_report), (evt.EVT_PDU_SENT, on_sent)]
        try:
            with associated(
                peer, [build_context(SOP_CLASS, list(TRANSFER_SYNTAXES))], handlers
            ) as association:
                status, _ = association.send_n_action(
                    build_request(request), REQUEST_ACTION, SOP_CLASS, SOP_INSTANCE
                )
                if "Status" not in status:
                    return f"{peer}: no answer to N-ACTION", False
                if status.Status != 0:
                    return f"{peer}: N-ACTION was answered with status {int(status.Status):04X}", False
                deadline = time.monotonic() + WAIT_FOR_REPORT_SECONDS
                while not reported.wait(_POLL_SECONDS) and association.is_established:
                    if not coming.is_set() and (time.monotonic() > deadline or self._hurry()):
                        break
        except NothingAcceptedError:
            return f"{peer}: it doesn't offer storage commitment; set commitment = false for it", True
        except PeerError as error:
            return str(error), False
        except (RuntimeError, ValueError) as error:  # the association was lost between two messages
            return f"{peer}: storage commitment failed ({type(error).__name__})", False
        return "", False

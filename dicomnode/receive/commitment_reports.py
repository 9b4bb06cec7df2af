"""Telling senders what the node keeps: N-EVENT-REPORT, until each has heard it (PS3.4 J.3.3).

On the association of the request while that is open and at rest; else on a new one to the address that the
configuration has for the sender.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context

from dicomnode import storage_commitment
from dicomnode.receive.calling import Connect, NoAnswerError, UnreachableError
from dicomnode.receive.notification import notify, notify_while_serving
from dicomnode.spool.errors import SpoolError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import CommitmentRequest
from dicomnode.storage_commitment import FailureReason, Report

LOGGER = logging.getLogger(__name__)

_STOP_SECONDS = 2.0
_AGAIN_SECONDS = 5.0


@dataclass(frozen=True)
class ReportTimes:
    """Seconds.

    Parameters
    ----------
    rest:
        After so long without a request on its association, a sender waits for the report there; many
        release it at once and could not cope with a report that crosses their release.
    answer:
        Time for the answer to a report.
    first, cap:
        Wait after a report that didn't arrive; doubled each time, up to ``cap``.
    """

    rest: float = 0.5
    answer: float = 10.0
    first: float = 5.0
    cap: float = 900.0


class CommitmentReporter:
    """One thread that brings reports to senders; what waits is in the ledger and survives restarts.

    Parameters
    ----------
    sources:
        How to call senders back, by AE title.
    """

    def __init__(
        self,
        ledger: Ledger,
        sources: Mapping[str, Connect],
        times: ReportTimes | None = None,
    ) -> None:
        self._ledger = ledger
        self._sources = dict(sources)
        self._times = times or ReportTimes()
        self._open: weakref.WeakValueDictionary[tuple[str, str], Association] = weakref.WeakValueDictionary()
        self._changed = threading.Condition()
        self._news = True
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="commitment-reports", daemon=True)

    def start(self) -> None:
        """Begin with what a previous run has not reported."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is not reported waits for the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def requested(self, requestor: str, transaction_uid: str, association: Association) -> None:
        """A request is in the ledger; it came on this association."""
        with self._changed:
            self._open[requestor, transaction_uid] = association
        self.wake()

    def wake(self) -> None:
        """An association has ended, or there is a new request."""
        with self._changed:
            self._news = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            try:
                wait = self._report_what_is_due()
            except SpoolError as error:
                LOGGER.error("storage commitment not reported: %s", error)
                wait = _AGAIN_SECONDS
            except Exception as error:  # without this thread no sender would hear anything any more
                LOGGER.error("storage commitment not reported: unexpected %s", type(error).__name__)
                wait = _AGAIN_SECONDS
            with self._changed:
                if not (self._news or self._stopping):
                    self._changed.wait(wait)
                if self._stopping:
                    return
                self._news = False

    def _report_what_is_due(self) -> float | None:
        """Bring what can be brought; seconds until the next try, ``None`` if nothing waits."""
        waits: list[float] = []
        absent: dict[str, list[CommitmentRequest]] = {}
        for request in self._ledger.asked_by_others.due():
            association = self._association_of(request)
            if association is None:
                absent.setdefault(request.requestor, []).append(request)
                continue
            rest = self._times.rest - (time.monotonic() - association.dimse.last_request_at)
            if rest > 0:
                waits.append(rest)
            else:
                self._report_on(request, association)
        for requestor, requests in absent.items():
            if self._stopping:
                return None
            self._call_back(requestor, requests)
        if waits:
            return min(waits)
        return self._ledger.asked_by_others.next_report_in()

    def _association_of(self, request: CommitmentRequest) -> Association | None:
        with self._changed:
            association = self._open.get((request.requestor, request.transaction_uid))
        return association if association is not None and association.is_established else None

    def _report_on(self, request: CommitmentRequest, association: Association) -> None:
        """On the association of the request; if that fails, a new one is next."""
        report = self._report(request)
        try:
            status = notify_while_serving(association, report, self._times.answer)
        except NoAnswerError as error:
            LOGGER.info("storage commitment not reported on the association of its request: %s", error)
            with self._changed:
                self._open.pop((request.requestor, request.transaction_uid), None)
                self._news = True
            return
        self._note(request, report, status)

    def _call_back(self, requestor: str, requests: list[CommitmentRequest]) -> None:
        """All that waits for one sender, on one association."""
        left = list(requests)
        try:
            connect = self._sources.get(requestor)
            if connect is None:
                raise NoAnswerError(f"no [[source]] with ae_title {requestor!r} to call back")
            context, role = build_context(storage_commitment.SOP_CLASS), SCP_SCU_RoleSelectionNegotiation()
            role.sop_class_uid, role.scu_role, role.scp_role = storage_commitment.SOP_CLASS, False, True
            with connect([context], [role]) as association:
                while left and not self._stopping:
                    report = self._report(left[0])
                    status = notify(association, report)
                    self._note(left.pop(0), report, status)
        except (NoAnswerError, UnreachableError) as error:
            LOGGER.warning("storage commitment not reported: %s", error, extra={"requestor": requestor})
            for request in left:
                self._try_later(request, str(error))

    def _report(self, request: CommitmentRequest) -> Report:
        """What the node can say now."""
        asked = self._ledger.asked_by_others
        held = asked.held(request.instances)
        committed = tuple(one for one, is_held in zip(request.instances, held, strict=True) if is_held)
        absent = [one for one, is_held in zip(request.instances, held, strict=True) if not is_held]
        of_other_class = asked.known([uid for _, uid in absent])
        failed = tuple(
            (
                reference,
                FailureReason.CLASS_INSTANCE_CONFLICT
                if reference[1] in of_other_class
                else FailureReason.NO_SUCH_INSTANCE,
            )
            for reference in absent
        )
        return Report(request.transaction_uid, committed, failed)

    def _note(self, request: CommitmentRequest, report: Report, status: int) -> None:
        if status != storage_commitment.SUCCESS:
            self._try_later(request, f"{request.requestor} answered the report with status {status:04X}")
            return
        self._ledger.asked_by_others.reported(request, len(report.failed))
        with self._changed:
            self._open.pop((request.requestor, request.transaction_uid), None)
        LOGGER.info(
            "storage commitment reported",
            extra={"committed": len(report.committed), "failed": len(report.failed)},
        )

    def _try_later(self, request: CommitmentRequest, error: str) -> None:
        """On a new association, whether this one was or not."""
        with self._changed:
            self._open.pop((request.requestor, request.transaction_uid), None)
        wait = min(self._times.first * 2.0 ** min(request.attempts, 20), self._times.cap)
        wait *= random.uniform(0.8, 1.2)
        self._ledger.asked_by_others.not_reported(request, error, time.time() + wait)

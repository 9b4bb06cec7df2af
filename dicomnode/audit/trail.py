"""What the rooms report to the audit trail."""

from __future__ import annotations

import logging
import ssl
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from dicomnode.audit import events
from dicomnode.audit.audit_file import AuditFile
from dicomnode.audit.events import Partner, Reporter, Transfer
from dicomnode.audit.message import Action, AuditMessage, Outcome
from dicomnode.receive.access import Rejection
from dicomnode.receive.observer import Caller, ReceiveObserver, StoreOutcome
from dicomnode.receive.patient import Patient, decode_patient
from dicomnode.spool.records import Kept

LOGGER = logging.getLogger(__name__)

REJECTED_PERMANENT = 1
MAXIMUM_GROUPS = 1000
"""Studies of one association that are counted at a time; beyond, they are reported before it ends."""

MAXIMUM_ACCESSION_NUMBERS = 100


@dataclass(frozen=True)
class SentInstance:
    """An instance that was offered to a destination; ``error`` is empty if it is there now."""

    study_instance_uid: str
    patient: Patient
    sop_class_uid: str
    error: str = ""


@dataclass(frozen=True)
class _Group:
    """Instances that one message can speak of: one study, one patient, one outcome."""

    study_instance_uid: str
    patient_id: str
    action: Action
    outcome: Outcome
    description: str = ""


@dataclass
class _Content:
    patient: Patient
    sop_classes: Counter[str] = field(default_factory=Counter)
    accession_numbers: set[str] = field(default_factory=set)

    def add(self, sop_class_uid: str, patient: Patient) -> None:
        self.sop_classes[sop_class_uid] += 1
        if patient.accession_number and len(self.accession_numbers) < MAXIMUM_ACCESSION_NUMBERS:
            self.accession_numbers.add(patient.accession_number)


@dataclass
class _Association:
    caller: Caller
    begun: set[tuple[str, str]] = field(default_factory=set)
    groups: dict[_Group, _Content] = field(default_factory=dict)


class AuditTrail(ReceiveObserver):
    """Turns events into audit messages and appends them to the file.

    Parameters
    ----------
    file:
        Where they go.
    ae_title:
        The node's own.
    """

    def __init__(self, file: AuditFile, ae_title: str) -> None:
        self.file = file
        self._reporter = Reporter.this_process(ae_title)
        self._associations: dict[int, _Association] = {}
        self._lock = threading.Lock()

    def started(self) -> None:
        """The node begins its work."""
        self._write(events.application_activity(self._reporter, start=True))

    def stopped(self) -> None:
        """The node has ended its work; the file is closed."""
        self._write(events.application_activity(self._reporter, start=False))
        self.file.close()

    def connection_failed(self, address: str, error: BaseException | None) -> None:
        """A TLS handshake that fails is a node that could not be authenticated."""
        if isinstance(error, ssl.SSLError):
            sentence = f"TLS handshake failed: {error.reason or type(error).__name__}"
            self._write(events.node_authentication_failed(self._reporter, Partner("", address), sentence))

    def association_rejected(self, caller: Caller, rejection: Rejection) -> None:
        """A rejection for good is an alert; one for now (too many associations) is none."""
        if rejection.result == REJECTED_PERMANENT:
            sentence = f"association rejected: {rejection.sentence}"
            self._write(events.node_authentication_failed(self._reporter, _partner(caller), sentence))

    def instance_answered(self, outcome: StoreOutcome) -> None:
        """Count the instance to its study; the first one of a study begins a transfer."""
        if outcome.identity is None:
            return  # nobody knows what it was: the log has it
        study, patient = outcome.identity.study_instance_uid, decode_patient(outcome.identity.patient)
        group = _group_of(outcome, study, patient)
        with self._lock:
            association = self._associations.setdefault(
                outcome.caller.association, _Association(outcome.caller)
            )
            begins = (study, patient.id) not in association.begun
            association.begun.add((study, patient.id))
            full = {} if len(association.groups) < MAXIMUM_GROUPS else association.groups
            if full:
                association.groups, association.begun = {}, {(study, patient.id)}
            content = association.groups.setdefault(group, _Content(patient))
            content.add(outcome.identity.sop_class_uid, patient)
        if begins:
            transfer = _transfer(_partner(outcome.caller), group, _Content(patient), received=True)
            self._write(events.begin_transferring(self._reporter, transfer))
        self._report(_partner(outcome.caller), full, received=True)

    def association_ended(self, association: int) -> None:
        """Report what came on it."""
        with self._lock:
            ended = self._associations.pop(association, None)
        if ended is not None:
            self._report(_partner(ended.caller), ended.groups, received=True)

    def instances_sent(self, partner: Partner, instances: Iterable[SentInstance]) -> None:
        """Instances were offered to a destination, together."""
        groups: dict[_Group, _Content] = {}
        for instance in instances:
            group = _Group(
                instance.study_instance_uid,
                instance.patient.id,
                "C",
                4 if instance.error else 0,
                instance.error,
            )
            content = groups.setdefault(group, _Content(instance.patient))
            content.add(instance.sop_class_uid, instance.patient)
        self._report(partner, groups, received=False)

    def _report(self, partner: Partner, groups: dict[_Group, _Content], *, received: bool) -> None:
        for group, content in groups.items():
            transfer = _transfer(partner, group, content, received=received)
            self._write(
                events.instances_transferred(
                    self._reporter, transfer, group.action, group.outcome, group.description
                )
            )

    def _write(self, message: AuditMessage) -> None:
        self.file.append(message.to_line())


def _partner(caller: Caller) -> Partner:
    return Partner(caller.ae_title, caller.address)


def _group_of(outcome: StoreOutcome, study: str, patient: Patient) -> _Group:
    if outcome.kept is None:
        return _Group(study, patient.id, "C", 4, f"not stored, status {outcome.status:04X}")
    return _Group(study, patient.id, "C" if outcome.kept is Kept.NEW else "R", 0)


def _transfer(partner: Partner, group: _Group, content: _Content, *, received: bool) -> Transfer:
    return Transfer(
        partner=partner,
        received=received,
        study_instance_uid=group.study_instance_uid,
        patient=content.patient,
        accession_numbers=tuple(sorted(content.accession_numbers)),
        sop_classes=content.sop_classes,
    )

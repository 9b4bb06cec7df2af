"""The events that the node reports, each as its table in PS3.15 A.5.3 wants it."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dicomnode.audit.message import Action, AuditMessage, Code, Outcome, Participant, ParticipantObject
from dicomnode.receive.patient import Patient

APPLICATION_ACTIVITY = Code("110100", "Application Activity")
BEGIN_TRANSFERRING = Code("110102", "Begin Transferring DICOM Instances")
INSTANCES_TRANSFERRED = Code("110104", "DICOM Instances Transferred")
SECURITY_ALERT = Code("110113", "Security Alert")
APPLICATION_START = Code("110120", "Application Start")
APPLICATION_STOP = Code("110121", "Application Stop")
NODE_AUTHENTICATION = Code("110126", "Node Authentication")
APPLICATION = Code("110150", "Application")
DESTINATION = Code("110152", "Destination Role ID")
SOURCE = Code("110153", "Source Role ID")
STUDY_INSTANCE_UID = Code("110180", "Study Instance UID")
NODE_ID = Code("110182", "Node ID")
PATIENT_NUMBER = Code("2", "Patient Number", "RFC-3881")

_PERSON, _SYSTEM_OBJECT = "1", "2"
_PATIENT, _REPORT = "1", "3"


@dataclass(frozen=True)
class Reporter:
    """The node that reports: its AE title, and the host and process that it runs in."""

    ae_title: str
    host: str
    process: str

    @classmethod
    def this_process(cls, ae_title: str) -> Reporter:
        """This process on this machine."""
        return cls(ae_title, socket.gethostname(), str(os.getpid()))

    @property
    def source_id(self) -> str:
        """AE title and host name."""
        return f"{self.ae_title}@{self.host}"

    def participant(self, *, is_requestor: bool, role: Code | None = None) -> Participant:
        """The node's own part in an event."""
        return Participant(self.process, is_requestor, role, (self.ae_title,), self.host, True)


@dataclass(frozen=True)
class Partner:
    """The other side; ``address`` is an IP address unless ``address_is_name``."""

    ae_title: str
    address: str
    address_is_name: bool = False

    @classmethod
    def at(cls, ae_title: str, host: str) -> Partner:
        """A partner at an IP address or at a host name."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return cls(ae_title, host, True)
        return cls(ae_title, host)

    def participant(self, *, is_requestor: bool, role: Code | None = None) -> Participant:
        """Its part in an event, under the name that the node knows it by."""
        titles = (self.ae_title,) if self.ae_title else ()
        name = self.ae_title or self.address
        return Participant(name, is_requestor, role, titles, self.address, self.address_is_name)


@dataclass(frozen=True)
class Transfer:
    """Instances of one study of one patient that were sent or received, and what became of them.

    Parameters
    ----------
    sop_classes:
        Number of instances by SOP class UID.
    received:
        From the partner; else sent to it. Who sends is the one who asked for the transfer.
    """

    partner: Partner
    received: bool
    study_instance_uid: str
    patient: Patient
    accession_numbers: tuple[str, ...]
    sop_classes: Mapping[str, int]


def application_activity(reporter: Reporter, *, start: bool) -> AuditMessage:
    """The node starts or stops (A.5.3.1)."""
    return AuditMessage(
        event=APPLICATION_ACTIVITY,
        type=APPLICATION_START if start else APPLICATION_STOP,
        action="E",
        time=_now(),
        outcome=0,
        source_id=reporter.source_id,
        participants=(reporter.participant(is_requestor=False, role=APPLICATION),),
    )


def begin_transferring(reporter: Reporter, transfer: Transfer) -> AuditMessage:
    """The first instance of a study on an association (A.5.3.3); how many will come is not known yet."""
    return AuditMessage(
        event=BEGIN_TRANSFERRING,
        action="E",
        time=_now(),
        outcome=0,
        source_id=reporter.source_id,
        participants=_both_sides(reporter, transfer),
        objects=(_study(transfer, with_content=False), _patient(transfer.patient)),
    )


def instances_transferred(
    reporter: Reporter, transfer: Transfer, action: Action, outcome: Outcome, description: str = ""
) -> AuditMessage:
    """Instances have been transferred, or not (A.5.3.7).

    Parameters
    ----------
    action:
        ``C`` where the receiver did not hold them before, ``R`` where it did.
    description:
        Of a failure.
    """
    return AuditMessage(
        event=INSTANCES_TRANSFERRED,
        action=action,
        time=_now(),
        outcome=outcome,
        outcome_description=description,
        source_id=reporter.source_id,
        participants=_both_sides(reporter, transfer),
        objects=(_study(transfer, with_content=True), _patient(transfer.patient)),
    )


def node_authentication_failed(reporter: Reporter, partner: Partner, sentence: str) -> AuditMessage:
    """A peer was turned away (A.5.3.11); a minor failure, since turning it away was effective."""
    subject = ParticipantObject(
        id=partner.address,
        id_type=NODE_ID,
        name=partner.ae_title or partner.address,
        type_code=_SYSTEM_OBJECT,
        details={"Alert Description": sentence},
    )
    return AuditMessage(
        event=SECURITY_ALERT,
        type=NODE_AUTHENTICATION,
        action="E",
        time=_now(),
        outcome=4,
        source_id=reporter.source_id,
        participants=(reporter.participant(is_requestor=True), partner.participant(is_requestor=False)),
        objects=(subject,),
    )


def _both_sides(reporter: Reporter, transfer: Transfer) -> tuple[Participant, Participant]:
    if transfer.received:
        return (
            transfer.partner.participant(is_requestor=True, role=SOURCE),
            reporter.participant(is_requestor=False, role=DESTINATION),
        )
    return (
        reporter.participant(is_requestor=True, role=SOURCE),
        transfer.partner.participant(is_requestor=False, role=DESTINATION),
    )


def _study(transfer: Transfer, *, with_content: bool) -> ParticipantObject:
    return ParticipantObject(
        id=transfer.study_instance_uid,
        id_type=STUDY_INSTANCE_UID,
        name=transfer.study_instance_uid,
        type_code=_SYSTEM_OBJECT,
        role_code=_REPORT,
        accession_numbers=transfer.accession_numbers if with_content else (),
        sop_classes=transfer.sop_classes if with_content else {},
    )


def _patient(patient: Patient) -> ParticipantObject:
    return ParticipantObject(
        id=patient.id,
        id_type=PATIENT_NUMBER,
        name=patient.name,
        type_code=_PERSON,
        role_code=_PATIENT,
    )


def _now() -> datetime:
    return datetime.now(UTC)

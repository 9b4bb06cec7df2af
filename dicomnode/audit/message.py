"""One DICOM audit message as XML, in the form that PS3.15 A.5.1 gives it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Literal
from xml.etree import ElementTree

from dicomnode.receive.patient import clean

Action = Literal["C", "R", "U", "D", "E"]
"""Create, read, update, delete, execute."""

Outcome = Literal[0, 4, 8, 12]
"""Success, minor failure (it may be tried again), serious failure, major failure."""

_APPLICATION_SERVER = "4"
_MACHINE_NAME, _IP_ADDRESS = "1", "2"


@dataclass(frozen=True)
class Code:
    """A coded value: of DICOM (PS3.16 annex D) or of RFC 3881."""

    value: str
    meaning: str
    system: str = "DCM"


@dataclass(frozen=True)
class Participant:
    """A process or node that took part.

    Parameters
    ----------
    user_id:
        Of the own process its id, of others the AE title or address that they are known by.
    address:
        IP address or host name; may be empty.
    """

    user_id: str
    is_requestor: bool
    role: Code | None = None
    ae_titles: tuple[str, ...] = ()
    address: str = ""
    address_is_name: bool = False


@dataclass(frozen=True)
class ParticipantObject:
    """What the event was about.

    Parameters
    ----------
    type_code, role_code:
        Values of PS3.15 A.5.1.2; the role may be empty.
    details:
        Names and texts; written in base 64, as the standard asks for.
    sop_classes:
        Number of instances by SOP class UID.
    """

    id: str
    id_type: Code
    name: str
    type_code: str
    role_code: str = ""
    details: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    accession_numbers: tuple[str, ...] = ()
    sop_classes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class AuditMessage:
    """An event, who took part, who reports it, and what it was about.

    Parameters
    ----------
    time:
        Aware; written in UTC.
    source_id:
        The system that reports, in a form that is unique at the site.

    Raises
    ------
    ValueError
        If nobody took part, or the time has no zone.
    """

    event: Code
    action: Action
    time: datetime
    outcome: Outcome
    source_id: str
    participants: tuple[Participant, ...]
    type: Code | None = None
    outcome_description: str = ""
    objects: tuple[ParticipantObject, ...] = ()

    def __post_init__(self) -> None:
        if not self.participants:
            raise ValueError("an audit message needs an active participant")
        if self.time.utcoffset() is None:
            raise ValueError("the time of an audit message needs a time zone")

    def to_line(self) -> str:
        """The message as one line of XML, without its end."""
        root = ElementTree.Element("AuditMessage")
        self._add_event(root)
        for participant in self.participants:
            _add_participant(root, participant)
        source = _add(root, "AuditSourceIdentification", AuditSourceID=self.source_id)
        _add(source, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
        for thing in self.objects:
            _add_object(root, thing)
        return ElementTree.tostring(root, encoding="unicode")

    def _add_event(self, root: ElementTree.Element) -> None:
        event = _add(
            root,
            "EventIdentification",
            EventActionCode=self.action,
            EventDateTime=self.time.isoformat(timespec="milliseconds"),
            EventOutcomeIndicator=str(self.outcome),
        )
        _add_code(event, "EventID", self.event)
        if self.type is not None:
            _add_code(event, "EventTypeCode", self.type)
        if self.outcome_description:
            _add(event, "EventOutcomeDescription").text = clean(self.outcome_description)


def _add_participant(root: ElementTree.Element, participant: Participant) -> None:
    attributes = {"UserID": participant.user_id}
    if participant.ae_titles:
        attributes["AlternativeUserID"] = "AETITLES=" + ";".join(participant.ae_titles)
    attributes["UserIsRequestor"] = "true" if participant.is_requestor else "false"
    if participant.address:
        attributes["NetworkAccessPointID"] = participant.address
        attributes["NetworkAccessPointTypeCode"] = (
            _MACHINE_NAME if participant.address_is_name else _IP_ADDRESS
        )
    element = _add(root, "ActiveParticipant", attributes)
    if participant.role is not None:
        _add_code(element, "RoleIDCode", participant.role)


def _add_object(root: ElementTree.Element, thing: ParticipantObject) -> None:
    attributes = {"ParticipantObjectID": thing.id, "ParticipantObjectTypeCode": thing.type_code}
    if thing.role_code:
        attributes["ParticipantObjectTypeCodeRole"] = thing.role_code
    element = _add(root, "ParticipantObjectIdentification", attributes)
    _add_code(element, "ParticipantObjectIDTypeCode", thing.id_type)
    _add(element, "ParticipantObjectName").text = clean(thing.name)
    for name, text in thing.details.items():
        value = base64.b64encode(text.encode("utf-8", errors="replace")).decode("ascii")
        _add(element, "ParticipantObjectDetail", type=name, value=value)
    if thing.sop_classes:
        description = _add(element, "ParticipantObjectDescription")
        for number in thing.accession_numbers:
            _add(description, "Accession", Number=number)
        for uid, instances in thing.sop_classes.items():
            _add(description, "SOPClass", UID=uid, NumberOfInstances=str(instances))


def _add_code(parent: ElementTree.Element, tag: str, code: Code) -> None:
    _add(parent, tag, {"csd-code": code.value, "codeSystemName": code.system, "originalText": code.meaning})


def _add(
    parent: ElementTree.Element, tag: str, attributes: Mapping[str, str] | None = None, **more: str
) -> ElementTree.Element:
    cleaned = {name: clean(value) for name, value in {**(attributes or {}), **more}.items()}
    return ElementTree.SubElement(parent, tag, cleaned)

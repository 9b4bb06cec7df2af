"""A checker of audit messages, written after the schema and the tables of PS3.15 A.5.

It knows nothing of ours. Each element: the order of its children as a regular expression over their names,
and its attributes as regular expressions; a question mark marks those that may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

TOKEN, TEXT = r"\S(?:.*\S)?|", r"[^\n]*"
DATE_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"
BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
UID = r"[0-2](?:\.(?:0|[1-9]\d*))+"

CODED = ("", {"csd-code": TOKEN, "codeSystemName": TOKEN, "originalText": TOKEN, "displayName?": TOKEN})

GRAMMAR: dict[str, tuple[str, dict[str, str]]] = {
    "AuditMessage": (
        "EventIdentification (ActiveParticipant )+AuditSourceIdentification "
        "(ParticipantObjectIdentification )*",
        {},
    ),
    "EventIdentification": (
        "EventID (EventTypeCode )*(EventOutcomeDescription )?",
        {"EventActionCode?": "[CRUDE]", "EventDateTime": DATE_TIME, "EventOutcomeIndicator": "0|4|8|12"},
    ),
    "EventID": CODED,
    "EventTypeCode": CODED,
    "EventOutcomeDescription": ("", {}),
    "ActiveParticipant": (
        "(RoleIDCode )*(MediaIdentifier )?",
        {
            "UserID": TEXT,
            "AlternativeUserID?": TEXT,
            "UserName?": TEXT,
            "UserIsRequestor": "true|false",
            "NetworkAccessPointID?": TOKEN,
            "NetworkAccessPointTypeCode?": "[1-5]",
        },
    ),
    "RoleIDCode": CODED,
    "AuditSourceIdentification": (
        "(AuditSourceTypeCode )*",
        {"AuditEnterpriseSiteID?": TOKEN, "AuditSourceID": TOKEN},
    ),
    "AuditSourceTypeCode": ("", {"csd-code": "[1-9]"}),
    "ParticipantObjectIdentification": (
        "ParticipantObjectIDTypeCode (ParticipantObjectName |ParticipantObjectQuery )"
        "(ParticipantObjectDetail )*(ParticipantObjectDescription )*",
        {
            "ParticipantObjectID": TOKEN,
            "ParticipantObjectTypeCode?": "[1-4]",
            "ParticipantObjectTypeCodeRole?": r"[1-9]|1\d|2[0-6]",
            "ParticipantObjectDataLifeCycle?": r"[1-9]|1[0-5]",
            "ParticipantObjectSensitivity?": TOKEN,
        },
    ),
    "ParticipantObjectIDTypeCode": CODED,
    "ParticipantObjectName": ("", {}),
    "ParticipantObjectDetail": ("", {"type": TOKEN, "value": BASE64}),
    "ParticipantObjectDescription": (
        "(MPPS )*(Accession )*(SOPClass )*(ParticipantObjectContainsStudy )?(Encrypted )?(Anonymized )?",
        {},
    ),
    "Accession": ("", {"Number": TOKEN}),
    "SOPClass": ("(Instance )*", {"UID?": UID, "NumberOfInstances": r"\d+"}),
}
WITH_TEXT = {"EventOutcomeDescription", "ParticipantObjectName"}


def check_schema(element: ElementTree.Element) -> None:
    """Fail unless the element is what A.5.1 allows."""
    children, attributes = GRAMMAR[element.tag]
    names = "".join(f"{child.tag} " for child in element)
    assert re.fullmatch(children, names), f"{element.tag} holds {names}"
    required = {name for name in attributes if not name.endswith("?")}
    assert required <= set(element.keys()), f"{element.tag} lacks {required - set(element.keys())}"
    allowed = {name.rstrip("?"): pattern for name, pattern in attributes.items()}
    for name, value in element.items():
        assert name in allowed, f"{element.tag} has {name}"
        assert re.fullmatch(allowed[name], value), f"{element.tag} {name}={value!r}"
    assert element.tag in WITH_TEXT or not (element.text or "").strip(), f"text in {element.tag}"
    for child in element:
        check_schema(child)


def code(element: ElementTree.Element | None) -> tuple[str, str]:
    """Value and coding scheme."""
    assert element is not None
    return element.attrib["csd-code"], element.attrib["codeSystemName"]


def check_event(message: ElementTree.Element) -> None:
    """Fail unless the message is what its table in A.5.3 asks for."""
    event = message[0]
    value, system = code(event.find("EventID"))
    assert system == "DCM"
    action = event.attrib["EventActionCode"]
    participants = message.findall("ActiveParticipant")
    roles = [code(role)[0] for p in participants for role in p.findall("RoleIDCode")]
    if value == "110100":
        assert action == "E"
        assert code(event.find("EventTypeCode")) in {("110120", "DCM"), ("110121", "DCM")}
        assert "110150" in roles
        assert not message.findall("ParticipantObjectIdentification")
    elif value in ("110102", "110104"):
        assert action in ("E" if value == "110102" else "CRU")
        assert sorted(roles) == ["110152", "110153"], "one source, one destination"
        _check_study_and_patient(message.findall("ParticipantObjectIdentification"))
    else:
        assert value == "110113", f"unexpected event {value}"
        assert action == "E"
        assert code(event.find("EventTypeCode")) == ("110126", "DCM")
        assert all(p.attrib["UserIsRequestor"] == "false" for p in participants[1:])
        for subject in message.findall("ParticipantObjectIdentification"):
            assert subject.attrib["ParticipantObjectTypeCode"] == "2"
            assert "Alert Description" in {d.attrib["type"] for d in subject.iter("ParticipantObjectDetail")}


def _check_study_and_patient(objects: Iterable[ElementTree.Element]) -> None:
    kinds = [
        (
            thing.attrib["ParticipantObjectTypeCode"],
            thing.attrib["ParticipantObjectTypeCodeRole"],
            code(thing.find("ParticipantObjectIDTypeCode")),
        )
        for thing in objects
    ]
    study, patient = ("2", "3", ("110180", "DCM")), ("1", "1", ("2", "RFC-3881"))
    assert kinds.count(patient) == 1, "one patient a message"
    assert kinds.count(study) == len(kinds) - 1 >= 1


def read_audit_file(path: Path) -> list[ElementTree.Element]:
    """All messages of an audit file, each checked."""
    messages = [ElementTree.fromstring(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for message in messages:
        assert message.tag == "AuditMessage"
        check_schema(message)
        check_event(message)
    return messages

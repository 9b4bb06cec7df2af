"""Audit messages are what PS3.15 A.5 asks for, and the checker notices where they aren't."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomnode.audit import events
from dicomnode.audit.events import Partner, Reporter, Transfer
from dicomnode.audit.message import AuditMessage
from dicomnode.receive.patient import Patient
from tests.audit.audit_schema import check_event, check_schema, code
from tests.conftest import REPOSITORY

REPORTER = Reporter("DICOMNODE", "node.example", "4711")
SCANNER = Partner("CT1", "192.0.2.7")
CT = "1.2.840.10008.5.1.4.1.1.2"


def transfer(patient: Patient = Patient("P1", "Doe^Jane"), *, received: bool = True) -> Transfer:  # noqa: B008
    return Transfer(SCANNER, received, "1.2.3", patient, ("A1",), {CT: 248})


ALL: list[tuple[str, Callable[[], AuditMessage]]] = [
    ("start", lambda: events.application_activity(REPORTER, start=True)),
    ("stop", lambda: events.application_activity(REPORTER, start=False)),
    ("begin", lambda: events.begin_transferring(REPORTER, transfer())),
    ("received", lambda: events.instances_transferred(REPORTER, transfer(), "C", 0)),
    ("sent", lambda: events.instances_transferred(REPORTER, transfer(received=False), "C", 4, "A700")),
    ("rejected", lambda: events.node_authentication_failed(REPORTER, SCANNER, "no <such> AE & more")),
    ("handshake", lambda: events.node_authentication_failed(REPORTER, Partner("", "192.0.2.7"), "TLS")),
]


@pytest.mark.parametrize("make", [make for _, make in ALL], ids=[name for name, _ in ALL])
def test_every_event_is_in_the_form_of_the_standard(make: Callable[[], AuditMessage]) -> None:
    line = make().to_line()
    assert "\n" not in line
    message = ElementTree.fromstring(line)
    check_schema(message)
    check_event(message)


def test_a_transfer_names_both_sides_the_study_and_the_patient() -> None:
    message = ElementTree.fromstring(events.instances_transferred(REPORTER, transfer(), "C", 0).to_line())
    source, destination = message.findall("ActiveParticipant")
    assert source.attrib == {
        "UserID": "CT1",
        "AlternativeUserID": "AETITLES=CT1",
        "UserIsRequestor": "true",
        "NetworkAccessPointID": "192.0.2.7",
        "NetworkAccessPointTypeCode": "2",
    }
    assert destination.attrib["AlternativeUserID"] == "AETITLES=DICOMNODE"
    assert destination.attrib["NetworkAccessPointTypeCode"] == "1"
    study, patient = message.findall("ParticipantObjectIdentification")
    assert study.attrib["ParticipantObjectID"] == "1.2.3"
    assert [e.attrib for e in study.iter("SOPClass")] == [{"UID": CT, "NumberOfInstances": "248"}]
    assert [e.attrib["Number"] for e in study.iter("Accession")] == ["A1"]
    assert patient.attrib["ParticipantObjectID"] == "P1"
    assert patient.findtext("ParticipantObjectName") == "Doe^Jane"


def test_an_alert_says_why() -> None:
    message = events.node_authentication_failed(REPORTER, SCANNER, "address not allowed").to_line()
    (detail,) = ElementTree.fromstring(message).iter("ParticipantObjectDetail")
    assert base64.b64decode(detail.attrib["value"]) == b"address not allowed"


@given(st.text(), st.text())
def test_whatever_the_network_sends_stays_one_valid_line(identifier: str, name: str) -> None:
    message = events.instances_transferred(REPORTER, transfer(Patient(identifier, name)), "C", 0)
    line = message.to_line().encode("utf-8")
    assert line.count(b"\n") == 0
    check_schema(ElementTree.fromstring(line))


def test_times_without_a_zone_and_events_without_participants_are_refused() -> None:
    good = events.application_activity(REPORTER, start=True)
    for wrong in ({"time": datetime(2026, 1, 1)}, {"participants": ()}):
        with pytest.raises(ValueError, match="audit message needs"):
            AuditMessage(**{**vars(good), **wrong})  # type: ignore[arg-type]
    assert good.time.tzinfo is UTC


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('EventOutcomeIndicator="0"', 'EventOutcomeIndicator="1"'),
        ("csd-code", "code"),
        ("110152", "110153"),
        ("<ParticipantObjectName>1.2.3</ParticipantObjectName>", ""),
        (' NumberOfInstances="248"', ""),
        ('ParticipantObjectTypeCodeRole="1"', 'ParticipantObjectTypeCodeRole="3"'),
        ("AuditSourceIdentification", "AuditSource"),
    ],
)
def test_the_checker_notices(old: str, new: str) -> None:
    line = events.instances_transferred(REPORTER, transfer(), "C", 0).to_line()
    assert old in line
    wrong = ElementTree.fromstring(line.replace(old, new))
    with pytest.raises((AssertionError, KeyError)):
        (check_schema(wrong), check_event(wrong))


def test_the_document_names_the_events() -> None:
    table = [line for line in (REPOSITORY / "docs" / "audit.md").read_text().splitlines() if "`110" in line]
    named = set(re.findall(r"`(\d{6})`", "\n".join(table)))
    messages = [ElementTree.fromstring(make().to_line()) for _, make in ALL]
    events_used = {code(tag)[0] for message in messages for tag in message[0] if tag.attrib}
    assert named == events_used

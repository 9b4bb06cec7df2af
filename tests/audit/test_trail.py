"""What real senders do, as the audit trail tells it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydicom.dataset import Dataset

from dicomnode.audit.audit_file import AuditFile
from dicomnode.audit.events import Partner
from dicomnode.audit.trail import AuditTrail, SentInstance
from dicomnode.receive.patient import Patient
from dicomnode.tls import server_tls
from tests.audit.audit_schema import code, read_audit_file
from tests.dicom_network import CT_IMAGE_STORAGE, NodeFactory, associate, make_certificate, make_ct, until
from tests.receive.conftest import start_node

__all__ = ["start_node"]


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[AuditTrail]:
    trail = AuditTrail(AuditFile(tmp_path / "audit.xml"), "DICOMNODE")
    yield trail
    trail.file.close()


def told(trail: AuditTrail) -> list[dict[str, object]]:
    """Each message in short."""
    return [in_short(message) for message in read_audit_file(trail.file.path)]


def in_short(message: ElementTree.Element) -> dict[str, object]:
    event = message[0]
    requestor = [p.attrib["UserID"] for p in message.iter("ActiveParticipant") if is_requestor(p)]
    return {
        "event": code(event.find("EventID"))[0],
        "action": event.attrib["EventActionCode"],
        "outcome": event.attrib["EventOutcomeIndicator"],
        "requestor": requestor[0] if requestor else None,
        "objects": [o.attrib["ParticipantObjectID"] for o in message.iter("ParticipantObjectIdentification")],
        "instances": [(s.attrib["UID"], s.attrib["NumberOfInstances"]) for s in message.iter("SOPClass")],
        "accession": [a.attrib["Number"] for a in message.iter("Accession")],
    }


def is_requestor(participant: ElementTree.Element) -> bool:
    return participant.attrib["UserIsRequestor"] == "true"


def ct(number: int, study: str, patient: str) -> Dataset:
    return make_ct(
        number,
        StudyInstanceUID=study,
        SeriesInstanceUID=f"{study}.1",
        PatientID=patient,
        AccessionNumber="A1",
    )


def test_one_association_with_two_studies_and_a_repetition(
    start_node: NodeFactory, trail: AuditTrail
) -> None:
    node = start_node(observers=[trail])
    association = associate(node)
    for dataset in (ct(1, "1.2.3", "P1"), ct(2, "1.2.4", "P2"), ct(3, "1.2.3", "P1"), ct(1, "1.2.3", "P1")):
        assert association.send_c_store(dataset).Status == 0
    association.release()
    until(lambda: trail.file.written == 5)

    begins, transfers = told(trail)[:2], told(trail)[2:]
    assert [(m["event"], m["action"], m["objects"]) for m in begins] == [
        ("110102", "E", ["1.2.3", "P1"]),
        ("110102", "E", ["1.2.4", "P2"]),
    ]
    assert {m["requestor"] for m in begins + transfers} == {"SCANNER"}
    assert [(m["event"], m["action"], m["outcome"], m["objects"], m["instances"]) for m in transfers] == [
        ("110104", "C", "0", ["1.2.3", "P1"], [(CT_IMAGE_STORAGE, "2")]),
        ("110104", "C", "0", ["1.2.4", "P2"], [(CT_IMAGE_STORAGE, "1")]),
        ("110104", "R", "0", ["1.2.3", "P1"], [(CT_IMAGE_STORAGE, "1")]),
    ]
    assert all(m["accession"] == ["A1"] for m in transfers)


def test_what_was_not_stored_has_a_message_of_its_own(start_node: NodeFactory, trail: AuditTrail) -> None:
    node = start_node(observers=[trail], minimum_free_bytes=1 << 60)
    association = associate(node)
    assert association.send_c_store(ct(1, "1.2.3", "P1")).Status == 0xA700
    association.abort()
    until(lambda: trail.file.written == 2)
    _, failed = read_audit_file(trail.file.path)
    assert (in_short(failed)["outcome"], in_short(failed)["instances"]) == ("4", [(CT_IMAGE_STORAGE, "1")])
    assert failed.findtext("EventIdentification/EventOutcomeDescription") == "not stored, status A700"


def test_strangers_are_alerts(start_node: NodeFactory, trail: AuditTrail, tmp_path: Path) -> None:
    node = start_node(observers=[trail], calling_ae_titles=("CT1",))
    assert node.dcmtk("echoscu", "-aet", "MALLORY").returncode != 0
    until(lambda: trail.file.written == 1)
    assert node.dcmtk("echoscu", "-aet", "CT1").returncode == 0
    cert, key = make_certificate(tmp_path, "node")
    secured = start_node(observers=[trail], tls=server_tls(cert, key))
    assert secured.dcmtk("echoscu").returncode != 0  # plain DICOM on a TLS port
    until(lambda: trail.file.written == 2)
    assert [m["event"] for m in told(trail)] == ["110113", "110113"]
    assert "MALLORY" in trail.file.path.read_text(encoding="utf-8")


def test_too_many_associations_are_no_alert(start_node: NodeFactory, trail: AuditTrail) -> None:
    node = start_node(observers=[trail], max_associations=1)
    association = associate(node)
    assert node.dcmtk("echoscu").returncode != 0
    association.release()
    trail.file.close()
    assert not trail.file.path.exists()


def test_what_was_sent_and_what_was_not(trail: AuditTrail) -> None:
    patient = Patient("P1", "Doe^Jane", "A1")
    sent = [SentInstance("1.2.3", patient, f"1.2.840.{n}") for n in (1, 2)]
    refused = SentInstance("1.2.3", patient, "1.2.840.2", "refused with status 0122")
    trail.instances_sent(Partner("PACS", "pacs.example", address_is_name=True), [*sent, refused])
    good, bad = told(trail)
    assert good["instances"] == [("1.2.840.1", "1"), ("1.2.840.2", "1")]
    assert (bad["outcome"], bad["instances"]) == ("4", [("1.2.840.2", "1")])
    assert good["requestor"] != "PACS"


def test_the_node_starts_and_stops(trail: AuditTrail) -> None:
    trail.started()
    trail.stopped()
    first, last = read_audit_file(trail.file.path)
    assert [code(m.find("EventIdentification/EventTypeCode"))[0] for m in (first, last)] == [
        "110120",
        "110121",
    ]

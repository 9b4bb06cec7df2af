"""What the running node tells about itself: its log, its audit trail."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from dicomnode.demo.node_process import NodeProcess
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.spool import LEDGER_NAME
from tests.audit.audit_schema import code, read_audit_file
from tests.dicom_network import CT_IMAGE_STORAGE, installed, make_ct, storescp, until

PATIENT = {
    "PatientName": "Zyxwvut^Qponmlk",
    "PatientID": "PID-QX77",
    "PatientBirthDate": "19010203",
    "AccessionNumber": "ACC-QX99",
}
SLICES = 3


@dataclass
class Ward:
    """A node, its log and its audit file."""

    node: NodeProcess
    audit_file: Path
    slices: list[Path]

    def storescu(self, *files: Path) -> None:
        command = [installed("storescu"), "-aec", "DICOMNODE", "127.0.0.1", str(self.node.port)]
        subprocess.run([*command, *map(str, files)], check=True, timeout=60)

    def log(self) -> str:
        return self.node.log_path.read_text(encoding="utf-8")

    def told(self, words: str) -> bool:
        return words in self.log()


def sender(message: ElementTree.Element) -> str:
    """Who asked for what the message is about."""
    return message.findall("ActiveParticipant")[0].attrib["UserID"]


def patient_slice(number: int, **attributes: object) -> Dataset:
    return make_ct(number, **{**PATIENT, "ImagePositionPatient": [0, 0, number], **attributes})


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """A node at its most talkative that has been through a series and every kind of trouble."""
    directory = tmp_path_factory.mktemp("ward")
    slices = []
    for number in range(1, SLICES + 2):
        slices.append(directory / f"{number}.dcm")
        patient_slice(number).save_as(slices[-1], enforce_file_format=True)
    with storescp(directory) as (port, _), pytest.MonkeyPatch.context() as environment:
        environment.setenv("DICOMNODE_LOG__LEVEL", "DEBUG")
        environment.setenv("DICOMNODE_LOG__AUDIT_FILE", str(directory / "audit.xml"))
        node = NodeProcess(directory / "node", "STORESCP", port, device="cpu", quiet_seconds=0.5)
        ward = Ward(node, directory / "audit.xml", slices)
        node.start()
        try:
            ward.storescu(*slices[:SLICES])
            make_trouble(ward)
            until(lambda: ward.told("delivered"), 120)
            yield ward
        finally:
            node.stop()


def make_trouble(ward: Ward) -> None:
    """Everything that makes the node log an error about somebody's data."""
    entity = AE("SCANNER")
    entity.add_requested_context(CT_IMAGE_STORAGE)
    association = entity.associate("127.0.0.1", ward.node.port, ae_title="DICOMNODE")
    without_study = patient_slice(50)
    del without_study.StudyInstanceUID
    assert association.send_c_store(without_study).Status == 0xC000
    bad_uid = patient_slice(51)
    bad_uid.StudyInstanceUID = "../PID-QX77"
    assert association.send_c_store(bad_uid).Status == 0xC000
    other_bytes = patient_slice(1, PatientComments="Zyxwvut")
    assert association.send_c_store(other_bytes).Status == 0
    spoilt = patient_slice(60, SeriesInstanceUID="1.2.826.0.1.3680043.8.498.4", Rows=0)
    spoilt.add_new(0x00280030, "LO", "Zyxwvut")  # Pixel Spacing
    assert association.send_c_store(spoilt).Status == 0
    association.abort()
    assert not entity.associate("127.0.0.1", ward.node.port, ae_title="SOMEBODY").is_established


def test_the_log_holds_ids_and_nothing_of_the_patient(ward: Ward) -> None:
    ledger = Ledger(ward.node.spool_directory / LEDGER_NAME)
    try:
        until(lambda: {s.state.value for s in ledger.list_series()} <= {"refused", "failed"}, 60)
        series = ledger.list_series()
    finally:
        ledger.close()
    log = ward.log()
    assert len(series) == 2
    for one in series:
        assert f"series={one.id}" in log
        assert one.study_instance_uid not in log
        assert one.series_instance_uid not in log
    assert "association=1" in log
    assert log.count("instance not stored") == 2
    assert "other bytes for a SOP Instance UID" in log
    assert "association rejected" in log
    for value in (*PATIENT.values(), "Zyxwvut", "Qponmlk", "QX77", "QX99"):
        assert value not in log


def test_the_audit_trail_tells_who_sent_what(ward: Ward) -> None:
    messages = read_audit_file(ward.audit_file)
    kinds = [code(m.find("EventIdentification/EventID"))[0] for m in messages]
    assert kinds[0] == "110100"
    assert kinds.count("110113") == 1
    received = [m for m in messages if sender(m) == "STORESCU"]
    begin, done = received
    assert code(begin.find("EventIdentification/EventID"))[0] == "110102"
    (sop_class,) = done.iter("SOPClass")
    assert sop_class.attrib == {"UID": CT_IMAGE_STORAGE, "NumberOfInstances": str(SLICES)}
    ids = [o.get("ParticipantObjectID") for o in done.iter("ParticipantObjectIdentification")]
    assert ids == ["1.2.826.0.1.3680043.8.498.2", PATIENT["PatientID"]]
    assert ward.audit_file.stat().st_mode & 0o777 == 0o600


def test_identifiers_are_logged_where_configured_and_the_stop_is_audited(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.node.stop()
    last = read_audit_file(ward.audit_file)[-1]
    assert code(last.find("EventIdentification/EventTypeCode"))[0] == "110121"
    monkeypatch.setenv("DICOMNODE_LOG__IDENTIFIERS", "true")
    ward.node.start()
    ward.storescu(ward.slices[SLICES])
    until(lambda: ward.told("series begins"))
    (line,) = [line for line in ward.log().splitlines() if "series begins" in line]
    for value in (PATIENT["PatientID"], PATIENT["AccessionNumber"], "1.2.826.0.1.3680043.8.498.3"):
        assert value in line
    assert "generation=2" in line
    assert PATIENT["PatientName"] not in ward.log()

"""What the running node tells about itself: its log, its audit trail, its metrics."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydicom.dataset import Dataset
from pynetdicom import AE

from dicomnode.demo.node_process import NodeProcess
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.spool import LEDGER_NAME
from tests.audit.audit_schema import code, read_audit_file
from tests.dicom_network import (
    CT_IMAGE_STORAGE,
    dataset_bytes,
    free_port,
    installed,
    make_ct,
    storescp,
    until,
)

PATIENT = {
    "PatientName": "Zyxwvut^Qponmlk",
    "PatientID": "PID-QX77",
    "PatientBirthDate": "19010203",
    "AccessionNumber": "ACC-QX99",
}
SLICES = 3
TOKEN = "a-token-for-the-test"


@dataclass
class Ward:
    """A node, its log and its audit file."""

    node: NodeProcess
    audit_file: Path
    web_port: int
    slices: list[Path]

    def storescu(self, *files: Path) -> None:
        command = [installed("storescu"), "-aec", "DICOMNODE", "127.0.0.1", str(self.node.port)]
        subprocess.run([*command, *map(str, files)], check=True, timeout=60)

    def page(self, path: str, token: str = TOKEN) -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.web_port}{path}")
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def figures(self) -> dict[tuple[str, str], float]:
        """Values by name and by the value of the only label, if there is one."""
        status, text = self.page("/metrics")
        assert status == 200
        return {
            (
                sample.name,
                "".join(value for label, value in sample.labels.items() if label != "le"),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.name.endswith("_bucket")
        }

    def delivered(self) -> float:
        """Result objects that the destination has."""
        return self.figures().get(("dicomnode_deliveries_total", "pacsdelivered"), 0)

    def ledger_states(self) -> Counter[str]:
        """How many series are in each state."""
        ledger = Ledger(self.node.spool_directory / LEDGER_NAME)
        try:
            return Counter(series.state.value for series in ledger.list_series())
        finally:
            ledger.close()

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
        web_port = free_port()
        environment.setenv("DICOMNODE_WEB__PORT", str(web_port))
        environment.setenv("DICOMNODE_WEB__TOKEN", TOKEN)
        node = NodeProcess(directory / "node", "STORESCP", port, device="cpu", quiet_seconds=0.5)
        ward = Ward(node, directory / "audit.xml", web_port, slices)
        node.start()
        try:
            ward.storescu(*slices[:SLICES])
            make_trouble(ward)
            until(lambda: set(ward.ledger_states()) <= {"refused", "failed"}, 120)
            until(lambda: ward.delivered() == ward.ledger_states()["refused"] > 0, 60)
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
    sent = [m for m in messages if m.findall("ActiveParticipant")[-1].attrib["UserID"] == "STORESCP"]
    reports = [sop_class.attrib["UID"] for message in sent for sop_class in message.iter("SOPClass")]
    assert reports
    assert set(reports) == {"1.2.840.10008.5.1.4.1.1.88.22"}  # why the series was refused
    for message in sent:
        ids = [o.get("ParticipantObjectID") for o in message.iter("ParticipantObjectIdentification")]
        assert ids == ["1.2.826.0.1.3680043.8.498.2", PATIENT["PatientID"]]
        assert code(message.find("EventIdentification/EventID"))[0] == "110104"
    assert ward.audit_file.stat().st_mode & 0o777 == 0o600


def test_the_metrics_are_what_was_sent_and_what_the_ledger_says(ward: Ward) -> None:
    figures = ward.figures()
    # C-ECHO at the start, storescu, the troublemaker; two objects that nobody could store
    assert figures["dicomnode_associations_accepted_total", ""] == 3
    assert figures["dicomnode_associations_open", ""] == 0
    assert figures["dicomnode_associations_rejected_total", "called AE title not recognized"] == 1
    assert figures["dicomnode_instances_received_total", "0000"] == SLICES + 2
    assert figures["dicomnode_instances_received_total", "C000"] == 2
    sent = sum(len(dataset_bytes(path)) for path in ward.slices[:SLICES])
    assert sent + 2 * 512 < figures["dicomnode_received_bytes_total", "0000"] < sent + 2 * 1024
    assert figures["dicomnode_store_seconds_count", ""] == SLICES + 4

    states = ward.ledger_states()
    told = {label: value for (name, label), value in figures.items() if name == "dicomnode_series" and value}
    assert told == dict(states)
    entered = {label: n for (name, label), n in figures.items() if name == "dicomnode_series_entered_total"}
    assert entered["complete"] >= 2
    assert {state: entered[state] for state in states} == dict(states)
    for stage in ("receive", "wait", "analyze"):
        assert figures["dicomnode_stage_seconds_count", stage] == entered["complete"]
    assert 0.5 < figures["dicomnode_stage_seconds_sum", "receive"] < 60
    assert figures["dicomnode_analysis_step_seconds_count", "assemble"] >= 1

    assert figures["dicomnode_deliveries_total", "pacsdelivered"] == states["refused"]
    assert figures["dicomnode_undelivered_objects", "pacs"] == 0
    assert figures["dicomnode_oldest_undelivered_seconds", "pacs"] == 0
    assert figures["dicomnode_oldest_waiting_seconds", ""] == 0
    free = shutil.disk_usage(ward.node.spool_directory).free
    assert figures["dicomnode_spool_free_bytes", ""] == pytest.approx(free, abs=2e9)
    assert figures["dicomnode_spool_minimum_free_bytes", ""] == 0.5e9
    assert figures["dicomnode_worker_restarts_total", "1"] == 0
    assert figures["dicomnode_ledger_available", ""] == 1
    assert figures["dicomnode_audit_messages_total", ""] == len(read_audit_file(ward.audit_file))
    assert figures["dicomnode_audit_failures_total", ""] == 0
    assert figures["process_resident_memory_bytes", ""] > 1e7


def test_metrics_hold_nothing_of_the_patient_and_want_the_token(ward: Ward) -> None:
    _, text = ward.page("/metrics")
    for value in (*PATIENT.values(), "Zyxwvut", "1.2.826.0.1.3680043"):
        assert value not in text
    for path in ("/metrics", "/healthz", "/readyz"):
        assert ward.page(path, token="guess")[0] == 401


def test_alive_and_ready(ward: Ward) -> None:
    assert ward.page("/healthz") == (200, "ok alive\n")
    until(lambda: ward.page("/readyz")[0] == 200, 60)
    assert ward.page("/readyz")[1].splitlines() == [
        "ok alive",
        "ok listening",
        "ok model loaded",
        "ok disk above minimum_free_gb",
    ]
    assert ward.page("/admin")[0] == 404


def test_a_killed_worker_is_counted(ward: Ward) -> None:
    tasks = Path(f"/proc/{ward.node.pid}/task").glob("*/children")
    workers = [int(child) for task in tasks for child in task.read_text().split()]
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    before = ward.ledger_states()
    other = ward.slices[0].parent / "other.dcm"
    patient_slice(70, SeriesInstanceUID="1.2.826.0.1.3680043.8.498.5").save_as(
        other, enforce_file_format=True
    )
    ward.storescu(other)
    until(lambda: ward.ledger_states()["refused"] > before["refused"], 60)
    assert ward.figures()["dicomnode_worker_restarts_total", "1"] == len(workers) == 1


def test_identifiers_are_logged_where_configured_and_the_stop_is_audited(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.node.stop()
    last = read_audit_file(ward.audit_file)[-1]
    assert code(last.find("EventIdentification/EventTypeCode"))[0] == "110121"
    monkeypatch.setenv("DICOMNODE_LOG__IDENTIFIERS", "true")
    ward.node.start()
    ward.storescu(ward.slices[SLICES])
    until(lambda: ward.told("generation=2"))
    line = [line for line in ward.log().splitlines() if "series begins" in line][-1]
    for value in (PATIENT["PatientID"], PATIENT["AccessionNumber"], "1.2.826.0.1.3680043.8.498.3"):
        assert value in line
    assert "generation=2" in line
    assert PATIENT["PatientName"] not in ward.log()

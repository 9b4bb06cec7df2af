"""Earlier reports at real archives, Orthanc and dcmqrscp: asked by C-FIND and C-GET or C-MOVE."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from pydicom import dcmread

from dicomnode import callback
from dicomnode.checkup import _check_priors
from dicomnode.config import Config
from dicomnode.config_sections import Priors
from dicomnode.demo.orthanc import OrthancPacs, find_orthanc
from dicomnode.measure.priors import Findings, SearchRemark
from dicomnode.priors.pacs import Method, PriorPacs
from dicomnode.priors.patient import Patient
from dicomnode.receive.expected import ExpectedInstances
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.report.own_report import scan_of
from dicomnode.spool.spool import Spool
from tests.dicom_network import DECODABLE, free_port, installed, is_listening, until
from tests.priors.serial_scans import SerialScan, make_scan

WAYS: tuple[Method, ...] = ("get", "move")


@dataclass(frozen=True)
class Archive:
    """A query/retrieve SCP on loopback."""

    ae_title: str
    port: int


@dataclass
class Site:
    """An archive, and a node that knows it and that it knows."""

    pacs: Archive
    server: StorageServer
    spool: Spool
    expected: ExpectedInstances

    def store(self, *paths: Path) -> None:
        command = [installed("storescu"), "-R", "-aec", self.pacs.ae_title, "127.0.0.1", str(self.pacs.port)]
        subprocess.run([*command, *map(str, paths)], check=True, capture_output=True, timeout=60)

    def config(self, method: Method = "get", **settings: Any) -> Config:
        there = {"ae_title": self.pacs.ae_title, "host": "127.0.0.1", "port": self.pacs.port}
        priors = {"sources": ["pacs"], "pacs": {**there, "method": method}, **settings}
        return Config.model_validate({"priors": priors})

    def search(self, scan: SerialScan, method: Method = "get", **settings: Any) -> Findings:
        searcher = callback.prior_search(self.config(method, **settings), self.spool.ledger, self.expected)
        assert searcher is not None
        return searcher.begin("none", 1, [scan.source]).findings()


@contextmanager
def dcmqrscp(folder: Path, node_port: int) -> Iterator[Archive]:
    """The archive of dcmtk: it knows fewer keys than Orthanc."""
    port, storage = free_port(), folder / "storage"
    storage.mkdir(parents=True)
    (folder / "dcmqrscp.cfg").write_text(
        f"""
NetworkTCPPort = {port}
MaxPDUSize = 16384
MaxAssociations = 16
HostTable BEGIN
node = (DICOMNODE, 127.0.0.1, {node_port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
PACS {storage} RW (200, 100mb) ANY
AETable END
""",
        encoding="ascii",
    )
    command = [installed("dcmqrscp"), "-c", str(folder / "dcmqrscp.cfg")]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            until(lambda: is_listening(port))
            yield Archive("PACS", port)
        finally:
            running.terminate()


@contextmanager
def orthanc(folder: Path, node_port: int) -> Iterator[Archive]:
    """Orthanc, which lets the node ask for everything."""
    if find_orthanc() is None:
        pytest.skip("Orthanc is not installed")
    known = {"DicomModalities": {"node": ["DICOMNODE", "127.0.0.1", node_port]}}
    pacs = OrthancPacs(folder, further={**known, "DicomAlwaysAllowMove": True})
    pacs.start()
    yield Archive(pacs.ae_title, pacs.port)
    pacs.stop()


@pytest.fixture(scope="module", params=[orthanc, dcmqrscp])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    spool, expected = Spool(folder / "spool"), ExpectedInstances()
    server = StorageServer(ServerSettings("DICOMNODE", "127.0.0.1", 0), spool, DECODABLE, expected=expected)
    server.start()
    with request.param(folder / "pacs", server.port) as pacs:
        yield Site(pacs, server, spool, expected)
    server.stop(drain_seconds=0)
    spool.close()


@pytest.fixture
def scans(tmp_path: Path) -> Callable[..., SerialScan]:
    """Make the scans of a patient of the test's own."""

    def make(number: int, made: date, patient: str, **attributes: object) -> SerialScan:
        study = f"1.2.826.0.1.3680043.8.498.8.{crc32(patient.encode())}.{number}"
        return make_scan(tmp_path, number, made, study=study, **{"PatientID": patient, **attributes})

    return make


@pytest.mark.parametrize("way", WAYS)
def test_earlier_reports_are_found_and_fetched(
    site: Site, scans: Callable[..., SerialScan], way: Method
) -> None:
    name = f"serial {way}"
    old, new, now = (scans(n, date(2024, 1, n), name) for n in (1, 2, 9))
    later = scans(20, date(2024, 1, 20), name)
    site.store(old.report, new.report, now.source, now.report, later.report)
    found = site.search(now, way)
    assert [one.scan.study_instance_uid for one in found.results] == [
        old.study_instance_uid,
        new.study_instance_uid,
    ]
    assert found.results[0].report_uid == dcmread(old.report).SOPInstanceUID
    assert {one.found_in for one in found.results} == {"pacs"}
    assert (found.asked, found.remarks) == (("pacs",), ())
    assert not site.spool.ledger.list_series(), "what was asked for is no series to be analyzed"


def test_what_was_moved_too_late_is_no_series(site: Site, scans: Callable[..., SerialScan]) -> None:
    old = scans(1, date(2024, 1, 1), "late")
    command = [installed("storescu"), "-R", "-aec", "DICOMNODE", "127.0.0.1", str(site.server.port)]
    site.expected.wait([str(dcmread(old.report).SOPInstanceUID)])
    subprocess.run([*command, str(old.report)], check=True, capture_output=True, timeout=60)
    assert not site.spool.ledger.list_series()


def test_reports_of_others_and_refusals_are_left_out(
    site: Site, scans: Callable[..., SerialScan], tmp_path: Path
) -> None:
    old, now = scans(1, date(2024, 1, 1), "foreign"), scans(9, date(2024, 1, 9), "foreign")
    theirs = dcmread(old.report)
    theirs.SOPInstanceUID = theirs.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    theirs.SeriesInstanceUID = "1.2.3.4"
    theirs.save_as(tmp_path / "theirs.dcm")
    copied = dcmread(old.report)
    copied.Manufacturer = "Another"
    copied.save_as(tmp_path / "copied.dcm")
    site.store(tmp_path / "theirs.dcm", tmp_path / "copied.dcm")
    found = site.search(now)
    assert (found.results, found.remarks) == ((), (SearchRemark.OTHER_REPORTS,))


@pytest.mark.parametrize(
    ("attributes", "remark"),
    [
        ({"IssuerOfPatientID": "elsewhere"}, SearchRemark.OTHER_IDENTIFIERS),
        ({"PatientSex": "M"}, SearchRemark.PATIENT_MISMATCH),
        ({"PatientBirthDate": "19700101"}, SearchRemark.PATIENT_MISMATCH),
    ],
)
def test_another_patient_is_not_compared_with(
    site: Site, scans: Callable[..., SerialScan], attributes: dict[str, str], remark: SearchRemark
) -> None:
    name = f"P-{'-'.join(attributes)}"
    same, other = scans(1, date(2024, 1, 1), name), scans(2, date(2024, 1, 2), name, **attributes)
    site.store(other.report)
    now = scans(9, date(2024, 1, 9), name)
    assert (site.search(now).results, site.search(now).remarks) == ((), (remark,))
    site.store(same.report)
    stopped = remark is SearchRemark.PATIENT_MISMATCH
    assert len(site.search(now).results) == (0 if stopped else 1)


def test_a_wildcard_in_an_identifier_finds_no_other_patient(
    site: Site, scans: Callable[..., SerialScan]
) -> None:
    site.store(scans(1, date(2024, 1, 1), "WILD1").report)
    found = site.search(scans(9, date(2024, 1, 9), "WILD*"))
    assert (found.results, found.remarks) == ((), (SearchRemark.PACS_FAILED,))
    assert len(site.search(scans(10, date(2024, 1, 9), "WILD1")).results) == 1


def test_names_of_any_character_set_find_the_patient(site: Site, scans: Callable[..., SerialScan]) -> None:
    latin = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg"}
    unicode = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Müller^Jörg"}
    site.store(scans(1, date(2024, 1, 1), "CS", **latin).report)
    now = scans(9, date(2024, 1, 9), "CS", **unicode)
    found = site.search(now, identifiers=["PatientName", "PatientID"])
    assert len(found.results) == 1


def test_the_greatest_age_and_number_hold_at_the_pacs_too(
    site: Site, scans: Callable[..., SerialScan]
) -> None:
    site.store(*(scans(month, date(2024, month, 1), "many").report for month in (1, 2, 3)))
    now = scans(9, date(2024, 4, 1), "many")
    months = [one.scan.study_date.month for one in site.search(now, maximum=2).results]
    assert months == [2, 3]
    assert [one.scan.study_date.month for one in site.search(now, maximum_days=40).results] == [3]


def test_what_the_ledger_has_is_not_fetched_again(site: Site, scans: Callable[..., SerialScan]) -> None:
    old, now = scans(1, date(2024, 1, 1), "known"), scans(9, date(2024, 1, 9), "known")
    site.store(old.report)
    pacs, scan = callback.prior_pacs(site.config()), scan_of(dcmread(now.source))
    assert pacs is not None and scan is not None
    patient = Patient.of(dcmread(now.source))
    for known, count in (((), 1), ((str(dcmread(old.report).SOPInstanceUID),), 0)):
        answer = pacs.search(patient, scan, 99, 9, known, time.monotonic() + 20)
        assert (len(answer.candidates), answer.remarks) == (count, ())


def test_check_examines_the_pacs(site: Site) -> None:
    for way in WAYS:
        pacs = callback.prior_pacs(site.config(way))
        assert pacs is not None and pacs.examine() is None
    down = Config.model_validate(
        {"priors": {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": free_port()}}}
    )
    told = [
        [(finding.subject, finding.severity) for finding in _check_priors(config)]
        for config in (site.config(), site.config("move"), Config.model_validate({"priors": {"sources": []}}))
    ]
    assert told == [[("priors", "ok")], [("priors", "ok")], [("priors", "note")]]
    nobody = callback.prior_pacs(down)
    assert nobody is not None and "PACS@127.0.0.1" in str(nobody.examine())


def test_a_pacs_that_does_not_offer_it_is_told(site: Site) -> None:
    """The node itself answers C-ECHO and C-STORE, no C-FIND."""
    there = {"ae_title": "DICOMNODE", "host": "127.0.0.1", "port": site.server.port}
    node = callback.prior_pacs(Config.model_validate({"priors": {"pacs": there}}))
    assert isinstance(node, PriorPacs)
    assert "offer" in str(node.examine())
    assert Priors().pacs is None

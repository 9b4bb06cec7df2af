"""The search in the ledger, and that it never stands in a result's way."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt

from dicomnode.config_sections import Priors
from dicomnode.deliver.peer import Peer
from dicomnode.measure.priors import Findings, SearchRemark
from dicomnode.priors.pacs import STUDY_ROOT_FIND, STUDY_ROOT_GET, PriorPacs
from dicomnode.priors.search import PriorSearch, patient_result
from dicomnode.report.own_report import COMPREHENSIVE_3D_SR
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import NewInstance
from dicomnode.spool.spool import Spool
from tests.dicom_network import free_port, until
from tests.priors.serial_scans import SerialScan, make_scan


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def analyzing(spool: Spool, scan: SerialScan) -> tuple[str, int]:
    """The scan's series, as far as a worker has it."""
    data = scan.source.read_bytes()
    uid = f"{scan.study_instance_uid}.1"
    instance = NewInstance(
        *(scan.study_instance_uid, uid, f"{uid}.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"),
        hashlib.sha256(data).hexdigest(),
        "A",
    )
    spool.keep(instance, (data,))
    spool.ledger.mark_complete(instance.series_id, "test")
    series = spool.ledger.claim_next()
    assert series is not None and series.id == instance.series_id
    return series.id, series.generation


def measured(spool: Spool, scan: SerialScan) -> str:
    """The scan's series with its result noted."""
    series_id, generation = analyzing(spool, scan)
    noted = patient_result(scan.report, Findings(None))
    spool.ledger.record_results(series_id, generation, [], [], patient_result=noted)
    return series_id


def search(ledger: Ledger, scan: SerialScan, pacs: PriorPacs | None = None, **settings: Any) -> Findings:
    if pacs is not None:
        settings |= {"sources": ("ledger", "pacs"), "pacs": {"ae_title": "A", "host": "h", "port": 1}}
    return PriorSearch(ledger, Priors(**settings), pacs).begin("none", 1, [scan.source]).findings()


def test_earlier_results_are_found_in_the_ledger(spool: Spool, tmp_path: Path) -> None:
    first, second = (make_scan(tmp_path, n, date(2024, 1, n)) for n in (1, 2))
    measured(spool, second)
    measured(spool, first)
    found = search(spool.ledger, make_scan(tmp_path, 3, date(2024, 1, 9)))
    assert [one.scan.study_instance_uid for one in found.results] == [
        first.study_instance_uid,
        second.study_instance_uid,
    ]
    assert found.results[0].values["lesion_volume_ml"] > 0
    assert (found.asked, found.remarks) == (("ledger",), ())
    assert [one.scan.study_date.day for one in search(spool.ledger, second).results] == [1]


def test_a_purged_series_is_still_compared_with(spool: Spool, tmp_path: Path) -> None:
    series_id = measured(spool, make_scan(tmp_path, 1, date(2024, 1, 1)))
    spool.purge(series_id)
    assert len(search(spool.ledger, make_scan(tmp_path, 3, date(2024, 1, 9))).results) == 1


def test_the_ledger_names_no_patient(spool: Spool, tmp_path: Path) -> None:
    measured(spool, make_scan(tmp_path, 1, date(2024, 1, 1), PatientID="PAT-1-SECRET"))
    spool.ledger.close()
    content = b"".join(path.read_bytes() for path in spool.directory.glob("ledger.sqlite*"))
    assert b"patient_result" in content
    for secret in (b"PAT-1-SECRET", b"Doe", b"19600101"):
        assert secret not in content
    spool.ledger = Ledger(spool.directory / "ledger.sqlite")


def test_other_patients_and_contradictions(spool: Spool, tmp_path: Path) -> None:
    measured(spool, make_scan(tmp_path, 1, date(2024, 1, 1)))
    issuer = make_scan(tmp_path, 3, date(2024, 1, 9), IssuerOfPatientID="elsewhere")
    assert search(spool.ledger, issuer).remarks == (SearchRemark.OTHER_IDENTIFIERS,)
    other = make_scan(tmp_path, 4, date(2024, 1, 9), PatientID="PAT-2")
    assert search(spool.ledger, other).results == search(spool.ledger, other).remarks == ()
    male = search(spool.ledger, make_scan(tmp_path, 5, date(2024, 1, 9), PatientSex="M"))
    assert (male.results, male.remarks) == ((), (SearchRemark.PATIENT_MISMATCH,))
    anonymous = make_scan(tmp_path, 6, date(2024, 1, 9), PatientID="")
    assert search(spool.ledger, anonymous).remarks == (SearchRemark.NO_IDENTIFIER,)


def test_a_series_without_a_date_is_not_compared(spool: Spool, tmp_path: Path) -> None:
    measured(spool, make_scan(tmp_path, 1, date(2024, 1, 1)))
    undated = make_scan(tmp_path, 2, date(2024, 1, 2), StudyDate="", ContentDate="", SeriesDate="")
    found = search(spool.ledger, undated)
    assert (found.scan, found.remarks) == (None, (SearchRemark.NO_DATE,))


def test_a_result_is_made_again_with_what_it_was_made_with(spool: Spool, tmp_path: Path) -> None:
    """An earlier scan that comes in between changes nothing: the same objects must come out."""
    scan = make_scan(tmp_path, 3, date(2024, 1, 9))
    searcher = PriorSearch(spool.ledger, Priors())
    series_id, generation = analyzing(spool, scan)
    before = searcher.begin(series_id, generation, [scan.source]).findings()
    noted = patient_result(scan.report, before)
    spool.ledger.record_results(series_id, generation, [], [], patient_result=noted)
    measured(spool, make_scan(tmp_path, 1, date(2024, 1, 1)))
    assert searcher.begin(series_id, generation, [scan.source]).findings() == before
    assert searcher.begin(series_id, generation + 1, [scan.source]).findings() != before


def test_a_result_that_late_slices_will_replace_is_not_compared_with(spool: Spool, tmp_path: Path) -> None:
    scan = make_scan(tmp_path, 1, date(2024, 1, 1))
    measured(spool, scan)
    late = NewInstance(
        *(scan.study_instance_uid, f"{scan.study_instance_uid}.1", "1.2.9", "1.2.840.10008.5.1.4.1.1.2"),
        *("1.2.840.10008.1.2.1", "0" * 64, "A"),
    )
    spool.keep(late, (b"late",))
    assert not search(spool.ledger, make_scan(tmp_path, 3, date(2024, 1, 9))).results


def test_an_earlier_result_that_can_not_be_read_is_told(spool: Spool, tmp_path: Path) -> None:
    measured(spool, make_scan(tmp_path, 1, date(2024, 1, 1)))
    with spool.ledger.database.write() as connection:
        connection.execute("UPDATE patient_result SET record = ?", (json.dumps({"scan": 1}),))
    found = search(spool.ledger, make_scan(tmp_path, 3, date(2024, 1, 9)))
    assert (found.results, found.remarks) == ((), (SearchRemark.UNREADABLE_REPORTS,))


def test_a_file_that_is_no_image_fails_nothing(spool: Spool, tmp_path: Path) -> None:
    missing = PriorSearch(spool.ledger, Priors()).begin("none", 1, [tmp_path / "missing"]).findings()
    assert (missing.results, missing.remarks) == ((), (SearchRemark.NOT_ASKED,))


def test_a_pacs_that_is_down_costs_nothing_but_a_remark(spool: Spool, tmp_path: Path) -> None:
    measured(spool, make_scan(tmp_path, 1, date(2024, 1, 1)))
    pacs = PriorPacs(Peer("PACS", "127.0.0.1", free_port()))
    found = search(spool.ledger, make_scan(tmp_path, 3, date(2024, 1, 9)), pacs)
    assert len(found.results) == 1
    assert (found.asked, found.remarks) == (("ledger", "pacs"), (SearchRemark.PACS_FAILED,))


def test_a_pacs_that_says_nothing_is_not_waited_for(spool: Spool, tmp_path: Path) -> None:
    measured(spool, make_scan(tmp_path, 1, date(2024, 1, 1)))
    with socket.create_server(("127.0.0.1", 0)) as mute:
        pacs = PriorPacs(Peer("PACS", "127.0.0.1", mute.getsockname()[1]))
        scan = make_scan(tmp_path, 3, date(2024, 1, 9))
        began = time.monotonic()
        found = search(spool.ledger, scan, pacs, timeout_seconds=0.5)
        assert time.monotonic() - began < 2
    assert len(found.results) == 1
    assert found.remarks == (SearchRemark.PACS_SILENT,)


def test_a_pacs_that_takes_the_question_and_does_not_answer(
    spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    measured(spool, make_scan(tmp_path, 1, date(2024, 1, 1)))
    over = threading.Event()

    def asked(_event: evt.Event) -> Iterator[tuple[int, None]]:
        over.wait(60)
        yield 0x0000, None

    entity = AE("PACS")
    for uid in (STUDY_ROOT_FIND, STUDY_ROOT_GET):
        entity.add_supported_context(uid)
    entity.add_supported_context(COMPREHENSIVE_3D_SR, scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, asked)])
    try:
        pacs = PriorPacs(Peer("PACS", "127.0.0.1", server.socket.getsockname()[1]))
        began = time.monotonic()
        found = search(spool.ledger, make_scan(tmp_path, 3, date(2024, 1, 9)), pacs, timeout_seconds=1.5)
        assert time.monotonic() - began < 4
    finally:
        over.set()
        server.shutdown()
    assert len(found.results) == 1
    assert found.remarks == (SearchRemark.PACS_SILENT,)
    until(lambda: "can't be asked" in caplog.text)
    assert "PAT-1" not in caplog.text

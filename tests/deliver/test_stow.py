"""STOW-RS to a server that answers everything there is, and to Orthanc."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicomnode.deliver.delivery import DeliveryLoop
from dicomnode.deliver.destination import Destination, RetryPolicy
from dicomnode.deliver.peer import Peer
from dicomnode.deliver.refusal import Verdict
from dicomnode.deliver.stow import StowService, reach, stow_files
from dicomnode.deliver.stow_response import InstanceAnswer, StowResponseError, find_instance
from dicomnode.demo.orthanc import OrthancPacs, find_orthanc
from dicomnode.spool.ledger import Ledger
from dicomnode.tls import client_tls, server_tls
from tests.certificates import House
from tests.deliver.recording_pacs import Clock, make_results, state_of
from tests.deliver.test_sender import save
from tests.deliver.web_server import Reply, answer, web_server
from tests.dicom_network import free_port, until

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def test_the_request_is_what_the_standard_wants(tmp_path: Path) -> None:
    path = save(tmp_path)
    with web_server() as server:
        server.reply = Reply(200, answer(path))
        service = StowService(server.url, {"Authorization": "Bearer hush"})
        (outcome,) = stow_files([path], service)
        (request,) = server.requests
    assert (outcome.verdict, outcome.status, outcome.error) == (Verdict.STORED, 0, "")
    assert "hush" not in repr(service)
    assert request.path == "/dicom-web/studies"
    assert request.headers["Authorization"] == "Bearer hush"
    assert "application/dicom+json" in request.headers["Accept"]
    media_type, parameters = request.headers["Content-Type"].split("; ", 1)
    assert media_type == "multipart/related"
    assert 'type="application/dicom"' in parameters
    boundary = parameters.split("boundary=")[1].encode()
    head, content = request.body.split(b"\r\n\r\n", 1)
    assert head == b"--" + boundary + b"\r\nContent-Type: application/dicom"
    assert content == path.read_bytes() + b"\r\n--" + boundary + b"--\r\n", "byte for byte"


def test_the_body_decides_over_the_status(tmp_path: Path) -> None:
    path = save(tmp_path)
    cases = [
        (200, 0xA900, Verdict.OBJECT_REFUSED),
        (202, 0x0122, Verdict.KIND_REFUSED),
        (409, 0xA700, Verdict.NOT_NOW),
        (409, 0xC000, Verdict.OBJECT_REFUSED),
        (409, 0x0110, Verdict.NOT_NOW),
        (409, 0x0111, Verdict.STORED),
    ]
    with web_server() as server:
        for status, reason, verdict in cases:
            server.reply = Reply(status, answer(path, failure=reason))
            (outcome,) = stow_files([path], StowService(server.url))
            assert (outcome.verdict, outcome.status) == (verdict, reason)
            assert verdict is Verdict.STORED or f"{reason:04X}" in outcome.error
        server.reply = Reply(202, answer(path, warning=0xB007))
        (outcome,) = stow_files([path], StowService(server.url))
        assert outcome.ok
        assert "B007" in outcome.remark


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.STORED),
        (302, Verdict.UNREACHABLE),
        (401, Verdict.UNREACHABLE),
        (404, Verdict.UNREACHABLE),
        (409, Verdict.OBJECT_REFUSED),
        (413, Verdict.OBJECT_REFUSED),
        (415, Verdict.OBJECT_REFUSED),
        (500, Verdict.LOST),
        (503, Verdict.UNREACHABLE),
    ],
)
def test_a_status_without_a_body(tmp_path: Path, status: int, verdict: Verdict) -> None:
    with web_server() as server:
        server.reply = Reply(status, b"<html>oops</html>" if status != 200 else b"")
        (outcome,) = stow_files([save(tmp_path)], StowService(server.url))
    assert outcome.verdict is verdict
    assert outcome.ok or f"HTTP {status}" in outcome.error


def test_retry_after_is_heeded(tmp_path: Path) -> None:
    with web_server() as server:
        for text, seconds in (("120", 120.0), ("Fri, 31 Dec 1999 23:59:59 GMT", None), ("-1", None)):
            server.reply = Reply(503, headers={"Retry-After": text})
            (outcome,) = stow_files([save(tmp_path)], StowService(server.url))
            assert outcome.retry_after_seconds == seconds


def test_what_is_not_there_and_what_hangs_up(tmp_path: Path) -> None:
    path = save(tmp_path)
    (outcome,) = stow_files([path], StowService(f"http://127.0.0.1:{free_port()}"))
    assert (outcome.verdict, outcome.error.split(": ", 1)[1]) == (Verdict.UNREACHABLE, "no connection")
    (outcome,) = stow_files([path], StowService("http://user:secret@no-such-host.invalid"))
    assert outcome.verdict is Verdict.UNREACHABLE
    assert "secret" not in outcome.error
    (outcome,) = stow_files([tmp_path / "gone.dcm"], StowService("http://127.0.0.1:1"))
    assert outcome.verdict is Verdict.UNSENDABLE


def test_tls_as_for_c_store(tmp_path: Path, house: House) -> None:
    path = save(tmp_path)
    asks = server_tls(house.node.cert, house.node.key, house.hospital.ca, require_client=True)
    with web_server(asks) as server:
        url = server.url.replace("http:", "https:")
        ours = client_tls(house.scanner.cert, house.scanner.key, house.hospital.ca, check_host=True)
        (outcome,) = stow_files([path], StowService(url, tls=ours))
        assert outcome.ok, outcome.error
        (outcome,) = stow_files([path], StowService(url, tls=client_tls()))
        assert outcome.verdict is Verdict.UNREACHABLE
        assert "TLS failed, its certificate is not signed by an authority" in outcome.error


def test_whether_somebody_answers_there() -> None:
    with web_server() as server:
        assert reach(StowService(server.url)) is None
        assert server.requests[0].path == "/dicom-web/studies?limit=1"
        server.reply = Reply(401)
        assert "HTTP 401, it wants other credentials" in (reach(StowService(server.url)) or "")
    assert "no connection" in (reach(StowService(server.url)) or "")


XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
 <DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence"><Item number="1">
  <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute>
  <DicomAttribute tag="00081197" vr="US"><Value number="1">290</Value></DicomAttribute>
 </Item></DicomAttribute>
 <DicomAttribute tag="00081199" vr="SQ"><Item number="1">
  <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.4</Value></DicomAttribute>
 </Item></DicomAttribute>
</NativeDicomModel>"""


def test_responses_in_xml_and_odd_ones() -> None:
    xml = "application/dicom+xml"
    assert find_instance(XML, xml, "1.2.3") == InstanceAnswer(failure_reason=0x0122)
    assert find_instance(XML, xml, "1.2.4") == InstanceAnswer()
    assert find_instance(XML, xml, "1.2.5") is None
    assert find_instance(
        XML.replace(b' xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"', b""), xml, "1.2.3"
    )
    assert find_instance(b"  ", xml, "1.2.3") is None
    odd = [b"<a", b"\xff", b"[1]", b'{"00081198": 5}', b'{"00081198": {"Value": [3]}}', b"[" * 100_000]
    for body in odd:
        with pytest.raises(StowResponseError):
            find_instance(body, "application/dicom+json", "1.2.3")
    bomb = b'<!DOCTYPE a [<!ENTITY a "' + b"x" * 1000 + b'">'
    for number in range(1, 9):
        previous = "a" if number == 1 else f"b{number - 1}"
        bomb += f'<!ENTITY b{number} "{f"&{previous};" * 20}">'.encode()
    with pytest.raises(StowResponseError):
        find_instance(bomb + b"]><a>&b8;</a>", xml, "1.2.3")


@contextmanager
def orthanc(directory: Path) -> Iterator[OrthancPacs]:
    if find_orthanc() is None or not PLUGIN.is_file():
        pytest.skip("Orthanc with DICOMweb is not installed (packages orthanc and orthanc-dicomweb)")
    running = OrthancPacs(
        directory, further={"Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    )
    running.start()
    try:
        yield running
    finally:
        running.stop()


def test_orthanc_gets_results_by_stow(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path / "ledger.sqlite", clock=clock)
    with orthanc(tmp_path / "orthanc") as running:
        target = Destination(
            "web",
            Peer("PACS", "127.0.0.1", running.port),
            retry=RetryPolicy(),
            stow=StowService(f"http://127.0.0.1:{running.http_port}/dicom-web"),
        )
        uids = make_results(ledger, [target], 1)
        loop = DeliveryLoop(ledger, [target], clock=clock)
        loop.start()
        until(lambda: state_of(ledger, 1) == "delivered")
        loop.stop()
        base = f"http://127.0.0.1:{running.http_port}"
        with urllib.request.urlopen(f"{base}/instances?expand") as reply:
            found = {one["MainDicomTags"]["SOPInstanceUID"]: one["ID"] for one in json.load(reply)}
        for path in (tmp_path / "10.dcm", tmp_path / "11.dcm"):
            with urllib.request.urlopen(f"{base}/instances/{found.pop(uids.pop(0))}/file") as reply:
                assert reply.read() == path.read_bytes()
        (outcome,) = stow_files([tmp_path / "ledger.sqlite"], target.stow or StowService(""))
        assert outcome.verdict is Verdict.UNSENDABLE
        (outcome,) = stow_files([tmp_path / "10.dcm"], StowService(f"{base}/not-here"))
        assert outcome.verdict is Verdict.UNREACHABLE
    assert not found
    ledger.close()

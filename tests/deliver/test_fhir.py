"""FHIR bundles to a server that answers everything there is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dicomnode.deliver.fhir import FhirService, post_bundles, reach_fhir
from dicomnode.deliver.refusal import Verdict
from dicomnode.deliver.sender import SendOutcome
from tests.deliver.web_server import Reply, web_server
from tests.dicom_network import free_port

JSON = {"Content-Type": "application/fhir+json"}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "report.fhir.json"
    path.write_text('{"resourceType": "Bundle"}', encoding="utf-8")
    return path


def test_the_bundle_is_posted_to_the_base_as_it_is(bundle: Path) -> None:
    seen: list[SendOutcome] = []
    with web_server() as server:
        service = FhirService(server.url, {"Authorization": "Bearer hush"})
        (outcome,) = post_bundles([bundle], service, seen.append)
        (request,) = server.requests
    assert (outcome.verdict, outcome.error) == (Verdict.STORED, "")
    assert seen == [outcome]
    assert request.path == "/dicom-web"
    assert request.headers["Content-Type"] == request.headers["Accept"] == "application/fhir+json"
    assert request.headers["Authorization"] == "Bearer hush"
    assert "hush" not in repr(service)
    assert request.body == bundle.read_bytes()


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (201, Verdict.STORED),
        (204, Verdict.STORED),
        (400, Verdict.OBJECT_REFUSED),
        (401, Verdict.UNREACHABLE),
        (422, Verdict.OBJECT_REFUSED),
        (429, Verdict.UNREACHABLE),
        (500, Verdict.LOST),
        (503, Verdict.UNREACHABLE),
    ],
)
def test_what_an_answer_means(bundle: Path, status: int, verdict: Verdict) -> None:
    with web_server() as server:
        server.reply = Reply(status, b"", {"Retry-After": "7"})
        (outcome,) = post_bundles([bundle], FhirService(server.url))
    assert outcome.verdict is verdict
    if verdict is not Verdict.STORED:
        assert f"HTTP {status}" in outcome.error
        assert outcome.retry_after_seconds == 7


def test_codes_of_an_operation_outcome_are_told_and_no_text(bundle: Path) -> None:
    issue = {"severity": "error", "code": "invalid", "diagnostics": "Doe^Jane has no ward"}
    with web_server() as server:
        server.reply = Reply(422, json.dumps({"issue": [issue]}).encode(), JSON)
        (outcome,) = post_bundles([bundle], FhirService(server.url))
    assert "(error invalid)" in outcome.error
    assert "Doe" not in outcome.error


def test_a_server_that_is_down_is_tried_again(bundle: Path) -> None:
    (outcome,) = post_bundles([bundle], FhirService(f"http://127.0.0.1:{free_port()}/fhir"))
    assert (outcome.verdict, outcome.status) == (Verdict.UNREACHABLE, None)
    assert "no connection" in outcome.error


def test_a_bundle_that_is_gone_is_told(tmp_path: Path) -> None:
    with web_server() as server:
        (outcome,) = post_bundles([tmp_path / "gone.json"], FhirService(server.url))
    assert outcome.verdict is Verdict.UNSENDABLE


@pytest.mark.parametrize(
    ("reply", "finding"),
    [
        (Reply(200, b'{"resourceType": "CapabilityStatement"}', JSON), None),
        (Reply(200, b"<html>", {}), "no FHIR server answers at this address"),
        (Reply(404, b"", {}), "no FHIR server answers at this address"),
        (Reply(403, b"", {}), "we are not allowed to store"),
    ],
)
def test_whether_a_fhir_server_is_there(reply: Reply, finding: str | None) -> None:
    with web_server() as server:
        server.reply = reply
        said = reach_fhir(FhirService(server.url))
        assert [request.path for request in server.requests] == ["/dicom-web/metadata"]
    assert said is None if finding is None else finding in str(said)

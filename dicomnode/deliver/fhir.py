"""FHIR bundles to a FHIR server: one transaction each (FHIR R4, 3.1.0.11)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path

import httpx

from dicomnode.deliver.http_client import (
    HttpService,
    read_body,
    request_failure,
    retry_after_seconds,
    why_not,
)
from dicomnode.deliver.refusal import Verdict, http_answer
from dicomnode.deliver.sender import SendOutcome

FHIR_JSON = "application/fhir+json"


class FhirService(HttpService):
    """A FHIR server; ``url`` is its base, without a resource type."""


def post_bundles(
    paths: Iterable[Path],
    to: FhirService,
    progress: Callable[[SendOutcome], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[SendOutcome]:
    """Post the bundles in order. Each replaces its resources, so one that was posted before does no harm.

    Returns
    -------
    list of SendOutcome
        One a file, as :func:`dicomnode.deliver.sender.send_files` has it; never an exception for the server.
    """
    outcomes: list[SendOutcome] = []
    with to.client(**{"Accept": FHIR_JSON, "Content-Type": FHIR_JSON}) as client:
        for path in paths:
            if should_stop():
                break
            outcome = _post(client, path, to)
            outcomes.append(outcome)
            if progress is not None:
                progress(outcome)
    return outcomes


def reach_fhir(service: FhirService) -> str | None:
    """``None`` if a FHIR server answers there, else a sentence that says what is wrong; nothing is stored."""
    try:
        with service.client(Accept=FHIR_JSON) as client:
            answer = client.get(f"{service.url.rstrip('/')}/metadata")
            said = answer.json() if answer.is_success else {}
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{service}: {why_not(error)}"
    except ValueError:
        said = {}
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"{service}: HTTP {answer.status_code}, {http_answer(answer.status_code).sentence}"
    if not isinstance(said, dict) or said.get("resourceType") != "CapabilityStatement":
        return f"{service}: no FHIR server answers at this address (HTTP {answer.status_code})"
    return None


def _post(client: httpx.Client, path: Path, to: FhirService) -> SendOutcome:
    def failed(verdict: Verdict, error: str) -> SendOutcome:
        return SendOutcome(path, "", None, f"{to}: {error}", verdict)

    try:
        with client.stream("POST", to.url, content=path.read_bytes()) as response:
            body = read_body(response)
    except OSError as error:
        return failed(Verdict.UNSENDABLE, f"can't read the file: {error.strerror}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return failed(*request_failure(error, "the bundle"))
    status, meaning = response.status_code, http_answer(response.status_code)
    if response.is_success:
        return SendOutcome(path, "", status, "", Verdict.STORED)
    verdict = Verdict.NOT_NOW if meaning.verdict is Verdict.STORED else meaning.verdict
    said = _diagnostics(body) if verdict is Verdict.OBJECT_REFUSED else ""
    told = f"{to}: HTTP {status}, {meaning.sentence or 'not stored'}{said}"
    return SendOutcome(path, "", status, told, verdict, "", retry_after_seconds(response))


def _diagnostics(body: bytes) -> str:
    """Codes of an OperationOutcome; its texts could quote the patient."""
    try:
        issues = json.loads(body)["issue"]
        found = sorted({f"{issue['severity']} {issue['code']}" for issue in issues})
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({', '.join(found)})" if found else ""

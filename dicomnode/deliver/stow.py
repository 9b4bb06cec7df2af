"""STOW-RS (PS3.18 10.5): files to a DICOMweb origin server, byte for byte."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from pathlib import Path

import httpx

from dicomnode.deliver.dicom_file import DicomFile, NotADicomFileError, read_dicom_file
from dicomnode.deliver.http_client import (
    HttpService,
    read_body,
    request_failure,
    retry_after_seconds,
    why_not,
)
from dicomnode.deliver.refusal import Answer, Verdict, c_store_answer, http_answer
from dicomnode.deliver.sender import SendOutcome
from dicomnode.deliver.stow_response import StowResponseError, find_instance

CHUNK_BYTES = 1 << 20
ACCEPTED = "application/dicom+json, application/dicom+xml;q=0.5"


class StowService(HttpService):
    """A STOW-RS service; ``url`` is what stands before ``/studies``."""

    @property
    def studies_url(self) -> str:
        """Where instances of any study are stored."""
        return f"{self.url.rstrip('/')}/studies"


def stow_files(
    paths: Iterable[Path],
    to: StowService,
    progress: Callable[[SendOutcome], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[SendOutcome]:
    """Store DICOM files in order, one request each, so that each has an answer of its own.

    Returns
    -------
    list of SendOutcome
        One a file, as :func:`dicomnode.deliver.sender.send_files` has it.
    """
    outcomes: list[SendOutcome] = []
    with to.client(Accept=ACCEPTED) as client:
        for path in paths:
            if should_stop():
                break
            try:
                outcome = _store(client, read_dicom_file(path), to)
            except NotADicomFileError as error:
                outcome = SendOutcome(path, "", None, str(error), Verdict.UNSENDABLE)
            outcomes.append(outcome)
            if progress is not None:
                progress(outcome)
    return outcomes


def reach(service: StowService) -> str | None:
    """``None`` if something answers there that knows us, else a sentence that says what is wrong.

    Nothing is stored: whether it offers STOW-RS shows with the first result.
    """
    try:
        with service.client(Accept=ACCEPTED) as client:
            status = client.get(service.studies_url, params={"limit": "1"}).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{service}: {why_not(error)}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"{service}: HTTP {status}, {http_answer(status).sentence}"
    return None


def _store(client: httpx.Client, file: DicomFile, to: StowService) -> SendOutcome:
    def failed(verdict: Verdict, error: str) -> SendOutcome:
        return SendOutcome(file.path, file.sop_instance_uid, None, f"{to}: {error}", verdict)

    boundary = f"dicomnode-{secrets.token_hex(16)}"
    try:
        content, length = _multipart(file.path, boundary)
        request = client.build_request(
            "POST",
            to.studies_url,
            content=content,
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Content-Length": str(length),
            },
        )
        response = client.send(request, stream=True)
        try:
            body = read_body(response)
        finally:
            response.close()
    except OSError as error:
        return failed(Verdict.UNSENDABLE, f"can't read the file: {error.strerror}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return failed(*request_failure(error, "STOW-RS"))
    return _outcome(file, to, response, body)


def _outcome(file: DicomFile, to: StowService, response: httpx.Response, body: bytes) -> SendOutcome:
    status = response.status_code
    meaning, reason, remark = http_answer(status), None, ""
    try:
        found = find_instance(body, response.headers.get("Content-Type", ""), file.sop_instance_uid)
    except StowResponseError as error:
        found, remark = None, str(error)
    if found is not None and found.failure_reason is not None:
        reason = found.failure_reason
        meaning = c_store_answer(reason) if reason else Answer(0, 0, Verdict.NOT_NOW, "no reason given", "")
    elif found is not None and response.is_success:
        meaning, reason = c_store_answer(0), 0
        if found.warning_reason:
            remark = f"{c_store_answer(found.warning_reason).sentence} ({found.warning_reason:04X})"
    told = f"HTTP {status}" + (f", failure reason {reason:04X}" if reason else "")
    if meaning.verdict is Verdict.STORED:
        remark = remark or (f"{meaning.sentence} ({reason:04X})" if reason else "")
        return SendOutcome(file.path, file.sop_instance_uid, reason or 0, "", Verdict.STORED, remark)
    return SendOutcome(
        file.path,
        file.sop_instance_uid,
        status if reason is None else reason,
        f"{to}: {told}, {meaning.sentence}",
        meaning.verdict,
        remark,
        retry_after_seconds(response),
    )


def _multipart(path: Path, boundary: str) -> tuple[Iterator[bytes], int]:
    """One part with the file, read while it is sent; and the length of it all."""
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    size = path.stat().st_size

    def parts() -> Iterator[bytes]:
        yield head
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
        yield tail

    return parts(), len(head) + size + len(tail)

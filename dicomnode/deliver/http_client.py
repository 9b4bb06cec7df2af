"""What STOW-RS and FHIR have in common: a client that goes nowhere by itself, and answers in words."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping

import httpx

MAXIMUM_RESPONSE_BYTES = 1 << 20
_SECONDS = re.compile(r"[0-9]{1,6}")


def http_client(
    headers: Mapping[str, str], tls: ssl.SSLContext | None, connect_seconds: float, answer_seconds: float
) -> httpx.Client:
    """A client without proxy and .netrc: where patient data goes is said by the configuration alone."""
    return httpx.Client(
        headers=dict(headers),
        verify=tls or ssl.create_default_context(),
        timeout=httpx.Timeout(answer_seconds, connect=connect_seconds),
        trust_env=False,
    )


def read_body(response: httpx.Response) -> bytes:
    """The answer, as far as anybody needs to read it."""
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAXIMUM_RESPONSE_BYTES:
            break
    return body[:MAXIMUM_RESPONSE_BYTES]


def retry_after_seconds(response: httpx.Response) -> float | None:
    """Seconds of Retry-After; a date is not read, the usual waiting does as well."""
    text = response.headers.get("Retry-After", "").strip()
    return float(text) if _SECONDS.fullmatch(text) else None


def why_not(error: Exception) -> str:
    """What went wrong with a connection, without addresses or content."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed, {cause.strerror or cause.reason}"  # a sentence with the contexts of the node
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    return "no connection"

"""What STOW-RS and FHIR have in common: a service with its client, and its answers in words."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from dicomnode.deliver.refusal import Verdict

MAXIMUM_RESPONSE_BYTES = 1 << 20
_SECONDS = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True)
class HttpService:
    """A service that takes results over HTTP.

    Parameters
    ----------
    url:
        Its base.
    headers:
        Sent with each request, for example ``Authorization``; they are secret and never shown.
    tls:
        For ``https``; without it the system's authorities are trusted.
    connect_seconds, answer_seconds:
        Time for the connection, and for each part of the answer.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: ssl.SSLContext | None = None
    connect_seconds: float = 10.0
    answer_seconds: float = 60.0

    def __str__(self) -> str:
        return str(httpx.URL(self.url).copy_with(userinfo=b""))

    def client(self, **headers: str) -> httpx.Client:
        """A client without proxy and .netrc: where patient data goes is said by the configuration alone."""
        return httpx.Client(
            headers={**self.headers, **headers},
            verify=self.tls or ssl.create_default_context(),
            timeout=httpx.Timeout(self.answer_seconds, connect=self.connect_seconds),
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


def request_failure(error: httpx.HTTPError | httpx.InvalidURL, what: str) -> tuple[Verdict, str]:
    """What an error means for the object that was on its way, and a sentence; ``what`` got no answer."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Verdict.UNREACHABLE, why_not(error)
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return Verdict.UNREACHABLE, f"the address or a header is not valid ({type(error).__name__})"
    return Verdict.LOST, f"no answer to {what} ({type(error).__name__})"

"""Requests and responses."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qsl

PLAIN = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
MAXIMUM_FORM_BYTES = 16 * 1024

_FORM_SECONDS = 10.0
_FILE_SECONDS = 600.0
_SILENT_SECONDS = 10.0
_PIECE = 256 * 1024
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Response:
    """What a page says."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = PLAIN
    headers: Mapping[str, str] = field(default_factory=lambda: _NO_HEADERS)

    @classmethod
    def text(cls, text: str, status: HTTPStatus = HTTPStatus.OK, content_type: str = PLAIN) -> Response:
        """A response of UTF-8 text."""
        return cls(text.encode("utf-8"), status, content_type)

    @classmethod
    def see_other(cls, place: str, **headers: str) -> Response:
        """Go on to another page with GET."""
        return cls(b"", HTTPStatus.SEE_OTHER, headers={"Location": place, **_named(headers)})


class HttpError(Exception):
    """Something that is answered with a status instead of a page.

    Parameters
    ----------
    sentence:
        What the visitor is told; the status' own words if empty.
    headers:
        With ``_`` for ``-`` in their names.
    """

    def __init__(self, status: HTTPStatus, sentence: str = "", **headers: str) -> None:
        super().__init__(sentence or status.phrase)
        self.status = status
        self.headers = _named(headers)

    @property
    def response(self) -> Response:
        """As plain text."""
        return Response(f"{self}\n".encode(), self.status, headers=self.headers)


class Body:
    """The body of a request, which is still on its way.

    Parameters
    ----------
    beginning:
        What came of it with the head.
    length:
        Bytes that the client announced.
    """

    def __init__(self, connection: socket.socket, beginning: bytes, length: int) -> None:
        self._connection = connection
        self._beginning = beginning[:length]
        self.length = length

    def form(self) -> dict[str, str]:
        """The fields of an HTML form (``application/x-www-form-urlencoded``).

        Raises
        ------
        HttpError
            If it is too long or comes too slowly.
        """
        if self.length > MAXIMUM_FORM_BYTES:
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        content = b"".join(self._pieces(_FORM_SECONDS))
        return dict(parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True))

    def save(self, path: Path, maximum: int) -> None:
        """Write it to a file.

        Raises
        ------
        HttpError
            If it is longer than ``maximum`` bytes or comes too slowly.
        """
        if self.length > maximum:
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        with path.open("wb") as file:
            for piece in self._pieces(_FILE_SECONDS):
                file.write(piece)

    def _pieces(self, seconds: float) -> Iterator[bytes]:
        yield self._beginning
        deadline, left = time.monotonic() + seconds, self.length - len(self._beginning)
        while left > 0:
            remaining = min(_SILENT_SECONDS, deadline - time.monotonic())
            if remaining <= 0:
                raise HttpError(HTTPStatus.REQUEST_TIMEOUT)
            self._connection.settimeout(remaining)
            piece = self._connection.recv(min(_PIECE, left))
            if not piece:
                raise ConnectionError
            left -= len(piece)
            yield piece


@dataclass(frozen=True)
class Request:
    """What somebody asks.

    Parameters
    ----------
    path:
        As it was sent, without the query: escapes stay, for the paths of this server need none.
    headers:
        By name in lower case.
    address:
        Who is connected; behind a reverse proxy that is the proxy.
    """

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    address: str
    body: Body

    @property
    def query(self) -> dict[str, str]:
        """What stands behind the question mark."""
        return dict(parse_qsl(self.query_string))

    @property
    def wants_html(self) -> bool:
        """Whether a person with a browser asks."""
        return "text/html" in self.headers.get("accept", "")

    def cookie(self, name: str) -> str:
        """Value of a cookie; empty if there is none."""
        for pair in self.headers.get("cookie", "").split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value
        return ""


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}

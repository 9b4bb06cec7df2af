"""A small HTTP server for a few read-only pages; a slow, greedy or hostile client harms nobody."""

from __future__ import annotations

import contextlib
import hmac
import logging
import socket
import socketserver
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

LOGGER = logging.getLogger(__name__)

HEAD_SECONDS = 5.0
"""Time for the whole head of a request, however it is cut up."""

MAXIMUM_HEAD_BYTES = 8192
MAXIMUM_CONNECTIONS = 64
"""One more closes the oldest that has not sent its request yet."""

_SEND_SECONDS = 10.0
_POLL_SECONDS = 0.1
_PLAIN = "text/plain; charset=utf-8"


class WebError(Exception):
    """The pages can't be served; the message says where and why."""


@dataclass(frozen=True)
class Response:
    """What a page says."""

    body: str
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = _PLAIN


class _RequestError(Exception):
    def __init__(self, status: HTTPStatus, **headers: str) -> None:
        super().__init__(status.phrase)
        self.status = status
        self.headers = headers


class HttpServer:
    """Serves ``GET`` and ``HEAD`` of a fixed set of pages, one request a connection.

    Parameters
    ----------
    host, port:
        Where to listen; port 0 lets the system choose.
    token:
        Asked for as ``Authorization: Bearer TOKEN`` on every page; empty: not asked for.
    pages:
        By path.

    Raises
    ------
    WebError
        If the address can't be listened on.
    """

    def __init__(self, host: str, port: int, token: str, pages: Mapping[str, Callable[[], Response]]) -> None:
        try:
            self._server = _Server((host, port), token, pages)
        except OSError as error:
            raise WebError(f"can't serve metrics on {host}:{port}: {error.strerror}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="web", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; requests that are being answered are cut off with the process."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], token: str, pages: Mapping[str, Callable[[], Response]]
    ) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.token = token.encode()
        self.pages = pages
        self._lock = threading.Lock()
        self._connections = 0
        self._silent: OrderedDict[int, socket.socket] = OrderedDict()
        super().__init__(address, _Handler)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """Make room, or turn the newcomer away if all others are being answered."""
        with self._lock:
            if self._connections >= MAXIMUM_CONNECTIONS:
                if not self._silent:
                    self.shutdown_request(request)
                    return
                _, oldest = self._silent.popitem(last=False)
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._connections += 1
            self._silent[request.fileno()] = request
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        """The thread of one connection."""
        number = request.fileno()
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections -= 1
                if self._silent.get(number) is request:
                    del self._silent[number]

    def has_asked(self, request: socket.socket) -> None:
        """The request is complete: its connection isn't closed to make room any more."""
        with self._lock:
            if self._silent.get(request.fileno()) is request:
                del self._silent[request.fileno()]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nothing to report."""


class _Handler(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        """Answer one request, whatever it is; silence gets no answer."""
        method, headers = "GET", {}
        try:
            head = self._read_head()
            self.server.has_asked(self.request)
            method, path, fields = _parse(head)
            self._check_token(fields.get("authorization", b""))
            response = self._page(method, path)
        except _RequestError as error:
            response, headers = Response(f"{error.status.phrase}\n", error.status), error.headers
        except OSError:  # it went away, or took too long
            return
        self._send(response, headers, with_body=method != "HEAD")

    def _read_head(self) -> bytes:
        deadline = time.monotonic() + HEAD_SECONDS
        head = bytearray()
        while b"\r\n\r\n" not in head:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            if len(head) > MAXIMUM_HEAD_BYTES:
                raise _RequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            self.request.settimeout(remaining)
            piece = self.request.recv(4096)
            if not piece:
                raise ConnectionError
            head += piece
        return bytes(head.partition(b"\r\n\r\n")[0])

    def _check_token(self, authorization: bytes) -> None:
        if not self.server.token:
            return
        scheme, _, token = authorization.partition(b" ")
        # Both are compared, so that the time tells nothing.
        same = hmac.compare_digest(token.strip(), self.server.token)
        if scheme.lower() != b"bearer" or not same:
            raise _RequestError(HTTPStatus.UNAUTHORIZED, **{"WWW-Authenticate": "Bearer"})

    def _page(self, method: str, path: str) -> Response:
        page = self.server.pages.get(path)
        if page is None:
            raise _RequestError(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            raise _RequestError(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD")
        try:
            return page()
        except Exception as error:
            LOGGER.error("%s can't be answered: unexpected %s", path, type(error).__name__)
            raise _RequestError(HTTPStatus.INTERNAL_SERVER_ERROR) from error

    def _send(self, response: Response, headers: Mapping[str, str], *, with_body: bool) -> None:
        body = response.body.encode("utf-8")
        fields = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
            **headers,
        }
        lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
        self.request.settimeout(_SEND_SECONDS)
        with contextlib.suppress(OSError):
            self.request.sendall(head + (body if with_body else b""))


def _parse(head: bytes) -> tuple[str, str, dict[str, bytes]]:
    """Method, path without the query, and header fields by name in lower case."""
    request_line, *lines = head.split(b"\r\n")
    words = request_line.split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1.") or not request_line.isascii():
        raise _RequestError(HTTPStatus.BAD_REQUEST)
    fields = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise _RequestError(HTTPStatus.BAD_REQUEST)
        fields[name.strip().lower().decode("latin-1")] = value.strip()
    return words[0].decode(), words[1].partition(b"?")[0].decode(), fields

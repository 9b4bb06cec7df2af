"""A small HTTP server, one request a connection; a slow, greedy or hostile client harms nobody."""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from http import HTTPStatus

from dicomnode.web.messages import Body, HttpError, Request, Response

LOGGER = logging.getLogger(__name__)

HEAD_SECONDS = 5.0
"""Time for the whole head of a request, however it is cut up."""

MAXIMUM_HEAD_BYTES = 8192
MAXIMUM_CONNECTIONS = 64
"""One more closes the oldest that has not sent its request yet."""

_SEND_SECONDS = 10.0
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 1 << 20
_POLL_SECONDS = 0.1

Answer = Callable[[Request], Response]
"""What the server asks for each request; an :class:`HttpError` is answered as it says."""


class WebError(Exception):
    """The pages can't be served; the message says where and why."""


class HttpServer:
    """Reads requests and sends what ``answer`` says to them.

    Parameters
    ----------
    host, port:
        Where to listen; port 0 lets the system choose.
    answer:
        Called from many threads.

    Raises
    ------
    WebError
        If the address can't be listened on.
    """

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        try:
            self._server = _Server((host, port), answer)
        except OSError as error:
            raise WebError(f"can't serve the page on {host}:{port}: {error.strerror}") from error
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

    def __init__(self, address: tuple[str, int], answer: Answer) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.answer = answer
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
        method = "GET"
        try:
            head, rest = self._read_head()
            self.server.has_asked(self.request)
            method, path, query, fields = _parse(head)
            body = Body(self.request, rest, _length(fields))
            request = Request(method, path, query, fields, str(self.client_address[0]), body)
            response = self._answer(request)
        except HttpError as error:
            response = error.response
        except OSError:  # it went away, or took too long
            return
        self._send(response, with_body=method != "HEAD")

    def _read_head(self) -> tuple[bytes, bytes]:
        """The head, and what came of the body with it."""
        deadline = time.monotonic() + HEAD_SECONDS
        head = bytearray()
        while b"\r\n\r\n" not in head:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            if len(head) > MAXIMUM_HEAD_BYTES:
                raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            self.request.settimeout(remaining)
            piece = self.request.recv(4096)
            if not piece:
                raise ConnectionError
            head += piece
        first, _, rest = bytes(head).partition(b"\r\n\r\n")
        return first, rest

    def _answer(self, request: Request) -> Response:
        try:
            return self.server.answer(request)
        except (HttpError, OSError):
            raise
        except Exception as error:  # the type alone: a message could quote a data set
            LOGGER.error("a page can't be answered: unexpected %s", type(error).__name__)
            raise HttpError(HTTPStatus.INTERNAL_SERVER_ERROR) from error

    def _send(self, response: Response, *, with_body: bool) -> None:
        fields = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
            **response.headers,
        }
        lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.request.settimeout(_SEND_SECONDS)
        with contextlib.suppress(OSError):
            self.request.sendall(head + (response.body if with_body else b""))
            self._linger()

    def _linger(self) -> None:
        """Read on a little: closing with unread bytes would tear the answer away from the client."""
        self.request.shutdown(socket.SHUT_WR)
        deadline, left = time.monotonic() + _LINGER_SECONDS, _LINGER_BYTES
        while left > 0 and (remaining := deadline - time.monotonic()) > 0:
            self.request.settimeout(remaining)
            piece = self.request.recv(65536)
            if not piece:
                return
            left -= len(piece)


def _parse(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    """Method, path, query, and header fields by name in lower case."""
    request_line, *lines = head.split(b"\r\n")
    words = request_line.split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1.") or not request_line.isascii():
        raise HttpError(HTTPStatus.BAD_REQUEST)
    fields = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise HttpError(HTTPStatus.BAD_REQUEST)
        fields[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
    path, _, query = words[1].decode().partition("?")
    return words[0].decode(), path, query, fields


def _length(fields: Mapping[str, str]) -> int:
    """Bytes of the body; other ways to tell it than Content-Length aren't understood."""
    if "transfer-encoding" in fields:
        raise HttpError(HTTPStatus.NOT_IMPLEMENTED)
    text = fields.get("content-length", "0")
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise HttpError(HTTPStatus.BAD_REQUEST)
    return int(text)

"""The HTTP server: pages for those who may, and nobody can keep it from answering."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from dicomnode.web import http_server
from dicomnode.web.doorkeeper import AccessRules, Doorkeeper
from dicomnode.web.http_server import HttpServer, WebError
from dicomnode.web.messages import Response
from dicomnode.web.site import Call, Pages, Route, Site
from tests.dicom_network import until

TOKEN = "a-long-token"


def fails(_call: Call) -> Response:
    raise ValueError("Doe^Jane")


def echo(call: Call) -> Response:
    return Response.text(call.request.body.form()["said"])


ROUTES = [
    Route("GET", "/metrics", lambda _call: Response.text("one 1\n")),
    Route("GET", "/broken", fails),
    Route("POST", "/echo", echo),
]


def site(token: str = "") -> Site:
    doorkeeper = Doorkeeper(AccessRules(token))
    return Site(doorkeeper, Pages((), has_login=doorkeeper.asks_for_token), ROUTES)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    server = HttpServer("127.0.0.1", 0, site())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def guarded() -> Iterator[HttpServer]:
    server = HttpServer("127.0.0.1", 0, site(TOKEN))
    server.start()
    yield server
    server.stop()


def ask(
    server: HttpServer, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[int, str, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body, response


def connect(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def raw(server: HttpServer, data: bytes) -> bytes:
    with connect(server) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    return answer


def test_a_page_and_what_is_none(server: HttpServer) -> None:
    status, body, response = ask(server)
    assert (status, body) == (200, "one 1\n")
    assert response.headers["Cache-Control"] == "no-store"
    assert ask(server, "/metrics?x=1")[0] == 200
    for path in ("/", "/metrics/", "/../etc/passwd", "//metrics", "/METRICS"):
        assert ask(server, path)[0] == 404
    assert ask(server, method="HEAD")[:2] == (200, "")
    status, _, response = ask(server, method="POST")
    assert (status, response.headers["Allow"]) == (405, "GET, HEAD")


def test_the_token_is_asked_for_on_every_path(guarded: HttpServer) -> None:
    wrong = (
        "",
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        TOKEN,
    )
    for path in ("/metrics", "/secret"):
        status, _, response = ask(guarded, path)
        assert (status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        for value in wrong:
            assert ask(guarded, path, Authorization=value)[0] == 401
    for scheme in ("Bearer", "bearer"):
        assert ask(guarded, Authorization=f"{scheme} {TOKEN}")[:2] == (200, "one 1\n")


def test_an_error_tells_nothing_outside(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    status, body, _ = ask(server, "/broken")
    assert (status, body) == (500, "Internal Server Error\n")
    assert "unexpected ValueError" in caplog.text
    assert "Doe" not in caplog.text


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
        ("GET /mätrics HTTP/1.1\r\n\r\n".encode(), b"400"),
        (b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 20_000, b"431"),
    ],
)
def test_nonsense_is_answered_and_harmless(server: HttpServer, data: bytes, status: bytes) -> None:
    assert raw(server, data).startswith(b"HTTP/1.1 " + status)
    assert ask(server)[0] == 200


def test_a_request_may_come_in_pieces(server: HttpServer) -> None:
    with connect(server) as connection:
        for byte in b"GET /metrics HTTP/1.1\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_slow_loris_is_cut_off_however_it_dribbles(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.5)
    began = time.monotonic()
    with connect(server) as loris:
        loris.settimeout(0.05)
        loris.sendall(b"GET /metrics HTTP/1.1\r\n")
        closed = False
        while not closed and time.monotonic() - began < 10:
            try:
                loris.sendall(b"X: y\r\n")  # never silent for long
                closed = loris.recv(1) == b""
            except TimeoutError:
                assert ask(server)[0] == 200
            except OSError:
                closed = True
    assert closed
    assert time.monotonic() - began < 5


def test_hundreds_of_silent_connections_keep_nobody_out(server: HttpServer) -> None:
    with ExitStack() as open_ones:
        for _ in range(300):
            open_ones.enter_context(connect(server))
        began = time.monotonic()
        for _ in range(5):
            assert ask(server)[0] == 200
        assert time.monotonic() - began < 2
    until(lambda: server._server._connections == 0)
    assert not server._server._silent


def test_a_taken_port_is_a_sentence(server: HttpServer) -> None:
    with pytest.raises(WebError, match=f"can't serve the page on 127.0.0.1:{server.port}"):
        HttpServer("127.0.0.1", server.port, site())

"""Who is let in, and what another site's page can make a browser do: nothing."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest

from dicomnode.web import doorkeeper as module
from dicomnode.web.doorkeeper import AccessRules, Doorkeeper
from dicomnode.web.http_server import HttpServer
from dicomnode.web.messages import Response
from dicomnode.web.site import Call, Pages, Route, Site, log_out

TOKEN = "a-long-token"
Start = Callable[[AccessRules], "Client"]


class Client:
    """A browser without a screen: keeps no cookie by itself."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body.encode() or None, named)
        response = connection.getresponse()
        response.content = response.read().decode()  # type: ignore[attr-defined]
        connection.close()
        return response

    def text(self, path: str, **headers: str) -> str:
        return str(self.ask(path, **headers).content)  # type: ignore[attr-defined]

    def log_in(self, token: str = TOKEN, place: str = "/", **headers: str) -> http.client.HTTPResponse:
        own = {"Sec_Fetch_Site": "same-origin", **headers}
        return self.ask(f"/login?{urlencode({'next': place})}", "POST", urlencode({"token": token}), **own)


def hello(call: Call) -> Response:
    return Response.text(f"hello {call.visitor.name}")


@pytest.fixture
def start() -> Iterator[Start]:
    servers = []

    def begin(rules: AccessRules) -> Client:
        keeper = Doorkeeper(rules)
        routes = [
            Route("GET", "/", hello),
            Route("GET", "/series/{series}", lambda call: Response.text(call.words["series"])),
            Route("POST", "/change", lambda _call: Response.text("changed")),
            Route("POST", "/logout", log_out),
        ]
        server = HttpServer("127.0.0.1", 0, Site(keeper, Pages((), has_login=keeper.asks_for_token), routes))
        server.start()
        servers.append(server)
        return Client(server.port)

    yield begin
    for server in servers:
        server.stop()


def test_a_browser_is_sent_to_log_in_and_back(start: Start) -> None:
    client = start(AccessRules(TOKEN))
    asked = client.ask("/series/0f?x=1", Accept="text/html")
    assert (asked.status, asked.headers["Location"]) == (303, "/login?next=/series/0f%3Fx%3D1")
    form = client.ask("/login?next=/series/0f%3Fx%3D1", Accept="text/html")
    assert form.status == 200
    done = client.log_in(place="/series/0f?x=1")
    assert (done.status, done.headers["Location"]) == (303, "/series/0f?x=1")
    cookie = done.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    session = cookie.split(";")[0]
    assert client.text("/series/0f", Cookie=f"other=1; {session}") == "0f"
    gone = client.ask("/logout", "POST", Cookie=session, Sec_Fetch_Site="same-origin")
    assert gone.headers["Set-Cookie"].startswith("dicomnode_session=;")
    assert client.ask("/series/0f", Cookie=session).status == 401


def test_a_session_ends(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    client = start(AccessRules(TOKEN))
    monkeypatch.setattr(module, "SESSION_SECONDS", -1.0)
    session = client.log_in().headers["Set-Cookie"].split(";")[0]
    assert client.ask("/", Cookie=session).status == 401


@pytest.mark.parametrize(
    "place", ["//evil.example/x", "https://evil.example", "/\\evil.example", "", "/a\r\nb"]
)
def test_nobody_is_sent_elsewhere_after_logging_in(start: Start, place: str) -> None:
    assert start(AccessRules(TOKEN)).log_in(place=place).headers["Location"] == "/"


def test_a_wrong_token_is_no_session_and_guessing_ends(start: Start) -> None:
    client = start(AccessRules(TOKEN))
    for _ in range(module.WRONG_TOKENS):
        wrong = client.log_in("guess")
        assert (wrong.status, wrong.headers["Set-Cookie"]) == (401, None)
    assert client.log_in("guess").status == 429
    assert client.log_in(TOKEN).status == 429, "else the answer would tell the right one"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "none"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "http://127.0.0.1"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost:1", "Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_only_the_page_itself_changes_something(start: Start, headers: dict[str, str], status: int) -> None:
    assert start(AccessRules()).ask("/change", "POST", **headers).status == status


def test_a_program_with_the_token_needs_no_page(start: Start) -> None:
    client = start(AccessRules(TOKEN))
    assert client.ask("/change", "POST", Authorization=f"Bearer {TOKEN}").status == 200
    session = client.log_in().headers["Set-Cookie"].split(";")[0]
    assert client.ask("/change", "POST", Cookie=session, Sec_Fetch_Site="cross-site").status == 403
    assert client.log_in(Sec_Fetch_Site="cross-site").status == 403


def test_a_foreign_name_for_this_machine_is_not_served(start: Start) -> None:
    client = start(AccessRules())
    for host in ("localhost", "127.0.0.1:8104", "[::1]:8104", "LOCALHOST"):
        assert client.ask("/", Host=host).status == 200, host
    for host in ("evil.example", "localhost.evil.example", "[", ""):
        assert client.ask("/", Host=host).status == 421, host


def test_a_reverse_proxy_says_who_it_is_and_nobody_else(start: Start) -> None:
    by_proxy = start(AccessRules(proxy_addresses=["127.0.0.0/8"], proxy_user_header="X-Remote-User"))
    assert by_proxy.text("/", X_Remote_User="jones", Host="node.example") == "hello jones"
    assert by_proxy.ask("/", X_Forwarded_User="jones").status == 403
    assert by_proxy.ask("/").status == 403
    elsewhere = start(AccessRules(TOKEN, ["192.0.2.7"]))
    assert elsewhere.ask("/", X_Forwarded_User="jones").status == 401
    assert elsewhere.text("/", X_Forwarded_User="jones", Authorization=f"Bearer {TOKEN}") == "hello "


def test_every_answer_forbids_scripts_of_others(start: Start) -> None:
    client = start(AccessRules(TOKEN))
    for path in ("/", "/login", "/nowhere", "/assets/page.css", "/assets/nothing.css"):
        headers = client.ask(path, Accept="text/html").headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_path_can_not_leave_the_assets(start: Start) -> None:
    client = start(AccessRules())
    for path in ("/assets/../site.py", "/assets/%2e%2e/site.py", "/assets/", "/assets//etc/passwd"):
        assert client.ask(path).status == 404
    sheet = client.ask("/assets/page.css")
    assert sheet.headers["Content-Type"].startswith("text/css")
    assert sheet.headers["Cache-Control"] == "no-cache"


def test_a_form_that_is_too_long_is_not_read(start: Start) -> None:
    client = start(AccessRules(TOKEN))
    assert client.log_in("x" * 20_000).status == 413
    chunked = client.ask("/login", "POST", Transfer_Encoding="chunked")
    assert chunked.status == 501

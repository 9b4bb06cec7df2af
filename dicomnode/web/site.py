"""Which page answers which request, for whom, and with which headers."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from dicomnode import __version__
from dicomnode.spool.errors import LedgerError, LedgerUnavailableError
from dicomnode.web import words
from dicomnode.web.doorkeeper import COOKIE, SESSION_SECONDS, Doorkeeper, Visitor
from dicomnode.web.messages import HTML, HttpError, Request, Response

LOGGER = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
LOCAL_PLACE = re.compile(r"/(?!/)[A-Za-z0-9._/?=&%+-]*")
ASSET_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FOREVER = "private, max-age=31536000, immutable"


@dataclass(frozen=True)
class Call:
    """A request with what the pages need to know of it; ``words`` are the parts of the path."""

    request: Request
    visitor: Visitor
    words: Mapping[str, str]


Handler = Callable[[Call], Response]


@dataclass(frozen=True)
class Route:
    """A handler for a method and a path; ``{name}`` in the path stands for a word of it."""

    method: str
    path: str
    handler: Handler

    @property
    def pattern(self) -> re.Pattern[str]:
        """The path as a pattern for a whole path."""
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[A-Za-z0-9._-]+)", re.escape(self.path)))


class Pages:
    """The templates, and the files that they refer to.

    Parameters
    ----------
    navigation:
        (path, title) of the pages that each page links to.
    """

    def __init__(self, navigation: Sequence[tuple[str, str]], *, has_login: bool) -> None:
        self._assets = _read_assets()
        self._environment = Environment(
            loader=PackageLoader("dicomnode.web"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._environment.filters.update(words.FILTERS)
        self._environment.globals.update(
            asset=self._asset_path, navigation=navigation, has_login=has_login, version=__version__
        )

    def page(self, template: str, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> Response:
        """A template, filled in."""
        text = self._environment.get_template(template).render(**values)
        return Response.text(text, status, HTML)

    def asset(self, name: str, query: str) -> Response:
        """A style sheet, script or drawing."""
        if name not in self._assets:
            raise HttpError(HTTPStatus.NOT_FOUND)
        content, content_type, digest = self._assets[name]
        fresh = {"Cache-Control": FOREVER if query == digest else "no-cache"}
        return Response(content, content_type=content_type, headers=fresh)

    def _asset_path(self, name: str) -> str:
        return f"/assets/{name}?{self._assets[name][2]}"


class Site:
    """Answers requests; callable from many threads.

    Parameters
    ----------
    routes:
        For visitors who were let in.
    """

    def __init__(self, doorkeeper: Doorkeeper, pages: Pages, routes: Sequence[Route]) -> None:
        self._doorkeeper = doorkeeper
        self._pages = pages
        self._routes = [(route, route.pattern) for route in routes]

    def __call__(self, request: Request) -> Response:
        """The answer, with the headers that keep the browser from being used against the visitor."""
        try:
            response = self._answer(request)
        except HttpError as error:
            response = self._explained(request, error)
        return replace(response, headers={**SECURITY_HEADERS, **response.headers})

    def _answer(self, request: Request) -> Response:
        if request.path.startswith("/assets/") and request.method in ("GET", "HEAD"):
            return self._pages.asset(request.path.removeprefix("/assets/"), request.query_string)
        if request.path == "/login" and self._doorkeeper.asks_for_token:
            return self._log_in(request)
        visitor = self._doorkeeper.admit(request)
        if visitor is None:
            return self._ask_who_it_is(request)
        call, route = self._find(request, visitor)
        if route.method == "POST":
            self._doorkeeper.check_origin(request, visitor)
        if request.path == "/logout":
            self._doorkeeper.close_session(request)
        return route.handler(call)

    def _find(self, request: Request, visitor: Visitor) -> tuple[Call, Route]:
        method = "GET" if request.method == "HEAD" else request.method
        allowed: set[str] = set()
        for route, pattern in self._routes:
            match = pattern.fullmatch(request.path)
            if match and route.method == method:
                return Call(request, visitor, match.groupdict()), route
            if match:
                allowed.update(("GET", "HEAD") if route.method == "GET" else (route.method,))
        if allowed:
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, Allow=", ".join(sorted(allowed)))
        raise HttpError(HTTPStatus.NOT_FOUND)

    def _ask_who_it_is(self, request: Request) -> Response:
        if request.wants_html and request.method in ("GET", "HEAD"):
            whole = f"{request.path}?{request.query_string}" if request.query_string else request.path
            return Response.see_other(f"/login?next={quote(whole, safe='/')}")
        raise HttpError(HTTPStatus.UNAUTHORIZED, WWW_Authenticate="Bearer")

    def _log_in(self, request: Request) -> Response:
        place = request.query.get("next", "/")
        if not LOCAL_PLACE.fullmatch(place):
            place = "/"
        if request.method in ("GET", "HEAD"):
            return self._pages.page("login.html", title="Log in", next=place, is_wrong=False)
        if request.method != "POST":
            raise HttpError(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD, POST")
        self._doorkeeper.check_origin(request, Visitor())
        session = self._doorkeeper.open_session(request, request.body.form().get("token", ""))
        if session is None:
            status = HTTPStatus.UNAUTHORIZED
            return self._pages.page("login.html", status, title="Log in", next=place, is_wrong=True)
        cookie = f"{COOKIE}={session}; Path=/; Max-Age={SESSION_SECONDS:.0f}; HttpOnly; SameSite=Strict"
        return Response.see_other(place, Set_Cookie=cookie)

    def _explained(self, request: Request, error: HttpError) -> Response:
        """For a person as a page, else as plain text."""
        if not request.wants_html or error.status is HTTPStatus.UNAUTHORIZED:
            return error.response
        title = error.status.phrase
        said = str(error) if str(error) != title else ""
        page = self._pages.page("error.html", error.status, title=title, said=said)
        return replace(page, headers=error.headers)


def log_out(_call: Call) -> Response:
    """The cookie is deleted, too."""
    return Response.see_other("/login", Set_Cookie=f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")


def asking_the_ledger(handler: Handler) -> Handler:
    """A handler whose questions about unknown series, or to a ledger that is busy, are answered in words."""

    def answer(call: Call) -> Response:
        try:
            return handler(call)
        except LedgerUnavailableError as error:
            LOGGER.error("the page can't read the ledger: %s", error)
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "The ledger doesn't answer now.") from error
        except LedgerError as error:
            raise HttpError(HTTPStatus.NOT_FOUND, f"{error}.") from error

    return answer


def _read_assets() -> dict[str, tuple[bytes, str, str]]:
    """Content, type and digest by name."""
    found = {}
    for file in resources.files("dicomnode.web").joinpath("assets").iterdir():
        ending = "." + file.name.rpartition(".")[2]
        if ending in ASSET_TYPES:
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:12]
            found[file.name] = (content, ASSET_TYPES[ending], digest)
    return found

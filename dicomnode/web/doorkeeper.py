"""Who may see the page and press its buttons."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from dicomnode.web.messages import HttpError, Request

COOKIE = "dicomnode_session"
SESSION_SECONDS = 12 * 3600.0
MAXIMUM_SESSIONS = 256
WRONG_TOKENS = 30
"""So many from one address within a minute; after that it must wait."""

OWN_NAMES = ("127.0.0.1", "localhost", "::1")

_MINUTE = 60.0
_MAXIMUM_ADDRESSES = 1024


@dataclass(frozen=True)
class Visitor:
    """Somebody who was let in.

    Parameters
    ----------
    name:
        As the reverse proxy says; empty where nobody says.
    is_program:
        Sent the token with the request itself, which no other site's page can make a browser do.
    """

    name: str = ""
    is_program: bool = False


@dataclass(frozen=True)
class AccessRules:
    """What is asked of visitors.

    Parameters
    ----------
    token:
        Empty: none is asked for.
    proxy_addresses:
        Addresses and networks of reverse proxies that have already asked who it is.
    proxy_user_header:
        Where such a proxy says it.
    """

    token: str = ""
    proxy_addresses: Sequence[str] = ()
    proxy_user_header: str = "X-Forwarded-User"


class Doorkeeper:
    """Lets in by token, by the cookie that a token was exchanged for, or by the word of a reverse proxy.

    With neither token nor proxy everybody who reaches the page is let in, but only under a name of this
    machine: else a foreign page whose name is made to point here could read it (DNS rebinding).
    """

    def __init__(self, rules: AccessRules, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = rules.token.encode()
        self._proxies = [ipaddress.ip_network(address, strict=False) for address in rules.proxy_addresses]
        self._header = rules.proxy_user_header.lower()
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, float] = OrderedDict()
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def asks_for_token(self) -> bool:
        """Whether there is a token."""
        return bool(self._token)

    def admit(self, request: Request) -> Visitor | None:
        """Who it is, or ``None`` for somebody who must say so first.

        Raises
        ------
        HttpError
            If nothing that the visitor could say would help.
        """
        name = request.headers.get(self._header, "") if self._comes_by_proxy(request) else ""
        if name:
            return Visitor(name)
        if not self._token:
            if self._proxies:
                raise HttpError(HTTPStatus.FORBIDDEN, "This page is reached by its reverse proxy only.")
            self._check_name(request)
            return Visitor()
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return Visitor(is_program=True) if self._is_token(request, token.strip()) else None
        return Visitor() if self._has_session(request.cookie(COOKIE)) else None

    def check_origin(self, request: Request, visitor: Visitor) -> None:
        """What changes something must come from a page of this server, not from another site's.

        Raises
        ------
        HttpError
            If it doesn't.
        """
        if visitor.is_program:
            return
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin", "")
        same = urlsplit(origin).netloc == request.headers.get("host", "") != ""
        if site is None and same:
            return
        if site != "same-origin":
            raise HttpError(HTTPStatus.FORBIDDEN, "This can only be asked for on the page itself.")

    def open_session(self, request: Request, token: str) -> str | None:
        """Value of the cookie for a visitor with the right token; ``None`` for a wrong one."""
        if not self._token or not self._is_token(request, token):
            return None
        session = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._sessions) >= MAXIMUM_SESSIONS:
                self._sessions.popitem(last=False)
            self._sessions[session] = self._clock() + SESSION_SECONDS
        return session

    def close_session(self, request: Request) -> None:
        """The visitor's cookie is worth nothing any more."""
        with self._lock:
            self._sessions.pop(request.cookie(COOKIE), None)

    def _has_session(self, session: str) -> bool:
        with self._lock:
            return self._sessions.get(session, 0.0) > self._clock()

    def _is_token(self, request: Request, token: str) -> bool:
        """Compared in constant time; who guesses often must wait."""
        with self._lock:
            wrong = self._wrong.setdefault(request.address, deque(maxlen=WRONG_TOKENS))
            self._wrong.move_to_end(request.address)
            if len(self._wrong) > _MAXIMUM_ADDRESSES:
                self._wrong.popitem(last=False)
            if len(wrong) == WRONG_TOKENS and wrong[0] > self._clock() - _MINUTE:
                raise HttpError(HTTPStatus.TOO_MANY_REQUESTS, Retry_After="60")
            is_right = hmac.compare_digest(token.encode("utf-8", "replace"), self._token)
            if not is_right:
                wrong.append(self._clock())
            return is_right

    def _comes_by_proxy(self, request: Request) -> bool:
        if not self._proxies:
            return False
        address = ipaddress.ip_address(request.address.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in self._proxies)

    def _check_name(self, request: Request) -> None:
        try:
            name = urlsplit(f"//{request.headers.get('host', OWN_NAMES[0])}").hostname
        except ValueError:
            name = None
        if name not in OWN_NAMES:
            raise HttpError(HTTPStatus.MISDIRECTED_REQUEST, "Ask for this page as localhost.")

"""Requests to a site without a network."""

from __future__ import annotations

import socket

from dicomnode.web.messages import Body, Request, Response
from dicomnode.web.site import Site

OWN_PAGE = {"host": "localhost", "accept": "text/html", "sec-fetch-site": "same-origin"}


def ask(site: Site, place: str, method: str = "GET", content: bytes = b"", **headers: str) -> Response:
    """What the site answers to a browser on one of its own pages."""
    path, _, query = place.partition("?")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        body = Body(ours, content, len(content))
        return site(Request(method, path, query, {**OWN_PAGE, **headers}, "127.0.0.1", body))


def text_of(site: Site, place: str) -> str:
    """The page, which must be there."""
    response = ask(site, place)
    assert response.status == 200, response.body.decode()
    return response.body.decode()

"""The page is there without being asked for, and never keeps the node from starting."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from dicomnode.config import Config
from dicomnode.config_sections import Web
from dicomnode.monitoring import _listen
from dicomnode.web.http_server import WebError
from dicomnode.web.messages import Request, Response


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def answer(_request: Request) -> Response:
    return Response(b"")


def test_it_is_there_by_default_and_on_loopback() -> None:
    web = Config().web
    assert (web.host, web.port != 0, web.identifiers) == ("127.0.0.1", True, False)


def test_a_port_that_nobody_asked_for_may_be_taken(taken: int, caplog: pytest.LogCaptureFixture) -> None:
    assert _listen(Web.model_construct(set(), port=taken), answer) is None
    assert "the node works without its page" in caplog.text


def test_a_port_that_was_asked_for_may_not(taken: int) -> None:
    with pytest.raises(WebError, match=f"can't serve the page on 127.0.0.1:{taken}"):
        _listen(Web(port=taken), answer)

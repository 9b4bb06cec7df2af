"""Addresses of peers, and C-ECHO with its plain sentences."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dicomnode.deliver.peer import Peer, echo, parse_peer
from tests.dicom_network import free_port, storescp


@pytest.mark.parametrize(
    ("text", "ae_title", "host", "port"),
    [
        ("ORTHANC@127.0.0.1:4242", "ORTHANC", "127.0.0.1", 4242),
        ("MY PACS@pacs.example.org:104", "MY PACS", "pacs.example.org", 104),
        ("A@[2001:db8::1]:11112", "A", "2001:db8::1", 11112),
    ],
)
def test_addresses_are_read_and_written(text: str, ae_title: str, host: str, port: int) -> None:
    peer = parse_peer(text, calling_ae_title="ME")
    assert (peer.ae_title, peer.host, peer.port, peer.calling_ae_title) == (ae_title, host, port, "ME")
    assert str(peer) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "A@b",
        "A@b:",
        "@b:1",
        "A@:1",
        "A@b:0",
        "A@b:65536",
        "A@b:x",
        "SEVENTEENLETTERSX@b:1",
        "A@::1:1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"peer is written|port is|AE title has"):
        parse_peer(text)


def test_echo_of_a_peer_that_is_there(tmp_path: Path) -> None:
    with storescp(tmp_path) as (port, _):
        assert echo(Peer("ANY", "127.0.0.1", port)) is None


def test_echo_of_a_peer_that_is_not_there() -> None:
    port = free_port()
    assert (
        echo(Peer("PACS", "127.0.0.1", port)) == f"PACS@127.0.0.1:{port}: no connection, or no DICOM answer"
    )


def test_echo_of_a_host_that_does_not_exist() -> None:
    message = echo(Peer("PACS", "no-such-host.invalid", 104))
    assert message is not None
    assert "no-such-host.invalid" in message


def test_echo_of_something_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        peer = Peer("PACS", "127.0.0.1", mute.getsockname()[1], answer_seconds=0.5)
        assert "no DICOM answer" in (echo(peer) or "")


def test_echo_of_a_peer_with_another_name(tmp_path: Path) -> None:
    from tests.deliver.test_delivery import receiving_node  # noqa: PLC0415

    with receiving_node(tmp_path) as node:
        assert "it has another AE title" in (echo(Peer("WRONG", "127.0.0.1", node.port)) or "")

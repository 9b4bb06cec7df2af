"""TLS towards a PACS: dcmtk's storescp with right and wrong certificates, and a sentence for each failure."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicomnode.deliver.peer import Peer, echo
from dicomnode.deliver.sender import send_files
from dicomnode.tls import client_tls
from tests.certificates import Certificate, House
from tests.dicom_network import free_port, installed, is_listening, make_ct, storescp, until


def pacs(house: House, who: Certificate, *options: str) -> tuple[str, ...]:
    """Options of a storescp that asks for certificates of the hospital."""
    return ("+tls", str(who.key), str(who.cert), "+cf", str(house.hospital.ca), *options)


def answer(port: int, tls: object, host: str = "127.0.0.1") -> str:
    return echo(Peer("PACS", host, port, tls=tls, connect_seconds=5, answer_seconds=5)) or ""  # type: ignore[arg-type]


def test_a_file_is_delivered_with_certificates_on_both_sides(tmp_path: Path, house: House) -> None:
    path = tmp_path / "slice.dcm"
    make_ct().save_as(path, enforce_file_format=True)
    tls = client_tls(house.scanner.cert, house.scanner.key, house.hospital.ca, check_host=True)
    with storescp(tmp_path, *pacs(house, house.node)) as (port, received):
        (outcome,) = send_files([path], Peer("PACS", "127.0.0.1", port, tls=tls))
        assert outcome.ok, outcome.error
        until(lambda: len(list(received.iterdir())) == 1)


def test_a_pacs_that_is_not_trusted_gets_nothing(tmp_path: Path, house: House) -> None:
    path = tmp_path / "slice.dcm"
    make_ct().save_as(path, enforce_file_format=True)
    tls = client_tls(house.scanner.cert, house.scanner.key, house.hospital.ca)
    with storescp(tmp_path, *pacs(house, house.foreign)) as (port, received):
        (outcome,) = send_files([path], Peer("PACS", "127.0.0.1", port, tls=tls))
        assert "TLS failed, its certificate is not signed by an authority that is trusted" in outcome.error
        assert list(received.iterdir()) == []


@pytest.mark.parametrize(
    ("who", "told"),
    [
        ("foreign", "its certificate is not signed by an authority that is trusted here"),
        ("expired_node", "its certificate has expired"),
        ("future", "its certificate is not valid yet"),
    ],
)
def test_a_wrong_certificate_of_the_pacs(tmp_path: Path, house: House, who: str, told: str) -> None:
    tls = client_tls(house.scanner.cert, house.scanner.key, house.hospital.ca)
    with storescp(tmp_path, *pacs(house, getattr(house, who))) as (port, _):
        assert f"PACS@127.0.0.1:{port}: TLS failed, {told}" in answer(port, tls)


@pytest.mark.parametrize(("who", "told"), [("foreign", "our certificate"), ("expired", "our certificate")])
def test_a_wrong_certificate_of_ours(tmp_path: Path, house: House, who: str, told: str) -> None:
    ours: Certificate = getattr(house, who)
    with storescp(tmp_path, *pacs(house, house.node)) as (port, _):
        assert told in answer(port, client_tls(ours.cert, ours.key, house.hospital.ca))
        assert "a certificate" in answer(port, client_tls(ca=house.hospital.ca))
        assert answer(port, client_tls(house.scanner.cert, house.scanner.key, house.hospital.ca)) == ""


def test_the_name_in_the_certificate(tmp_path: Path, house: House) -> None:
    ours = (house.scanner.cert, house.scanner.key, house.hospital.ca)
    with storescp(tmp_path, *pacs(house, house.node)) as (port, _):
        assert answer(port, client_tls(*ours), "localhost") == ""
        assert "for another name" in answer(port, client_tls(*ours, check_host=True), "localhost")
        # Without ca anybody's certificate of the public authorities would do, so the name must be right.
        assert client_tls().check_hostname


def test_tls_to_a_plain_pacs(tmp_path: Path, house: House) -> None:
    with storescp(tmp_path) as (port, _):
        assert "TLS failed, it hung up during the handshake" in answer(port, client_tls(ca=house.hospital.ca))


@contextmanager
def old_server(house: House, *options: str) -> Iterator[int]:
    port = free_port()
    command = [installed("openssl"), "s_server", "-accept", str(port), "-quiet", *options]
    command += ["-cert", str(house.node.cert), "-key", str(house.node.key)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: is_listening(port))
        yield port
    finally:
        running.kill()
        running.wait()


def test_a_pacs_that_speaks_only_tls_1_1(house: House) -> None:
    with old_server(house, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0") as port:
        assert "TLS failed, it does not speak TLS 1.2 or newer" in answer(
            port, client_tls(ca=house.hospital.ca)
        )


def test_a_pacs_without_forward_secrecy(house: House) -> None:
    with old_server(house, "-tls1_2", "-cipher", "AES128-SHA") as port:
        assert "TLS failed, it refuses the handshake" in answer(port, client_tls(ca=house.hospital.ca))

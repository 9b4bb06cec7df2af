"""TLS towards senders: dcmtk's storescu and openssl's s_client with right and wrong certificates.

Whatever is wrong: nothing is stored, the log says why, and the next good sender is served.
"""

from __future__ import annotations

import logging
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dicomnode.tls import server_tls
from tests.certificates import Authority, Certificate, House
from tests.dicom_network import Node, NodeFactory, installed, make_ct, until


@pytest.fixture
def slice_file(tmp_path: Path) -> Path:
    path = tmp_path / "slice.dcm"
    make_ct().save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def secured(start_node: NodeFactory, house: House) -> Node:
    """A node that wants certificates."""
    return start_node(tls=server_tls(house.node.cert, house.node.key, house.hospital.ca, require_client=True))


def with_certificate(who: Certificate, trusted: Authority) -> tuple[str | Path, ...]:
    return ("+tls", who.key, who.cert, "+cf", trusted.ca)


def openssl(node: Node, *options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [installed("openssl"), "s_client", "-connect", f"127.0.0.1:{node.port}", *map(str, options)]
    return subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)


def assert_good_sender_is_served(node: Node, house: House, slice_file: Path) -> None:
    run = node.dcmtk("storescu", *with_certificate(house.scanner, house.hospital), slice_file)
    assert run.returncode == 0, run.stderr
    assert len(node.instances()) == 1


@pytest.mark.parametrize("profile", ["+py", "+px", "+pz"])
@pytest.mark.parametrize("who", ["scanner", "rsa_scanner"])
def test_a_good_certificate_in_each_profile_of_dcmtk(
    secured: Node, house: House, slice_file: Path, who: str, profile: str
) -> None:
    options = with_certificate(getattr(house, who), house.hospital)
    run = secured.dcmtk("storescu", *options, profile, slice_file)
    assert run.returncode == 0, run.stderr
    assert len(secured.instances()) == 1


MATRIX: dict[str, tuple[Callable[[House], tuple[str | Path, ...]], str]] = {
    "no certificate": (
        lambda h: ("+tla", "+cf", h.hospital.ca),
        "it has no certificate, and one is required",
    ),
    "certificate of a stranger": (
        lambda h: with_certificate(h.foreign, h.hospital),
        "not signed by an authority that is trusted here",
    ),
    "the sender trusts a stranger": (
        lambda h: with_certificate(h.scanner, h.stranger),
        "it does not trust the authority of our certificate",
    ),
    "expired": (lambda h: with_certificate(h.expired, h.hospital), "its certificate has expired"),
    "not yet valid": (lambda h: with_certificate(h.future, h.hospital), "not valid yet, or a clock is wrong"),
    "RSA of 1024 bits": (
        lambda h: with_certificate(h.short_key, h.hospital),
        "the key of its certificate is too short",
    ),
    "certificate for servers only": (
        lambda h: with_certificate(h.server_only, h.hospital),
        "not meant for this use (extended key usage)",
    ),
    "CBC suites of the retired AES profile": (
        lambda h: (*with_certificate(h.scanner, h.hospital), "+pa"),
        "none of the allowed cipher suites",
    ),
    "no TLS at all": (lambda _: (), "it does not speak TLS"),
}


@pytest.mark.parametrize("case", MATRIX)
def test_what_is_turned_away(
    secured: Node, house: House, slice_file: Path, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    options, told = MATRIX[case]
    with caplog.at_level(logging.WARNING, "dicomnode"):
        run = secured.dcmtk("storescu", *options(house), slice_file)
        assert run.returncode != 0
        until(lambda: told in caplog.text)
    assert "Secret" not in caplog.text
    assert secured.instances() == []
    assert_good_sender_is_served(secured, house, slice_file)


def test_the_sender_sees_that_the_node_has_expired(
    start_node: NodeFactory, house: House, slice_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = start_node(tls=server_tls(house.expired_node.cert, house.expired_node.key))
    with caplog.at_level(logging.WARNING, "dicomnode"):
        run = node.dcmtk("storescu", *with_certificate(house.scanner, house.hospital), slice_file)
        assert "certificate verify failed" in run.stderr
        until(lambda: "it says that our certificate has expired" in caplog.text)
    assert node.instances() == []


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(
    secured: Node, house: House, slice_file: Path, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    with caplog.at_level(logging.WARNING, "dicomnode"):
        run = openssl(secured, version, "-cipher", "ALL:@SECLEVEL=0")
        assert run.returncode != 0
        assert "alert protocol version" in run.stderr
        until(lambda: "nothing newer than TLS 1.1" in caplog.text)
    assert_good_sender_is_served(secured, house, slice_file)


@pytest.mark.parametrize(
    ("version", "suite"), [("-tls1_2", "ECDHE-ECDSA-AES"), ("-tls1_3", "TLS_AES_256_GCM")]
)
def test_versions_that_are_spoken(secured: Node, house: House, version: str, suite: str) -> None:
    who = ("-cert", house.scanner.cert, "-key", house.scanner.key, "-CAfile", house.hospital.ca)
    run = openssl(secured, version, *who)
    assert suite in run.stdout
    assert "Verify return code: 0 (ok)" in run.stdout
    assert "Compression: NONE" in run.stdout
    assert "session ticket" not in run.stdout.lower()


@pytest.mark.parametrize(
    "suite", ["DHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "aNULL"]
)
def test_suites_without_forward_secrecy_or_authenticated_encryption_are_refused(
    secured: Node, suite: str
) -> None:
    run = openssl(secured, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
    assert "handshake failure" in run.stderr


def test_the_sender_cannot_renegotiate(secured: Node, house: House) -> None:
    who = ("-cert", house.scanner.cert, "-key", house.scanner.key)
    command = [
        installed("openssl"),
        "s_client",
        "-tls1_2",
        "-connect",
        f"127.0.0.1:{secured.port}",
        *map(str, who),
    ]
    client = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    told, _ = client.communicate("R\n", timeout=30)  # s_client renegotiates at this line
    assert "no renegotiation" in told


def test_certificates_are_optional_where_none_is_required(
    start_node: NodeFactory, house: House, slice_file: Path
) -> None:
    node = start_node(tls=server_tls(house.node.cert, house.node.key, house.hospital.ca))
    assert node.dcmtk("storescu", "+tla", "+cf", house.hospital.ca, slice_file).returncode == 0
    assert node.dcmtk("echoscu", *with_certificate(house.foreign, house.hospital)).returncode != 0


def test_tls_to_the_plain_port(
    start_node: NodeFactory, house: House, slice_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = start_node()
    with caplog.at_level(logging.WARNING, "dicomnode"):
        run = node.dcmtk("storescu", *with_certificate(house.scanner, house.hospital), slice_file)
        assert run.returncode != 0
        until(lambda: "it speaks TLS, this port does not" in caplog.text)
    assert node.instances() == []
    assert node.dcmtk("storescu", slice_file).returncode == 0


def test_a_handshake_that_stalls_holds_up_nobody(
    start_node: NodeFactory, house: House, slice_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tls = server_tls(house.node.cert, house.node.key, house.hospital.ca, require_client=True)
    node = start_node(tls=tls, negotiation_seconds=2)
    with caplog.at_level(logging.WARNING, "dicomnode"):
        silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(8)]
        assert_good_sender_is_served(node, house, slice_file)
        until(lambda: caplog.text.count("nothing came in time") == len(silent))
    for connection in silent:
        connection.close()


def test_client_certificates_need_an_authority(house: House) -> None:
    with pytest.raises(ValueError, match="ca"):
        server_tls(house.node.cert, house.node.key, require_client=True)

"""Who is let in, and what the others are told."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dicomnode.deliver.peer import Peer, client_tls, echo
from dicomnode.receive.access import AccessPolicy, server_tls
from tests.dicom_network import NodeFactory, associate


@pytest.mark.parametrize(
    ("addresses", "peer", "allowed"),
    [
        ((), "203.0.113.9", True),
        (("192.0.2.7",), "192.0.2.7", True),
        (("192.0.2.7",), "192.0.2.8", False),
        (("192.0.2.0/24", "2001:db8::/32"), "192.0.2.200", True),
        (("192.0.2.0/24", "2001:db8::/32"), "2001:db8::1", True),
        (("192.0.2.0/24",), "2001:db8::1", False),
        (("192.0.2.0/24",), "::ffff:192.0.2.5", True),
        (("fe80::/10",), "fe80::1%eth0", True),
    ],
)
def test_addresses(addresses: tuple[str, ...], peer: str, allowed: bool) -> None:
    assert AccessPolicy("NODE", addresses=addresses).address_is_allowed(peer) is allowed


@pytest.mark.parametrize(
    ("called", "calling", "address", "answer"),
    [
        ("NODE", "CT1", "192.0.2.1", None),
        ("NODE            ", " CT1 ", "192.0.2.1", None),
        ("OTHER", "CT1", "192.0.2.1", (1, 1, 7)),
        ("node", "CT1", "192.0.2.1", (1, 1, 7)),
        ("NODE", "CT2", "192.0.2.1", (1, 1, 3)),
        ("NODE", "CT1", "198.51.100.1", (1, 1, 1)),
    ],
)
def test_rejections_have_the_right_reason(
    called: str, calling: str, address: str, answer: tuple[int, int, int] | None
) -> None:
    policy = AccessPolicy("NODE", ("CT1",), ("192.0.2.0/24",))
    rejection = policy.verdict(called, calling, address)
    assert (rejection and (rejection.result, rejection.source, rejection.reason)) == answer


def test_an_open_policy_says_so() -> None:
    assert AccessPolicy("NODE").is_open
    assert not AccessPolicy("NODE", addresses=("10.0.0.0/8",)).is_open


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="ten dot something"):
        AccessPolicy("NODE", addresses=("ten dot something",))


def test_the_wrong_called_ae_title_is_told_so(start_node: NodeFactory) -> None:
    run = start_node().dcmtk("echoscu", called="SOMEONE")
    assert "Called AE Title Not Recognized" in run.stderr


def test_an_unknown_calling_ae_title_is_told_so(start_node: NodeFactory) -> None:
    node = start_node(calling_ae_titles=("CT1",))
    assert "Calling AE Title Not Recognized" in node.dcmtk("echoscu").stderr
    assert node.dcmtk("echoscu", "-aet", "CT1").returncode == 0


def test_a_foreign_address_is_rejected(start_node: NodeFactory) -> None:
    node = start_node(addresses=("192.0.2.0/24",))
    assert "Association Rejected" in node.dcmtk("echoscu").stderr


def test_one_association_too_many_is_rejected_for_now(start_node: NodeFactory) -> None:
    node = start_node(max_associations=2)
    both = [associate(node), associate(node)]
    run = node.dcmtk("echoscu")
    assert "Rejected Transient" in run.stderr
    assert "Local Limit Exceeded" in run.stderr
    for association in both:
        association.release()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, each with a certificate for 127.0.0.1: ``a``, ``b``."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("a", "b"):
        base = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        subprocess.run([*base, *files, *subject], cwd=folder, check=True, capture_output=True)
    return folder


def test_tls_with_and_without_the_right_certificates(start_node: NodeFactory, certificates: Path) -> None:
    a, b = (certificates / "a.crt", certificates / "a.key"), (certificates / "b.crt", certificates / "b.key")
    node = start_node(tls=server_tls(*a, ca=a[0], require_client=True))

    def answer(tls: object) -> str | None:
        return echo(Peer("DICOMNODE", "127.0.0.1", node.port, tls=tls, connect_seconds=5, answer_seconds=5))  # type: ignore[arg-type]

    assert answer(client_tls(*a, ca=a[0])) is None
    assert answer(client_tls(*b, ca=a[0])) is not None  # a certificate of another authority
    assert answer(client_tls(ca=a[0])) is not None  # no certificate
    assert answer(client_tls(*a, ca=b[0])) is not None  # the node isn't who we trust
    assert answer(None) is not None  # plain DICOM on a TLS port
    run = node.dcmtk("echoscu", "+tls", a[1], a[0], "+cf", a[0])
    assert run.returncode == 0, run.stderr
    assert answer(client_tls(*a, ca=a[0])) is None


def test_client_certificates_need_an_authority(certificates: Path) -> None:
    with pytest.raises(ValueError, match="ca"):
        server_tls(certificates / "a.crt", certificates / "a.key", require_client=True)

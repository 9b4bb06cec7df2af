"""Certificates and open doors, as ``dicomnode check`` tells of them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicomnode.checkup import check_node
from dicomnode.checkup_tls import check_own_tls, check_tls_towards
from dicomnode.config import Config
from dicomnode.config_sections import Tls
from dicomnode.findings import Finding
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.spool.spool import Spool
from dicomnode.tls import server_tls
from tests.certificates import Certificate, House
from tests.dicom_network import DECODABLE


def sentences(findings: list[Finding], severity: str) -> str:
    return "\n".join(finding.sentence for finding in findings if finding.severity == severity)


def own(who: Certificate, **more: Any) -> list[Finding]:
    return list(check_own_tls("node.tls", Tls(cert=who.cert, key=who.key, **more)))


def test_sound_certificates(house: House) -> None:
    assert sentences(own(house.node, ca=house.hospital.ca, require_client=True), "wrong") == ""
    towards = list(check_tls_towards("pacs", Tls(cert=house.scanner.cert, key=house.scanner.key)))
    assert sentences(towards, "wrong") == ""


def test_dates(house: House) -> None:
    assert "has expired on 2020-02-01" in sentences(own(house.expired_node), "wrong")
    assert "not valid yet" in sentences(own(house.future), "wrong")
    before = time.time()
    short_lived = house.hospital.sign("short-lived", days=3)  # the house's own may have been made yesterday
    ends = {time.strftime("%Y-%m-%d", time.gmtime(now + 3 * 86400)) for now in (before, time.time())}
    told = sentences(own(short_lived), "note")
    assert any(f"expires on {day}, in 2 days" in told for day in ends), told
    long_lived = house.hospital.sign("long-lived", days=400)
    assert "is valid until" in sentences(own(long_lived), "ok")


def test_an_authority_that_has_expired(house: House) -> None:
    both = Tls(cert=house.node.cert, key=house.node.key, ca=house.expired_authority, require_client=True)
    assert "old authority in" in sentences(list(check_own_tls("node.tls", both)), "wrong")


def test_keys(house: House, tmp_path: Path) -> None:
    other = replace(house.node, key=house.scanner.key)
    assert "the key does not belong to the certificate" in sentences(own(other), "wrong")
    missing = replace(house.node, key=tmp_path / "nothing.key")
    assert "nothing.key can't be read" in sentences(own(missing), "wrong")
    public = replace(house.node, key=tmp_path / "public.key")
    public.key.write_bytes(house.node.key.read_bytes())
    public.key.chmod(0o644)
    assert "can be read by every user" in sentences(own(public), "wrong")
    assert "the key is too short" in sentences(own(house.short_key), "wrong")


def test_a_certificate_for_another_use(house: House) -> None:
    assert sentences(own(house.server_only), "wrong") == ""
    tls = Tls(cert=house.server_only.cert, key=house.server_only.key)
    told = sentences(list(check_tls_towards("pacs", tls)), "wrong")
    assert "extended key usage" in told


def test_clients_that_are_not_asked(house: House) -> None:
    assert "aren't asked for a certificate" in sentences(own(house.node), "note")
    assert "without a certificate are let in" in sentences(own(house.node, ca=house.hospital.ca), "note")
    strict = own(house.node, ca=house.hospital.ca, require_client=True)
    assert "certificate are let in" not in sentences(strict, "note")


@pytest.fixture
def check(tmp_path: Path) -> Any:
    def check(**sections: Any) -> str:
        spool = {"directory": str(tmp_path / "spool"), "minimum_free_gb": 0}
        findings = check_node(Config.model_validate({"spool": spool, **sections}))
        return "\n".join(f"{f.severity} {f.subject}: {f.sentence}" for f in findings)

    return check


def test_an_open_node_is_told(check: Any, house: House) -> None:
    everyone = check(node={"port": 0})
    assert "note access: anyone who reaches the port may send" in everyone
    assert "note access: images and names travel unencrypted" in everyone
    assert "access:" not in check(node={"port": 0, "host": "127.0.0.1"})
    files = {"cert": house.node.cert, "key": house.node.key, "ca": house.hospital.ca}
    assert "access:" not in check(node={"port": 0, "tls": {**files, "require_client": True}})


def test_a_node_that_runs_with_tls_is_recognized(check: Any, house: House, tmp_path: Path) -> None:
    tls = server_tls(house.node.cert, house.node.key, house.hospital.ca, require_client=True)
    settings = ServerSettings("DICOMNODE", "127.0.0.1", 0, tls=tls, calling_ae_titles=("CT1",))
    spool = Spool(tmp_path / "running")
    server = StorageServer(settings, spool, DECODABLE)
    server.start()
    try:
        files = {
            "cert": house.node.cert,
            "key": house.node.key,
            "ca": house.hospital.ca,
            "require_client": True,
        }
        node = {"host": "127.0.0.1", "port": server.port, "tls": files}
        told = check(node=node, access={"calling_ae_titles": ["CT1"]})
        assert f"ok port: DICOMNODE is running on port {server.port}" in told
        assert "turns this check away" in check(node={**node, "ae_title": "OTHER"})
    finally:
        server.stop(0)
        spool.close()

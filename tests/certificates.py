"""Certificates of a hospital and of a stranger, made with openssl's command line."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.dicom_network import installed

EXPIRED = ("20200101000000Z", "20200201000000Z")


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates for 127.0.0.1."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (folder / "index.txt").touch()
        (folder / "serial").write_text("01\n", encoding="ascii")
        self.own = Certificate(folder / "ca.crt", folder / "ca.key")
        _openssl(
            *("req", "-x509", *_new_key(self.own.key, "P-256"), "-out", self.own.cert),
            *("-days", "3", "-subj", f"/CN={name}"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,cRLSign"),
        )
        (folder / "openssl.cnf").write_text(
            "[ca]\ndefault_ca = own\n[own]\n"
            f"database = {folder}/index.txt\nserial = {folder}/serial\nnew_certs_dir = {folder}\n"
            "default_md = sha256\npolicy = any\nunique_subject = no\ncopy_extensions = copy\n"
            "[any]\ncommonName = supplied\n",
            encoding="utf-8",
        )

    @property
    def ca(self) -> Path:
        """The certificate to trust."""
        return self.own.cert

    def sign(
        self,
        name: str,
        *,
        valid: tuple[str, str] | None = None,
        days: int = 3,
        key: str = "P-256",
        usage: str = "serverAuth,clientAuth",
        is_authority: bool = False,
    ) -> Certificate:
        """A certificate; ``valid`` from and to as ``YYYYMMDDHHMMSSZ``, ``key`` a curve or bits of RSA."""
        made = Certificate(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        request = self._folder / f"{name}.csr"
        _openssl(
            *("req", *_new_key(made.key, key), "-out", request, "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", f"extendedKeyUsage={usage}"),
            *(("-addext", "basicConstraints=critical,CA:TRUE") if is_authority else ()),
        )
        period = ("-startdate", valid[0], "-enddate", valid[1]) if valid else ("-days", str(days))
        _openssl(
            *("ca", "-batch", "-notext", "-config", self._folder / "openssl.cnf"),
            *("-cert", self.own.cert, "-keyfile", self.own.key, "-in", request, "-out", made.cert, *period),
        )
        return made


def _new_key(path: Path, kind: str) -> tuple[str | Path, ...]:
    algorithm = (f"rsa:{kind}",) if kind.isdigit() else ("ec", "-pkeyopt", f"ec_paramgen_curve:{kind}")
    return ("-newkey", *algorithm, "-nodes", "-keyout", path)


def _openssl(*arguments: str | Path) -> None:
    command = [installed("openssl"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class House:
    """A hospital's authority with its certificates, and one of a stranger."""

    hospital: Authority
    stranger: Authority
    node: Certificate
    expired_node: Certificate
    scanner: Certificate
    rsa_scanner: Certificate
    expired: Certificate
    future: Certificate
    short_key: Certificate
    server_only: Certificate
    foreign: Certificate
    expired_authority: Path


def make_house(folder: Path) -> House:
    """All of them, made once."""
    hospital, stranger = (
        Authority(folder / "hospital", "hospital"),
        Authority(folder / "stranger", "stranger"),
    )
    return House(
        hospital,
        stranger,
        node=hospital.sign("node"),
        expired_node=hospital.sign("expired-node", valid=EXPIRED),
        scanner=hospital.sign("scanner"),
        rsa_scanner=hospital.sign("rsa-scanner", key="2048"),
        expired=hospital.sign("expired", valid=EXPIRED),
        future=hospital.sign("future", valid=("20900101000000Z", "20910101000000Z")),
        short_key=hospital.sign("short-key", key="1024"),
        server_only=hospital.sign("server-only", usage="serverAuth"),
        foreign=stranger.sign("foreign"),
        expired_authority=hospital.sign("old authority", valid=EXPIRED, is_authority=True).cert,
    )

"""Certificates examined before they fail: dates, keys, and who else can read them."""

from __future__ import annotations

import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dicomnode.config_sections import Tls
from dicomnode.findings import Finding
from dicomnode.tls import CertificateError, client_tls, sentence, server_tls

SOON_DAYS = 30
_DAY_SECONDS = 86400.0
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME
_MOST_ROUNDS = 10


def check_own_tls(subject: str, tls: Tls | None) -> Iterator[Finding]:
    """What the node shows to those who call it."""
    if tls is None:
        return
    try:
        server_tls(tls.cert, tls.key, tls.ca, require_client=tls.require_client)
    except CertificateError as error:
        yield Finding(subject, "wrong", str(error))
        return
    yield from _check_files(subject, tls, as_server=True)
    if tls.ca is None:
        yield Finding(
            subject, "note", "clients aren't asked for a certificate: ca and require_client do that"
        )
    elif not tls.require_client:
        yield Finding(subject, "note", "clients without a certificate are let in: require_client = true")


def check_tls_towards(subject: str, tls: Tls | None) -> Iterator[Finding]:
    """What the node shows to a peer that it calls."""
    if tls is None:
        return
    try:
        client_tls(tls.cert, tls.key, tls.ca, check_host=tls.check_host)
    except CertificateError as error:
        yield Finding(subject, "wrong", str(error))
        return
    yield from _check_files(subject, tls, as_server=False)


def _check_files(subject: str, tls: Tls, *, as_server: bool) -> Iterator[Finding]:
    try:
        content = _read_certificate(tls, as_server=as_server)
    except ssl.SSLError as error:
        yield Finding(subject, "wrong", f"{tls.cert}: a peer would say, {sentence(error)}")
    else:
        yield from _check_dates(subject, tls.cert, content)
    for authority in _authorities(tls.ca):
        yield from _check_dates(subject, tls.ca, authority, name=_common_name(authority))
    if tls.key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        yield Finding(subject, "wrong", f"{tls.key} can be read by every user of this machine: chmod 640")


def _check_dates(subject: str, path: Path | None, content: Any, name: str = "") -> Iterator[Finding]:
    begins, ends = (ssl.cert_time_to_seconds(content[key]) for key in ("notBefore", "notAfter"))
    what = f"{name} in {path}" if name else str(path)
    now, day = time.time(), time.strftime("%Y-%m-%d", time.gmtime(ends))
    if ends <= now:
        yield Finding(subject, "wrong", f"{what} has expired on {day}")
    elif begins > now:
        yield Finding(subject, "wrong", f"{what} is not valid yet, or this machine's clock is wrong")
    elif ends - now < SOON_DAYS * _DAY_SECONDS:
        days = int((ends - now) / _DAY_SECONDS)
        yield Finding(subject, "note", f"{what} expires on {day}, in {days} days")
    elif not name:
        yield Finding(subject, "ok", f"{what} is valid until {day}, its key fits")


def _authorities(ca: Path | None) -> list[dict[str, Any]]:
    if ca is None:
        return []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    return context.get_ca_certs()


def _common_name(content: dict[str, Any]) -> str:
    names = {key: value for part in content.get("subject", ()) for key, value in part}
    return str(names.get("commonName", "an authority"))


def _read_certificate(tls: Tls, *, as_server: bool) -> Any:
    """The fields of our own certificate, by a handshake with ourselves in memory.

    Python decodes a certificate only for a peer that has verified it; this also proves that key, certificate
    and their use fit together.

    Raises
    ------
    ssl.SSLError
        If a peer could not accept the certificate whoever its authority were, for example since it is meant
        for clients only.
    """
    ours = ssl.PROTOCOL_TLS_SERVER if as_server else ssl.PROTOCOL_TLS_CLIENT
    theirs = ssl.PROTOCOL_TLS_CLIENT if as_server else ssl.PROTOCOL_TLS_SERVER
    us, them = ssl.SSLContext(ours), ssl.SSLContext(theirs)
    for context in (us, them):
        context.check_hostname = False
        context.load_cert_chain(tls.cert, tls.key)
    us.verify_mode, them.verify_mode = ssl.CERT_NONE, ssl.CERT_REQUIRED
    them.load_verify_locations(tls.cert)
    them.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (us.wrap_bio(back, there, as_server), them.wrap_bio(there, back, not as_server))
    for _ in range(_MOST_ROUNDS):
        if [_shake(side) for side in sides] == [True, True]:
            break
    return sides[1].getpeercert()


def _shake(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True

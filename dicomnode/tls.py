"""TLS as BCP 195 (RFC 8996, RFC 9325) and the profile of PS3.15 B.12 want it, with failures told in words."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The suites that RFC 9325 4.2 recommends for TLS 1.2; those of TLS 1.3 are all allowed. Security level 2
# turns away RSA keys below 2048 bits, curves below 224 bits and SHA-1 signatures (RFC 9325 4.5).
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:@SECLEVEL=2"
)

NOT_SIGNED = "its certificate is not signed by an authority that is trusted here"
_VERIFICATION = {  # X509_V_ERR_... of OpenSSL
    9: "its certificate is not valid yet, or a clock is wrong",
    10: "its certificate has expired",
    18: NOT_SIGNED,
    19: NOT_SIGNED,
    20: NOT_SIGNED,
    21: NOT_SIGNED,
    26: "its certificate is not meant for this use (extended key usage)",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
    66: "the key of its certificate is too short",
    67: "the key of its authority is too short",
    68: "its certificate is signed with a weak hash",
}
_HUNG_UP = "it hung up during the handshake"
_REASONS = {  # of OpenSSL; an alert is what the peer says of us
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it has no certificate, and one is required",
    "UNSUPPORTED_PROTOCOL": "it offers nothing newer than TLS 1.1",
    "VERSION_TOO_LOW": "it offers nothing newer than TLS 1.1",
    "NO_SHARED_CIPHER": "it offers none of the allowed cipher suites",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it does not speak TLS",
    "RECORD_LAYER_FAILURE": "it does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": _HUNG_UP,
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the authority of our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it says that our certificate is revoked",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it says that our certificate is not meant for this use",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it requires a certificate of ours",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refuses the handshake: a certificate or cipher suite is missing",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it does not speak TLS 1.2 or newer",
    "TLSV1_ALERT_DECRYPT_ERROR": "it could not verify our certificate",
}
_FILES = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "EE_KEY_TOO_SMALL": "the key is too short: RSA needs 2048 bits, elliptic curves 224",
    "CA_MD_TOO_WEAK": "it is signed with a weak hash",
    "NO_START_LINE": "there is no PEM block of this kind in it",
    "NO_CERTIFICATE_OR_CRL_FOUND": "there is no certificate in it",
    "BAD_DECRYPT": "the key is encrypted; the node can't be asked for a password",
}


class CertificateError(Exception):
    """A certificate or key can't be used; the message names the file and says why."""


def server_tls(
    cert: Path, key: Path, ca: Path | None = None, *, require_client: bool = False
) -> ssl.SSLContext:
    """TLS for the listening socket.

    Parameters
    ----------
    cert, key, ca:
        PEM files; ``ca`` holds the certificates that clients' certificates are signed by.
    require_client:
        Turn away clients without such a certificate; needs ``ca``.

    Raises
    ------
    ValueError
        If ``require_client`` is set without ``ca``.
    CertificateError
        If a file can't be used.
    """
    if require_client and ca is None:
        raise ValueError("require_client needs ca, the certificates that clients must be signed by")
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _load(context.load_cert_chain, cert, key)
    # A resumed session would skip the client's certificate, and its ticket's key would live as long as the
    # node (RFC 9325 3.4); associations are long, so a full handshake each costs nothing.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    if ca is not None:
        _load(context.load_verify_locations, ca)
        context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    return context


def client_tls(
    cert: Path | None = None, key: Path | None = None, ca: Path | None = None, *, check_host: bool = False
) -> ssl.SSLContext:
    """TLS towards a peer, whose certificate is checked against ``ca`` or the system's authorities.

    Parameters
    ----------
    cert, key:
        PEM files of our own certificate, for peers that ask for one.
    check_host:
        Compare the name in the certificate with the host, too. Always done without ``ca``: the system's
        authorities sign for anybody, those of ``ca`` vouch for the devices of the house.

    Raises
    ------
    CertificateError
        If a file can't be used.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_host or ca is None
    if ca is not None:
        _load(context.load_verify_locations, ca)
    else:
        context.load_default_certs()
    if cert is not None:
        _load(context.load_cert_chain, cert, key)
    return context


def sentence(error: ssl.SSLError) -> str:
    """What went wrong, from our side: "it" is the peer."""
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _VERIFICATION:
        return _VERIFICATION[error.verify_code]
    if isinstance(error, ssl.SSLEOFError):
        return _HUNG_UP
    return _REASONS.get(error.reason or "", error.reason or "unknown TLS error")


class ExplainingSocket(ssl.SSLSocket):
    """Raises TLS errors whose ``strerror`` is a sentence, and remembers the last one.

    With TLS 1.3 a server's verdict on the client's certificate comes after the client's handshake, with the
    first bytes it reads.
    """

    failure = ""

    def do_handshake(self, block: bool = False) -> None:
        """As always."""
        try:
            super().do_handshake(block)
        except ssl.SSLError as error:
            self._explain(error)
            raise
        except ConnectionError:
            self.failure = _HUNG_UP
            raise

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """As always."""
        try:
            return super().read(len, buffer)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self._explain(error)
            raise

    def _explain(self, error: ssl.SSLError) -> None:
        self.failure = error.strerror = sentence(error)


def _load(load: Callable[..., None], *files: Path | None) -> None:
    names = " and ".join(str(path) for path in files if path)
    try:
        for path in filter(None, files):
            path.open("rb").close()  # OpenSSL doesn't say which one it can't read
        # An empty password, so that OpenSSL never asks for one on a terminal.
        load(*files, **({"password": ""} if len(files) > 1 else {}))
    except ssl.SSLError as error:
        why = _FILES.get(error.reason or "", error.reason or "it is no PEM file of this kind")
        raise CertificateError(f"{names}: {why}") from error
    except OSError as error:
        raise CertificateError(f"{error.filename or names} can't be read: {error.strerror}") from error


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.sslsocket_class = ExplainingSocket
    return context

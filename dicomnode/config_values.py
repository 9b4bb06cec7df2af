"""Types of single configuration values, each with the sentence that a wrong one gets."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CLUSTER_ADDRESS = re.compile(r"(ray://)?(\[[0-9A-Fa-f:.%]+\]|[^:@/\[\]]+):[0-9]{1,5}")
_PEER_ADDRESS = re.compile(r"[^@\\]{1,16}@(\[[0-9A-Fa-f:.%]+\]|[^:@\[\]]+):[0-9]{1,5}")


def _application_entity(title: str) -> str:
    """AE title: 1 to 16 printable ASCII characters without backslash (PS3.5 6.2, VR AE)."""
    stripped = title.strip()
    if not 1 <= len(stripped) <= 16 or not stripped.isascii() or not stripped.isprintable() or "\\" in title:
        raise ValueError(
            f"an AE title has 1 to 16 printable ASCII characters without backslash, not {title!r}"
        )
    return stripped


def _network(address: str) -> str:
    ipaddress.ip_network(address, strict=False)
    return address


def _peer_address(address: str) -> str:
    """``AE@HOST:PORT``, an IPv6 address in brackets; empty for none."""
    if address and not _PEER_ADDRESS.fullmatch(address):
        raise ValueError(f"a peer is written AE@HOST:PORT, for example PACS@192.0.2.7:104, not {address!r}")
    return address


def _cluster_address(address: str) -> str:
    """``HOST:PORT`` or ``ray://HOST:PORT``; empty for none."""
    if address and not _CLUSTER_ADDRESS.fullmatch(address):
        raise ValueError(
            f"a cluster is written HOST:PORT or ray://HOST:PORT, for example 192.0.2.9:6379, not {address!r}"
        )
    return address


def _http_address(address: str) -> str:
    if address and not address.startswith(("http://", "https://")):
        raise ValueError(f"a DICOMweb address begins with https:// or http://, not {address!r}")
    return address.rstrip("/")


def _http_headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    """Names are tokens, values visible ASCII with spaces inside (RFC 9110 5)."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an HTTP header")
        text = value.get_secret_value()
        if not (text.isascii() and text.isprintable() and text == text.strip()):
            raise ValueError(f"the value of {name} must be printable ASCII without spaces around it")
    return headers


AETitle = Annotated[str, AfterValidator(_application_entity)]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=0, le=65535)]
PeerAddress = Annotated[str, AfterValidator(_peer_address)]
ClusterAddress = Annotated[str, AfterValidator(_cluster_address)]
HttpHeaders = Annotated[dict[str, SecretStr], AfterValidator(_http_headers)]
HttpAddress = Annotated[str, AfterValidator(_http_address)]


def not_in_this_version(feature: str) -> AfterValidator:
    """A key of the contract whose feature is missing must not be accepted in silence."""

    def refuse(value: object) -> object:
        if value:
            raise ValueError(f"{feature} is not part of this version; leave the key out")
        return value

    return AfterValidator(refuse)

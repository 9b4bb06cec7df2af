"""Who may open an association."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

DICOM_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1, the only one there is


@dataclass(frozen=True)
class Rejection:
    """An A-ASSOCIATE-RJ (PS3.8 Table 9-21) and the sentence for the log."""

    result: int
    source: int
    reason: int
    sentence: str


LOCAL_LIMIT_EXCEEDED = Rejection(2, 3, 2, "local limit exceeded")
"""Transient: as many associations as the node takes are open."""


@dataclass(frozen=True)
class AccessPolicy:
    """Called AE title, calling AE titles and addresses.

    Parameters
    ----------
    called_ae_title:
        The node's own; nobody is let in who calls for another.
    calling_ae_titles:
        Empty: anyone.
    addresses:
        Addresses and networks (``192.0.2.7``, ``192.0.2.0/24``, ``2001:db8::/32``); empty: anyone.

    Raises
    ------
    ValueError
        If an address isn't one.
    """

    called_ae_title: str
    calling_ae_titles: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for address in self.addresses:
            ipaddress.ip_network(address, strict=False)

    @property
    def is_open(self) -> bool:
        """Whether anyone on the network may send."""
        return not self.calling_ae_titles and not self.addresses

    def address_is_allowed(self, address: str) -> bool:
        """Whether a peer at this IP address may connect; IPv4 mapped into IPv6 counts as IPv4."""
        if not self.addresses:
            return True
        peer = ipaddress.ip_address(address.partition("%")[0])
        mapped = peer.ipv4_mapped if isinstance(peer, ipaddress.IPv6Address) else None
        networks = (ipaddress.ip_network(allowed, strict=False) for allowed in self.addresses)
        return any((mapped or peer) in network for network in networks)

    def verdict(
        self,
        called_ae_title: str,
        calling_ae_title: str,
        address: str,
        application_context: str = DICOM_APPLICATION_CONTEXT,
    ) -> Rejection | None:
        """Why this association is rejected, or ``None`` if it isn't."""
        if not self.address_is_allowed(address):
            return Rejection(1, 1, 1, "address not allowed")
        if application_context != DICOM_APPLICATION_CONTEXT:
            return Rejection(1, 1, 2, "application context name not supported")
        if called_ae_title.strip() != self.called_ae_title.strip():
            return Rejection(1, 1, 7, "called AE title not recognized")
        allowed = {title.strip() for title in self.calling_ae_titles}
        if allowed and calling_ae_title.strip() not in allowed:
            return Rejection(1, 1, 3, "calling AE title not recognized")
        return None

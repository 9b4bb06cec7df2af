"""Whom the node calls beside destinations: senders, the count source, the PACS that has earlier reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from dicomnode.config import Config
from dicomnode.config_sections import Source
from dicomnode.deliver.peer import Peer, PeerError, associated, parse_peer
from dicomnode.priors.pacs import Expecting, PriorPacs
from dicomnode.priors.search import PriorSearch
from dicomnode.receive.calling import Connect, UnreachableError
from dicomnode.receive.count_source import CountSource
from dicomnode.spool.ledger import Ledger
from dicomnode.tls import client_tls

_ANSWER_SECONDS = 20.0


def senders(config: Config) -> Mapping[str, Connect]:
    """How to reach each ``[[source]]``, by AE title.

    Raises
    ------
    CertificateError
        If a certificate or key can't be used.
    """
    return {source.ae_title: _connect(source_peer(source, config.node.ae_title)) for source in config.source}


def count_source(config: Config) -> CountSource | None:
    """``series.count_source``, ready to be asked."""
    peer = count_source_peer(config)
    return None if peer is None else CountSource(peer.ae_title, _connect(peer))


def source_peer(source: Source, calling_ae_title: str) -> Peer:
    """A sender that is called back."""
    tls = source.tls
    return Peer(
        source.ae_title,
        source.host,
        source.port,
        calling_ae_title,
        client_tls(tls.cert, tls.key, tls.ca, check_host=tls.check_host) if tls else None,
        answer_seconds=_ANSWER_SECONDS,
    )


def count_source_peer(config: Config) -> Peer | None:
    """``series.count_source``, by TLS if there is a ``[[source]]`` of its AE title that has it."""
    if not config.series.count_source:
        return None
    peer = parse_peer(config.series.count_source, config.node.ae_title)
    known = [source for source in config.source if source.ae_title == peer.ae_title]
    tls = source_peer(known[0], config.node.ae_title).tls if known else None
    return replace(peer, tls=tls, answer_seconds=_ANSWER_SECONDS)


def prior_search(config: Config, ledger: Ledger, expecting: Expecting | None = None) -> PriorSearch | None:
    """Where ``[priors]`` says to look for earlier results; None for nowhere.

    Raises
    ------
    CertificateError
        If a certificate or key can't be used.
    """
    if not config.priors.sources:
        return None
    pacs = prior_pacs(config, expecting) if "pacs" in config.priors.sources else None
    return PriorSearch(ledger, config.priors, pacs)


def prior_pacs(config: Config, expecting: Expecting | None = None) -> PriorPacs | None:
    """``priors.pacs``, ready to be asked."""
    settings = config.priors.pacs
    if settings is None:
        return None
    tls = settings.tls
    peer = Peer(
        settings.ae_title,
        settings.host,
        settings.port,
        config.node.ae_title,
        client_tls(tls.cert, tls.key, tls.ca, check_host=tls.check_host) if tls else None,
        answer_seconds=_ANSWER_SECONDS,
    )
    return PriorPacs(peer, settings.method, expecting)


def _connect(peer: Peer) -> Connect:
    @contextmanager
    def connect(
        contexts: Sequence[PresentationContext], roles: Sequence[SCP_SCU_RoleSelectionNegotiation]
    ) -> Iterator[Association]:
        try:
            with associated(peer, contexts, roles=roles) as association:
                yield association
        except PeerError as error:
            raise UnreachableError(str(error)) from error

    return connect

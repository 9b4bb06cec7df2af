"""The daemon: wires the rooms, starts and drains them."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlsplit

from dicomnode import __version__, callback
from dicomnode.analysis_loop import AnalysisLoop
from dicomnode.assemble.decoders import decodable_transfer_syntaxes
from dicomnode.cluster.choice import make_supervisor
from dicomnode.config import FHIR_NAME, Config
from dicomnode.config_sections import Destination as DestinationSettings
from dicomnode.deliver.delivery import DeliveryLoop
from dicomnode.deliver.destination import Destination, RetryPolicy
from dicomnode.deliver.fhir import FhirService
from dicomnode.deliver.peer import Peer
from dicomnode.deliver.stow import StowService
from dicomnode.early_notices import EarlyNotices, Notice
from dicomnode.housekeeping import Housekeeping, deadlines_of
from dicomnode.monitoring import Monitoring
from dicomnode.receive.expected import ExpectedInstances
from dicomnode.receive.judge import CompletenessSettings
from dicomnode.receive.server import ServerSettings, StorageServer
from dicomnode.report.result_set import FurtherResults, ResultKind
from dicomnode.spool.errors import SpoolError
from dicomnode.spool.spool import Spool
from dicomnode.tls import client_tls, server_tls

LOGGER = logging.getLogger(__name__)


class Node:
    """Receives, analyzes and delivers until it is stopped.

    Parameters
    ----------
    config:
        The validated configuration.

    Raises
    ------
    SpoolError
        If the spool can't be opened, or another node has it.
    CertificateError
        If a certificate or key can't be used.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._stopping = False
        self._spool = Spool(config.spool.directory.resolve(), int(config.spool.minimum_free_gb * 1e9))
        destinations = destinations_of(config)
        self._monitoring = Monitoring(config, self._spool)
        self._expected = ExpectedInstances()
        self._early = EarlyNotices(self._instance_path, self._tell_worker)
        analysis = config.analysis
        early = (self._early,) if analysis.early and analysis.workers == 1 and not analysis.cluster else ()
        self._server = StorageServer(
            _server_settings(config),
            self._spool,
            decodable_transfer_syntaxes(),
            (*self._monitoring.observers, *early),
            call_back=callback.senders(config),
            count_source=callback.count_source(config),
            expected=self._expected,
        )
        self._delivery = DeliveryLoop(self._spool.ledger, destinations, observe=self._monitoring.offered)
        self._housekeeping = Housekeeping(self._spool, deadlines_of(config), config.spool.retention_days)
        self._analysis = [
            AnalysisLoop(
                self._spool,
                make_supervisor(config.analysis, further_results(config)),
                destinations,
                include=kinds_of(config),
                config_sha256=config.analysis_sha256(),
                maximum_attempts=config.analysis.attempts,
                training_directory=config.correction.training_directory,
                observe=self._monitoring.analyzed,
                priors=callback.prior_search(config, self._spool.ledger, self._expected),
                urgent_ae_titles=config.analysis.urgent_ae_titles,
            )
            for _ in range(config.analysis.workers)
        ]

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.port

    def start(self) -> None:
        """Put the spool in order, take up what was interrupted, then listen.

        Raises
        ------
        OSError
            If the port can't be listened on.
        """
        self._spool.recover()
        for series in self._spool.ledger.requeue_interrupted(self.config.analysis.attempts):
            LOGGER.warning("interrupted analysis: %s", series.detail, extra={"series": series.id})
        self._monitoring.start(self._analysis, self.is_alive, lambda: self._housekeeping.overdue)
        self._early.start()
        self._server.start()
        self._monitoring.listening(True)
        self._delivery.start()
        self._housekeeping.start()
        for loop in self._analysis:
            loop.start()
        LOGGER.info("dicomnode %s ready", __version__, extra={"port": self.port})

    def stop(self, *, drain: bool = True) -> None:
        """Take nothing new; with ``drain`` finish what is being analyzed; the rest waits in the spool."""
        self._stopping = True
        self._monitoring.listening(False)
        self._server.stop()
        self._early.stop()
        for loop in self._analysis:
            loop.stop(drain=drain)
        self._delivery.stop()
        self._housekeeping.stop()
        self._monitoring.stop()
        self._spool.close()
        LOGGER.info("stopped")

    def abandon(self) -> None:
        """Stop computing; called while :meth:`stop` drains, it needn't wait any longer."""
        for loop in self._analysis:
            loop.abandon()

    def reload(self, config: Config) -> None:
        """Take over what can change while the node runs (:data:`dicomnode.reload.RELOADABLE`).

        Raises
        ------
        CertificateError
            If a certificate can't be used; nothing has changed then.
        """
        settings = _server_settings(config)
        destinations = destinations_of(config)
        priors = callback.prior_search(config, self._spool.ledger, self._expected)
        self._server.reload(settings)
        for loop in self._analysis:
            loop.deliver_to(destinations)
            loop.compare_with(priors)
        self._delivery.replace_destinations(destinations)
        self._housekeeping.reload(deadlines_of(config), config.spool.retention_days)
        self._spool.minimum_free_bytes = int(config.spool.minimum_free_gb * 1e9)
        self.config = config

    def _instance_path(self, series_id: str, sop_instance_uid: str) -> Path:
        return self._spool.directory / self._spool.files.relative_path(series_id, sop_instance_uid)

    def _tell_worker(self, notice: Notice) -> None:
        self._analysis[0].tell(notice)

    def is_alive(self) -> bool:
        """Whether everything runs and nothing hangs."""
        return not (self.ended_threads() or self.complaint())

    def ended_threads(self) -> list[str]:
        """What should run and doesn't; while draining they may."""
        if self._stopping:
            return []
        alive = {
            "analysis": all(loop.is_alive for loop in self._analysis),
            "delivery": self._delivery.is_alive,
            "housekeeping": self._housekeeping.is_alive,
            "journal": self._spool.is_alive,
            **self._server.threads_alive(),
        }
        return [name for name, is_alive in alive.items() if not is_alive]

    def complaint(self) -> str:
        """What hangs, in words; empty if all is well."""
        try:
            self._spool.ledger.outbox.backlog()
        except SpoolError as error:
            return f"the ledger doesn't answer: {error}"
        return "a series is stuck in a loop of the node" if self._housekeeping.hanging else ""


def kinds_of(config: Config) -> tuple[str, ...]:
    """Kinds of result that are delivered."""
    return (*config.report.kinds, *([ResultKind.FHIR.value] if config.fhir.url else []))


def further_results(config: Config) -> FurtherResults:
    """What is made besides SEG, SR and the picture, and how."""
    report = config.report
    return FurtherResults.of(kinds_of(config), report.overlay == "multiframe", report.language)


def destinations_of(config: Config) -> list[Destination]:
    """All systems that get results."""
    found = [destination_of(settings, config.node.ae_title) for settings in config.destination]
    return [*found, fhir_destination(config)] if config.fhir.url else found


def fhir_destination(config: Config) -> Destination:
    """The FHIR server as the delivery room wants it; its peer is only a name for the audit trail."""
    fhir, tls = config.fhir, config.fhir.tls
    address = urlsplit(fhir.url)
    port = address.port or (443 if address.scheme == "https" else 80)
    security = client_tls(tls.cert, tls.key, tls.ca, check_host=tls.check_host) if tls else None
    if security is None and address.scheme == "https":
        security = client_tls()
    headers = {name: value.get_secret_value() for name, value in fhir.headers.items()}
    return Destination(
        name=FHIR_NAME,
        peer=Peer(FHIR_NAME.upper(), address.hostname or "", port, config.node.ae_title),
        accepts=(ResultKind.FHIR.value,),
        retry=RetryPolicy(fhir.retry.first_seconds, fhir.retry.factor, fhir.retry.cap_seconds),
        fhir=FhirService(fhir.url, headers, security),
    )


def destination_of(settings: DestinationSettings, calling_ae_title: str) -> Destination:
    """A configured destination as the delivery room wants it."""
    tls, retry = settings.tls, settings.retry
    peer = Peer(
        ae_title=settings.ae_title,
        host=settings.host,
        port=settings.port,
        calling_ae_title=calling_ae_title,
        tls=client_tls(tls.cert, tls.key, tls.ca, check_host=tls.check_host) if tls else None,
    )
    stow = None
    if settings.stow_url:
        headers = {name: value.get_secret_value() for name, value in settings.stow_headers.items()}
        secured = settings.stow_url.startswith("https://")
        stow = StowService(settings.stow_url, headers, peer.tls or (client_tls() if secured else None))
    return Destination(
        name=settings.name,
        peer=peer,
        accepts=settings.accepts,
        retry=RetryPolicy(retry.first_seconds, retry.factor, retry.cap_seconds),
        commitment=settings.commitment,
        deflate=settings.deflate,
        stow=stow,
    )


def _server_settings(config: Config) -> ServerSettings:
    node, tls = config.node, config.node.tls
    return ServerSettings(
        ae_title=node.ae_title,
        host=node.host,
        port=node.port,
        max_associations=node.max_associations,
        max_pdu=node.max_pdu,
        max_instance_bytes=int(node.max_instance_mb * 1e6),
        calling_ae_titles=config.access.calling_ae_titles,
        addresses=config.access.addresses,
        tls=server_tls(tls.cert, tls.key, tls.ca, require_client=tls.require_client) if tls else None,
        completeness=CompletenessSettings(
            config.series.quiet_seconds, config.series.deadline_seconds, config.series.release_seconds
        ),
    )

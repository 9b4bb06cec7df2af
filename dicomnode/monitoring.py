"""What others see of the node: audit trail, log of series, page, metrics, health."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from dicomnode import __version__
from dicomnode.analysis import Cost
from dicomnode.analysis_loop import AnalysisLoop
from dicomnode.audit.audit_file import AuditFile
from dicomnode.audit.events import Partner
from dicomnode.audit.result_file import sent_instance
from dicomnode.audit.trail import AuditTrail
from dicomnode.config import Config
from dicomnode.config_sections import Web
from dicomnode.deliver.courier import Offered
from dicomnode.deliver.destination import Destination
from dicomnode.housekeeping import Overdue
from dicomnode.page import NodePage
from dicomnode.receive.observer import ReceiveObserver
from dicomnode.receive.series_log import SeriesLog
from dicomnode.spool.errors import SpoolError
from dicomnode.spool.spool import Spool
from dicomnode.spool.statistics import Statistics
from dicomnode.web.http_server import Answer, HttpServer, WebError
from dicomnode.web.metrics import Metrics
from dicomnode.web.node_figures import NodeFigures, WorkerFigures

LOGGER = logging.getLogger(__name__)


class Monitoring:
    """Built from the configuration; what it doesn't ask for isn't there.

    Raises
    ------
    WebError
        If the address of the web page can't be listened on.
    """

    def __init__(self, config: Config, spool: Spool) -> None:
        self._config = config
        self._spool = spool
        self._loops: Sequence[AnalysisLoop] = ()
        self._is_alive: Callable[[], bool] = lambda: False
        self._listening = False
        series_log = SeriesLog(spool.ledger, identifiers=config.log.identifiers)
        observers: list[ReceiveObserver] = [series_log]
        self.audit: AuditTrail | None = None
        if config.log.audit_file is not None:
            self.audit = AuditTrail(AuditFile(config.log.audit_file), config.node.ae_title)
            observers.append(self.audit)
        self._metrics: Metrics | None = None
        self._page: NodePage | None = None
        self._web: HttpServer | None = None
        if config.web.port:
            metrics = self._metrics = self._make_metrics()
            page = self._page = NodePage(config, spool, metrics.exposition, self._answers, self._readiness)
            observers += [metrics, *page.observers]
            self._web = _listen(config.web, page.site)
        self.observers = tuple(observers)

    def analyzed(self, cost: Cost) -> None:
        """A series was analyzed."""
        if self._metrics is not None:
            self._metrics.analyzed(cost)

    def offered(self, destination: Destination, offered: Offered) -> None:
        """Results were offered to a destination; an object that got no answer was not transferred."""
        if self.audit is not None:
            answered = [outcome for _, outcome in offered if outcome.status is not None]
            instances = [sent_instance(outcome.path, outcome.error) for outcome in answered]
            self.audit.instances_sent(
                Partner.at(destination.peer.ae_title, destination.peer.host),
                [instance for instance in instances if instance is not None],
            )
        if self._metrics is not None:
            for _, outcome in offered:
                self._metrics.offered(destination.name, ok=outcome.ok)

    def start(
        self,
        loops: Sequence[AnalysisLoop],
        is_alive: Callable[[], bool],
        overdue: Callable[[], Sequence[Overdue]] = lambda: (),
    ) -> None:
        """The node begins its work."""
        self._loops, self._is_alive = loops, is_alive
        if self._page is not None:
            self._page.begin(loops, overdue)
        if self.audit is not None:
            self.audit.started()
        if self._web is not None:
            self._web.start()
            where = {"web_host": self._config.web.host, "web_port": self._web.port}
            LOGGER.info("page, metrics and health over HTTP", extra=where)

    def listening(self, now: bool) -> None:
        """The node takes associations, or doesn't any more."""
        self._listening = now

    def stop(self) -> None:
        """The node has ended its work."""
        if self._web is not None:
            self._web.stop()
        if self._page is not None:
            self._page.end()
        if self.audit is not None:
            self.audit.stopped()

    def _make_metrics(self) -> Metrics:
        statistics = Statistics(self._spool.ledger.database)
        metrics = Metrics(statistics)
        names = [destination.name for destination in self._config.destination]
        audit = self.audit.file if self.audit is not None else None
        metrics.register(
            NodeFigures(__version__, self._spool, statistics, names, self._worker_figures, audit)
        )
        return metrics

    def _worker_figures(self) -> list[WorkerFigures]:
        return [
            WorkerFigures(loop.worker_starts, loop.model_loaded, loop.gpu_memory_bytes)
            for loop in self._loops
        ]

    def _answers(self) -> bool:
        """Whether all loops run and the ledger answers."""
        try:
            return self._is_alive()
        except SpoolError:
            return False

    def _readiness(self) -> dict[str, bool]:
        return {
            "alive": self._answers(),
            "listening": self._listening,
            "model loaded": any(loop.model_loaded for loop in self._loops),
            "disk above minimum_free_gb": self._spool.free_bytes() > self._spool.minimum_free_bytes,
        }


def _listen(web: Web, answer: Answer) -> HttpServer | None:
    """The server; none where nobody asked for the port and another program has it."""
    try:
        return HttpServer(web.host, web.port, answer)
    except WebError as error:
        if "port" in web.model_fields_set:
            raise
        LOGGER.warning("the node works without its page: %s; choose another web.port", error)
        return None

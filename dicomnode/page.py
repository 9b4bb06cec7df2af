"""The node's page: its parts wired together, and what they ask the node."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dicomnode.analysis import Working
from dicomnode.analysis_loop import AnalysisLoop
from dicomnode.config import FHIR_NAME, Config
from dicomnode.config_sections import LOOPBACK
from dicomnode.deliver.peer import Peer
from dicomnode.deliver.sender import send_files
from dicomnode.housekeeping import Overdue
from dicomnode.receive.observer import ReceiveObserver
from dicomnode.spool.browsing import Browser
from dicomnode.spool.spool import LEDGER_NAME, Spool
from dicomnode.web.course_page import CoursePage
from dicomnode.web.doorkeeper import AccessRules, Doorkeeper
from dicomnode.web.health import health_routes
from dicomnode.web.identifiers import Identifiers, forget_identifiers
from dicomnode.web.live import Live
from dicomnode.web.models_page import ModelsPage
from dicomnode.web.now_page import Disk, NowPage, Worker
from dicomnode.web.pictures import Pictures
from dicomnode.web.search_page import SearchPage
from dicomnode.web.series_page import SeriesPage
from dicomnode.web.series_pictures import SeriesPictures
from dicomnode.web.site import Pages, Route, Site, log_out

NAVIGATION = (("/", "Now"), ("/search", "Search"), ("/models", "Models"))
NOT_WORKING = Working("")
CALLING_AE_TITLE = "DICOMNODE-PAGE"
EVERY_ADDRESS = ("0.0.0.0", "::", "")


class NodePage:
    """Everything that is served over HTTP.

    Parameters
    ----------
    exposition:
        The figures for Prometheus.
    alive:
        Whether all loops run and the ledger answers.
    readiness:
        What must be so before the node can do its work, by name.
    """

    def __init__(
        self,
        config: Config,
        spool: Spool,
        exposition: Callable[[], str],
        alive: Callable[[], bool],
        readiness: Callable[[], dict[str, bool]],
    ) -> None:
        self._config = config
        self._spool = spool
        self._readiness = readiness
        self._loops: Sequence[AnalysisLoop] = ()
        self._overdue: Callable[[], Sequence[Overdue]] = lambda: ()
        self._browser = Browser(spool.directory / LEDGER_NAME)
        self.live = Live()
        web = config.web
        rules = AccessRules(
            web.token.get_secret_value(), [str(one) for one in web.proxy_addresses], web.proxy_user_header
        )
        doorkeeper = Doorkeeper(rules)
        self._identifiers: Identifiers | None = None
        if web.identifiers:
            self._identifiers = Identifiers(spool.directory, self._browser.purged)
        else:
            forget_identifiers(spool.directory)
        self._pictures = quick, thorough = Pictures(), Pictures()
        pages = Pages(NAVIGATION, has_login=doorkeeper.asks_for_token)
        self.site = Site(
            doorkeeper,
            pages,
            [
                *health_routes(exposition, alive, readiness),
                Route("POST", "/logout", log_out),
                *NowPage(pages, self._browser, spool.ledger, self.live, self).routes,
                *SeriesPage(
                    pages,
                    self._browser,
                    spool.ledger,
                    spool.directory,
                    self._pictures,
                    self._send,
                    int(config.node.max_instance_mb * 1e6),
                    self._identifiers.of if self._identifiers else None,
                ).routes,
                *CoursePage(
                    pages, self._browser, config.priors.identifiers, shows_dates=web.identifiers
                ).routes,
                *ModelsPage(pages, _uses(config)).routes,
                *SearchPage(pages, self._browser, spool.directory, self._identifiers).routes,
                *SeriesPictures(pages, self._browser, spool.directory, quick, thorough).routes,
            ],
        )

    @property
    def observers(self) -> list[ReceiveObserver]:
        """Who is to be told what happens at the front door."""
        return [self.live, *([self._identifiers] if self._identifiers else [])]

    def begin(self, loops: Sequence[AnalysisLoop], overdue: Callable[[], Sequence[Overdue]]) -> None:
        """The node begins its work."""
        self._loops, self._overdue = loops, overdue

    def end(self) -> None:
        """Nobody asks any more."""
        for pictures in self._pictures:
            pictures.stop()
        self._browser.close()
        if self._identifiers is not None:
            self._identifiers.close()

    @property
    def name(self) -> str:
        """AE title."""
        return self._config.node.ae_title

    @property
    def port(self) -> int:
        """Where associations are taken."""
        return self._config.node.port

    @property
    def destinations(self) -> Sequence[str]:
        """Names of the configured ones."""
        names = [destination.name for destination in self._config.destination]
        return [*names, FHIR_NAME] if self._config.fhir.url else names

    def alarms(self) -> Sequence[tuple[str, str]]:
        """What somebody should look after, with the series that it is about."""
        found = [(f"{one.sentence}:", one.series.id) for one in self._overdue()]
        sentences = {
            "alive": "A part of the node has stopped; its log says which.",
            "listening": "The node takes no associations.",
            "disk above minimum_free_gb": "The disk is too full: instances are refused (A700).",
        }
        checks = self._readiness()
        found += [(sentence, "") for name, sentence in sentences.items() if not checks.get(name, True)]
        for name in self.destinations:
            record = self._spool.ledger.outbox.destination(name)
            if record.failures > 2:
                found.append((f"{name} can't be reached: {record.last_error or 'no answer'}", ""))
        return found

    def workers(self) -> Sequence[Worker]:
        """What the workers do."""
        found = []
        for loop in self._loops:
            working = loop.working or NOT_WORKING
            found.append(
                Worker(
                    loop.worker_starts,
                    loop.model_loaded,
                    loop.gpu_memory_bytes,
                    working.series_id,
                    working.stage,
                    working.fraction,
                )
            )
        return found

    def _send(self, path: Path) -> str | None:
        """Over the front door, so that an upload is treated as any other instance."""
        node = self._config.node
        if node.tls is not None:
            return "it takes TLS only; send the segmentation from the viewer"
        host = LOOPBACK[0] if node.host in EVERY_ADDRESS else node.host
        peer = Peer(node.ae_title, host, node.port, CALLING_AE_TITLE)
        (outcome,) = send_files([path], peer)
        return None if outcome.ok else outcome.error

    def disk(self) -> Disk:
        """Room for instances."""
        usage = shutil.disk_usage(self._spool.directory)
        return Disk(usage.free, self._spool.minimum_free_bytes, usage.total)


def _uses(config: Config) -> Mapping[str, tuple[str, ...]]:
    """What the node uses which model for."""
    uses = {config.analysis.model: ("finds lesions",), "lobes": ("finds lobes",)}
    return uses | ({"lungs": ("finds lungs",)} if config.analysis.lungs == "lungs" else {})

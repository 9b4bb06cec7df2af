"""What the node does now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dicomnode.analysis import stage_fraction
from dicomnode.spool.browsing import FINISHED, NOT_MEASURED, ON_THE_WAY, Browser, Delivered
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import Backlog, DestinationRecord, KindRefusal, SeriesRecord
from dicomnode.spool.states import SeriesState
from dicomnode.web.charts import sparkline
from dicomnode.web.live import Live
from dicomnode.web.messages import HTML, Response
from dicomnode.web.site import Call, Pages, Route, asking_the_ledger
from dicomnode.web.words import size

MOST_ON_THE_WAY = 50
MOST_RECENT = 12


@dataclass(frozen=True)
class Worker:
    """One worker; ``series_id`` is what it measures now, empty for nothing, with stage and its fraction."""

    starts: int
    model_loaded: bool
    gpu_memory_bytes: int | None = None
    series_id: str = ""
    stage: str = ""
    fraction: float = 0.0

    @property
    def progress(self) -> float:
        """On the whole bar, from 0 to 1."""
        return stage_fraction(self.stage, self.fraction)


@dataclass(frozen=True)
class Disk:
    """Room on the disk of the spool, in bytes."""

    free: int
    minimum: int
    total: int

    @property
    def used(self) -> float:
        """Used share, 0 to 1."""
        return 1 - self.free / self.total if self.total else 0.0

    @property
    def is_short(self) -> bool:
        """Whether instances are refused for lack of room."""
        return self.free <= self.minimum


class NodeView(Protocol):
    """What the page asks the node."""

    def alarms(self) -> Sequence[tuple[str, str]]:
        """What somebody should look after: a sentence, and the id of a series or nothing."""

    def workers(self) -> Sequence[Worker]:
        """What the workers do."""

    def disk(self) -> Disk:
        """Room for instances."""

    @property
    def name(self) -> str:
        """AE title."""

    @property
    def port(self) -> int:
        """Where associations are taken."""

    @property
    def destinations(self) -> Sequence[str]:
        """Names of the configured ones."""


@dataclass(frozen=True)
class Underway:
    """A series on its way, and how far each of the three steps is: from 0 to 1, None if nobody knows."""

    series: SeriesRecord
    received: float | None
    analyzed: float
    delivered: float
    said: str


@dataclass(frozen=True)
class DestinationLine:
    """How a destination does."""

    record: DestinationRecord
    configured: bool
    backlog: Backlog | None
    refusals: tuple[KindRefusal, ...]

    @property
    def trouble(self) -> str:
        """What it last said that wasn't yes."""
        return self.record.last_error or (self.backlog.last_error if self.backlog else "")


class NowPage:
    """The first page, and the part of it that is fetched again and again."""

    def __init__(
        self,
        pages: Pages,
        browser: Browser,
        ledger: Ledger,
        live: Live,
        node: NodeView,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pages = pages
        self._browser = browser
        self._ledger = ledger
        self._live = live
        self._node = node
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route("GET", "/", asking_the_ledger(lambda call: self._page("now.html"))),
            Route("GET", "/now", asking_the_ledger(self._part)),
        ]

    def _part(self, _call: Call) -> Response:
        return Response(self._page("now_part.html").body, content_type=HTML)

    def _page(self, template: str) -> Response:
        now = self._clock()
        workers = self._node.workers()
        throughput = self._live.throughput
        counts = self._browser.counts()
        underway = [
            self._underway(series, workers) for series in self._browser.newest(ON_THE_WAY, MOST_ON_THE_WAY)
        ]
        return self._pages.page(
            template,
            title="Now",
            now=now,
            node=self._node,
            alarms=self._node.alarms(),
            counts=counts,
            on_the_way=sum(counts[state] for state in ON_THE_WAY),
            underway=underway,
            finished=self._browser.newest(FINISHED, MOST_RECENT),
            not_measured=self._browser.newest(NOT_MEASURED, MOST_RECENT),
            workers=workers,
            disk=self._node.disk(),
            associations=self._live.associations,
            turned_away=self._live.turned_away,
            destinations=self._destinations(),
            throughput=throughput,
            curve=sparkline(
                throughput.curve,
                f"Received in the last two minutes, at most {size(max(throughput.curve))} a second",
            ),
        )

    def _underway(self, series: SeriesRecord, workers: Sequence[Worker]) -> Underway:
        state = series.state
        if state is SeriesState.RECEIVING:
            return Underway(series, None, 0.0, 0.0, "slices are arriving")
        if state is SeriesState.COMPLETE:
            tries = f"waits for another attempt: {series.detail}" if series.detail else "waits for a worker"
            return Underway(series, 1.0, 0.0, 0.0, tries)
        if state is SeriesState.ANALYZING:
            worker = next((one for one in workers if one.series_id == series.id), None)
            stage = worker.stage if worker else ""
            return Underway(series, 1.0, worker.progress if worker else 0.0, 0.0, stage)
        delivered = self._browser.delivered(series.id, series.generation)
        return Underway(
            series, 1.0, 1.0, _share(delivered), f"{delivered.done} of {delivered.total} objects delivered"
        )

    def _destinations(self) -> list[DestinationLine]:
        outbox = self._ledger.outbox
        backlog = {line.destination: line for line in outbox.backlog()}
        refusals = outbox.kind_refusals()
        names = self._node.destinations
        return [
            DestinationLine(
                outbox.destination(name),
                name in names,
                backlog.get(name),
                tuple(one for one in refusals if one.destination == name),
            )
            for name in dict.fromkeys((*names, *backlog))
        ]


def _share(delivered: Delivered) -> float:
    return delivered.done / delivered.total if delivered.total else 1.0

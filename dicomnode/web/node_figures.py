"""Figures that are read from the node when Prometheus asks for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dicomnode.audit.audit_file import AuditFile
from dicomnode.spool.errors import LedgerUnavailableError
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from dicomnode.spool.statistics import Statistics


@dataclass(frozen=True)
class WorkerFigures:
    """What is known of one worker process.

    Parameters
    ----------
    starts:
        How often it was started; the first is no restart.
    gpu_memory_bytes:
        Most that its last analysis used; ``None`` without a GPU.
    """

    starts: int
    model_loaded: bool
    gpu_memory_bytes: int | None = None

    @property
    def restarts(self) -> int:
        """How often it was replaced."""
        return max(0, self.starts - 1)


class NodeFigures(Collector):
    """Asks ledger, disk, workers and audit file.

    Parameters
    ----------
    destinations:
        Names of the configured ones: they have figures even while nothing waits for them.
    """

    def __init__(
        self,
        version: str,
        spool: Spool,
        statistics: Statistics,
        destinations: Sequence[str],
        workers: Callable[[], Sequence[WorkerFigures]],
        audit: AuditFile | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._version = version
        self._spool = spool
        self._statistics = statistics
        self._destinations = tuple(destinations)
        self._workers = workers
        self._audit = audit
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """All of them, now."""
        info = GaugeMetricFamily("dicomnode_build_info", "Always 1; the version", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        try:
            from_ledger = [*self._series(), *self._deliveries()]
        except LedgerUnavailableError:
            from_ledger = []
        yield GaugeMetricFamily(
            "dicomnode_ledger_available", "1 while the ledger answers", value=bool(from_ledger)
        )
        yield from from_ledger
        yield from self._disk()
        yield from self._worker_processes()
        if self._audit is not None:
            yield from _audit_trail(self._audit)

    def _series(self) -> Iterator[Metric]:
        states = GaugeMetricFamily("dicomnode_series", "Series that are in a state now", labels=["state"])
        for state, number in self._spool.ledger.count_by_state().items():
            states.add_metric([state.value], number)
        yield states
        oldest = self._statistics.waiting(SeriesState.COMPLETE).oldest_since
        yield GaugeMetricFamily(
            "dicomnode_oldest_waiting_seconds",
            "How long the series that waits longest has been waiting for a worker",
            value=self._age(oldest),
        )

    def _deliveries(self) -> Iterator[Metric]:
        backlog = {line.destination: line for line in self._spool.ledger.outbox.backlog()}
        pending = GaugeMetricFamily(
            "dicomnode_undelivered_objects",
            "Result objects that wait for a destination",
            labels=["destination"],
        )
        age = GaugeMetricFamily(
            "dicomnode_oldest_undelivered_seconds",
            "Age of the oldest result object that waits for a destination",
            labels=["destination"],
        )
        failures = GaugeMetricFamily(
            "dicomnode_destination_failures",
            "How often in a row a destination could not be reached",
            labels=["destination"],
        )
        for name in dict.fromkeys((*self._destinations, *backlog)):
            line = backlog.get(name)
            pending.add_metric([name], line.pending if line else 0)
            age.add_metric([name], self._age(line.oldest_created_at if line else None))
            failures.add_metric([name], self._spool.ledger.outbox.destination(name).failures)
        yield from (pending, age, failures)

    def _disk(self) -> Iterator[Metric]:
        try:
            free = self._spool.free_bytes()
        except OSError:
            return
        yield GaugeMetricFamily("dicomnode_spool_free_bytes", "Room on the disk of the spool", value=free)
        yield GaugeMetricFamily(
            "dicomnode_spool_minimum_free_bytes",
            "Below this, instances are refused with A700",
            value=self._spool.minimum_free_bytes,
        )

    def _worker_processes(self) -> Iterator[Metric]:
        loaded = GaugeMetricFamily(
            "dicomnode_worker_model_loaded", "1 once a worker has loaded the model", labels=["worker"]
        )
        restarts = CounterMetricFamily(
            "dicomnode_worker_restarts",
            "Workers that were replaced after a crash, a hang or lack of memory",
            labels=["worker"],
        )
        memory = GaugeMetricFamily(
            "dicomnode_gpu_memory_bytes", "Most GPU memory during the last analysis", labels=["worker"]
        )
        for number, worker in enumerate(self._workers(), 1):
            loaded.add_metric([str(number)], worker.model_loaded)
            restarts.add_metric([str(number)], worker.restarts)
            if worker.gpu_memory_bytes is not None:
                memory.add_metric([str(number)], worker.gpu_memory_bytes)
        yield from (loaded, restarts)
        if memory.samples:
            yield memory

    def _age(self, since: float | None) -> float:
        return 0.0 if since is None else max(0.0, self._clock() - since)


def _audit_trail(audit: AuditFile) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "dicomnode_audit_messages", "Audit messages that were written", value=audit.written
    )
    yield CounterMetricFamily(
        "dicomnode_audit_failures",
        "How often the audit file could not be written, and messages that were lost",
        value=audit.failures,
    )
    yield GaugeMetricFamily(
        "dicomnode_audit_waiting_messages",
        "Audit messages that could not be written yet",
        value=audit.waiting,
    )

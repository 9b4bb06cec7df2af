"""The node's figures for Prometheus; ``docs/metrics.md`` says what each means."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from dicomnode.analysis import Cost
from dicomnode.receive.access import Rejection
from dicomnode.receive.observer import Caller, ReceiveObserver, StoreOutcome
from dicomnode.receive.status import (
    CANNOT_UNDERSTAND,
    DOES_NOT_MATCH_SOP_CLASS,
    OUT_OF_RESOURCES,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
)
from dicomnode.spool.errors import LedgerUnavailableError
from dicomnode.spool.states import SeriesState
from dicomnode.spool.statistics import Statistics

CONTENT_TYPE = CONTENT_TYPE_LATEST

STATUSES = (
    SUCCESS,
    SOP_CLASS_NOT_SUPPORTED,
    OUT_OF_RESOURCES,
    DOES_NOT_MATCH_SOP_CLASS,
    CANNOT_UNDERSTAND,
)

STAGES: Mapping[SeriesState, str] = {
    SeriesState.RECEIVING: "receive",
    SeriesState.COMPLETE: "wait",
    SeriesState.ANALYZING: "analyze",
    SeriesState.DELIVERING: "deliver",
    SeriesState.DELIVERED: "commit",
}
"""What happens to a series while it is in a state."""

FAST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SLOW_SECONDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 86400.0)


class Metrics(ReceiveObserver):
    """Counts what it is told, and asks the ledger for the rest when the figures are read.

    Parameters
    ----------
    statistics:
        Of the ledger; stays of series in their states are counted from now on.
    """

    def __init__(self, statistics: Statistics) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._statistics = statistics
        self._seen_event = statistics.last_event()
        self._lock = threading.Lock()
        self._open: set[int] = set()
        self._associations_open = Gauge(
            "dicomnode_associations_open", "Associations that are open now", registry=registry
        )
        self._accepted = Counter(
            "dicomnode_associations_accepted", "Associations that were accepted", registry=registry
        )
        self._rejected = Counter(
            "dicomnode_associations_rejected",
            "Associations that were rejected",
            ["reason"],
            registry=registry,
        )
        self._failed_connections = Counter(
            "dicomnode_connections_failed",
            "Connections that never became an association",
            ["reason"],
            registry=registry,
        )
        self._instances = Counter(
            "dicomnode_instances_received",
            "C-STORE requests that were answered, by status in hexadecimal",
            ["status"],
            registry=registry,
        )
        self._bytes = Counter(
            "dicomnode_received_bytes",
            "Bytes of the data sets of these requests",
            ["status"],
            registry=registry,
        )
        self._store_seconds = Histogram(
            "dicomnode_store_seconds",
            "From a complete C-STORE request to its answer",
            buckets=FAST_SECONDS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "dicomnode_stage_seconds",
            "How long a series took for a stage",
            ["stage"],
            buckets=SLOW_SECONDS,
            registry=registry,
        )
        self._analysis_seconds = Histogram(
            "dicomnode_analysis_step_seconds",
            "How long the worker took for a step of the analysis",
            ["step"],
            buckets=SLOW_SECONDS,
            registry=registry,
        )
        self._deliveries = Counter(
            "dicomnode_deliveries",
            "Result objects that were offered to a destination",
            ["destination", "outcome"],
            registry=registry,
        )
        self._finished = Counter(
            "dicomnode_series_entered", "Series that went into a state", ["state"], registry=registry
        )
        # Counters that begin with their first event would hide it from rate() and increase().
        for status in STATUSES:
            self._instances.labels(f"{status:04X}")
            self._bytes.labels(f"{status:04X}")
        for state in SeriesState:
            self._finished.labels(state.value)
        for stage in STAGES.values():
            self._stage_seconds.labels(stage)

    def register(self, collector: Collector) -> None:
        """Add figures that are read when they are asked for."""
        self.registry.register(collector)

    def exposition(self) -> str:
        """All figures in the text format of Prometheus."""
        self._catch_up()
        return generate_latest(self.registry).decode("utf-8")

    def connection_failed(self, address: str, error: BaseException | None) -> None:
        """Count it by its kind."""
        reason = "tls" if isinstance(error, ssl.SSLError) else "other"
        self._failed_connections.labels("too_many" if error is None else reason).inc()

    def association_rejected(self, caller: Caller, rejection: Rejection) -> None:
        """Count it by the reason that the log gives too."""
        self._rejected.labels(rejection.sentence).inc()

    def association_established(self, caller: Caller) -> None:
        """One more is open."""
        self._accepted.inc()
        with self._lock:
            self._open.add(caller.association)
            self._associations_open.set(len(self._open))

    def association_ended(self, association: int) -> None:
        """One less is open, if it ever was."""
        with self._lock:
            self._open.discard(association)
            self._associations_open.set(len(self._open))

    def instance_answered(self, outcome: StoreOutcome) -> None:
        """Count the instance, its bytes and the time that it took."""
        status = f"{outcome.status:04X}"
        self._instances.labels(status).inc()
        self._bytes.labels(status).inc(outcome.size)
        self._store_seconds.observe(outcome.seconds)

    def analyzed(self, cost: Cost) -> None:
        """A worker has analyzed a series."""
        for step, seconds in cost.step_seconds.items():
            self._analysis_seconds.labels(step).observe(seconds)

    def offered(self, destination: str, *, ok: bool) -> None:
        """A result object was offered to a destination."""
        self._deliveries.labels(destination, "delivered" if ok else "not_delivered").inc()

    def _catch_up(self) -> None:
        """Count the moves of series since the last time; while the ledger doesn't answer, they wait."""
        with self._lock:
            try:
                self._seen_event, stays = self._statistics.stays_since(self._seen_event)
            except LedgerUnavailableError:
                return
            for stay in stays:
                self._finished.labels(stay.next_state.value).inc()
                if stay.state in STAGES:
                    self._stage_seconds.labels(STAGES[stay.state]).observe(stay.seconds)

"""A supervisor whose worker is on another machine."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

from dicomnode.analysis import no_progress
from dicomnode.report.result_set import NOTHING_FURTHER, FurtherResults
from dicomnode.supervisor import Supervisor, WorkerError

LOGGER = logging.getLogger(__name__)

TRAVEL_SECONDS = 120.0
"""What a series may take beyond its time for being computed."""

RETRY_SECONDS = 5.0


class ClusterSupervisor(Supervisor):
    """Owns one connection to a Ray cluster (:mod:`dicomnode.cluster.client`), and so one worker there.

    Parameters
    ----------
    address:
        Of the cluster's head, as Ray takes it.
    cpus:
        CPUs of one worker.
    model, device, timeout_seconds, lungs, runtime, further:
        As :class:`~dicomnode.supervisor.Supervisor` takes them; ``auto`` is a GPU where the cluster has one.
    """

    retry_seconds = RETRY_SECONDS

    def __init__(
        self,
        address: str,
        cpus: float,
        model: str,
        device: str,
        timeout_seconds: float,
        lungs: str = "classical",
        runtime: str = "torch",
        further: FurtherResults = NOTHING_FURTHER,
    ) -> None:
        command = [sys.executable, "-m", "dicomnode.cluster.client", "--address", address]
        command += ["--cpus", str(cpus), "--timeout-seconds", str(timeout_seconds)]
        super().__init__(model, device, timeout_seconds + TRAVEL_SECONDS, command, lungs, runtime, further)
        self.why_not = ""
        """Why :meth:`is_ready` said no; empty if it said yes."""

    def is_ready(self) -> bool:
        """Whether a worker in the cluster waits for a series; if not, the log says once why."""
        try:
            self.warm_up()
        except WorkerError as error:
            if str(error) != self.why_not:
                LOGGER.warning("no worker in the cluster: %s; complete series wait", error)
            self.why_not = str(error)
            return False
        if self.why_not:
            LOGGER.info("the cluster has a worker again")
        self.why_not = ""
        return True

    def tell(self, notice: Mapping[str, str]) -> None:
        """Nothing: a worker in the cluster has no file before the series is complete."""

    def capacity(self) -> int:
        """How many workers fit into the whole cluster.

        Raises
        ------
        WorkerError
            If the cluster can't be reached.
        """
        return int(self._request({"command": "capacity"}, no_progress)["workers"])

    def _fall_back(self, told: str) -> str:
        """Here a process that crashed is no sign of a broken GPU; the far side looks after its own."""
        return told

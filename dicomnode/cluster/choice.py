"""Here or in a cluster: who computes, as the configuration says."""

from __future__ import annotations

from dicomnode.cluster.supervisor import ClusterSupervisor
from dicomnode.config_sections import Analysis
from dicomnode.report.result_set import NOTHING_FURTHER, FurtherResults
from dicomnode.supervisor import Supervisor


def make_supervisor(settings: Analysis, further: FurtherResults = NOTHING_FURTHER) -> Supervisor:
    """One worker: a process of this machine, or with ``cluster`` one of a Ray cluster."""
    if settings.cluster:
        return ClusterSupervisor(
            settings.cluster,
            settings.cluster_cpus,
            settings.model,
            settings.device,
            settings.timeout_seconds,
            lungs=settings.lungs,
            runtime=settings.runtime,
            further=further,
        )
    return Supervisor(
        settings.model,
        settings.device,
        settings.timeout_seconds,
        lungs=settings.lungs,
        runtime=settings.runtime,
        further=further,
    )

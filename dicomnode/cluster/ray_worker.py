"""One actor of a Ray cluster as a worker: found, asked, lost and replaced; the only module that knows Ray."""

from __future__ import annotations

import math
import os
import socket
from typing import Any
from urllib.parse import urlsplit

from dicomnode.cluster.actor import SeriesWorker
from dicomnode.cluster.errors import ClusterError
from dicomnode.cluster.identity import Identity
from dicomnode.cluster.parcel import Parcel

PLACE_SECONDS = 5.0
"""How long a free place for an actor is waited for; asked again, the actor is still in the queue."""

SILENCE_SECONDS = 30.0
"""An actor answers each second; silent for so long, it or the cluster is lost."""

PROBE_SECONDS = 5.0
DEFAULT_PORT = 6379

Event = dict[str, Any]


class LostError(ClusterError):
    """The connection to the cluster is gone or in doubt, and this process with it."""


class RayWorker:
    """Connects when it is first needed.

    Parameters
    ----------
    address:
        ``HOST:PORT`` of the head, where this machine is part of the cluster, or ``ray://HOST:PORT``, where it
        isn't.
    cpus:
        What an actor takes, besides one GPU where the cluster has some.
    timeout_seconds:
        Longest time for one series.
    """

    def __init__(self, address: str, cpus: float, timeout_seconds: float) -> None:
        self._address = address
        self._cpus = cpus
        self._timeout_seconds = timeout_seconds
        self._ray: Any = None
        self._actor: Any = None
        self._wanted: tuple[str, ...] | None = None
        self._accepted = False

    def connect(self, model: str, device: str, lungs: str, runtime: str) -> None:
        """See that an actor lives, is what this node would be, and has the model loaded.

        Raises
        ------
        LostError
            If the cluster doesn't answer.
        ClusterError
            If no place is free now, or the actor's machine has other code or models.
        """
        ray = self._connected()
        wanted = (model, device, lungs, runtime)
        if self._wanted != wanted:
            self.release()
            self._wanted = wanted
        try:
            if self._actor is None:
                self._actor = self._new_actor(device, *wanted)
            seconds = SILENCE_SECONDS if self._accepted else PLACE_SECONDS
            identity = ray.get(self._actor.identity.remote(), timeout=seconds)
            if not self._accepted:
                self._accept(identity, Identity.here(model))
        except ray.exceptions.GetTimeoutError:
            if self._accepted:
                raise LostError(f"the worker in the cluster is silent for {SILENCE_SECONDS:g} s") from None
            raise ClusterError(self._why_no_place(device)) from None
        except ray.exceptions.RayError as error:
            raise self._lost(error) from error
        except ConnectionError as error:
            raise LostError(f"the cluster at {self._address} is gone") from error

    def capacity(self, device: str) -> int:
        """How many actors fit into the whole cluster.

        Raises
        ------
        ClusterError
            If the cluster doesn't answer.
        """
        ray = self._connected()
        machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
        gpus = self._wants_gpu(device)
        places = [
            min(
                math.floor(machine.get("CPU", 0.0) / self._cpus),
                math.floor(machine.get("GPU", 0.0)) if gpus else 1 << 20,
            )
            for machine in machines
        ]
        return sum(places)

    def begin(self, away: Event, parcel: Parcel) -> None:
        """Put the files into the object store, once, and the request to the actor."""
        try:
            self._call("begin", away, self._ray.put(parcel))
        except ConnectionError as error:
            raise LostError(f"the cluster at {self._address} is gone") from error

    def events(self) -> list[Event]:
        """What the actor tells of the request."""
        found: list[Event] = self._call("events")
        return found

    def answer(self, findings: Event) -> None:
        """Earlier results for the actor."""
        self._call("answer", findings)

    def release(self) -> None:
        """Give the actor's place in the cluster back."""
        if self._actor is not None:
            self._ray.kill(self._actor)
        self._actor, self._accepted = None, False

    def _call(self, method: str, *arguments: Any) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(getattr(self._actor, method).remote(*arguments), timeout=SILENCE_SECONDS)
        except exceptions.GetTimeoutError:
            raise LostError(f"the worker in the cluster is silent for {SILENCE_SECONDS:g} s") from None
        except exceptions.RayError as error:
            raise self._lost(error) from error
        except ConnectionError as error:
            raise LostError(f"the cluster at {self._address} is gone") from error

    def _lost(self, error: Exception) -> LostError:
        """An actor that is gone may mean the cluster is; nothing of the old connection is used again."""
        if not self._accepted:
            return LostError(
                f"no worker can be started in the cluster ({type(error).__name__}); has each machine "
                "dicomnode[cluster] in the version of this node?"
            )
        return LostError(f"the worker in the cluster was lost ({type(error).__name__})")

    def _connected(self) -> Any:
        if self._ray is not None:
            return self._ray
        try:
            import ray  # noqa: PLC0415 - an extra, and half a second
        except ImportError:
            raise ClusterError("Ray is not installed: pip install 'dicomnode[cluster]'") from None
        _probe(self._address)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            ray.init(address=self._address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # of many kinds, and none leaves a process that can try again
            raise LostError(
                f"no connection to the cluster at {self._address} ({type(error).__name__})"
            ) from error
        self._ray = ray
        return ray

    def _wants_gpu(self, device: str) -> bool:
        return device != "cpu" and self._ray.cluster_resources().get("GPU", 0.0) >= 1

    def _new_actor(self, device: str, *wanted: str) -> Any:
        gpus = 1 if self._wants_gpu(device) else 0
        options = {"num_cpus": self._cpus, "num_gpus": gpus, "max_concurrency": 4, "max_restarts": 0}
        remote = self._ray.remote(SeriesWorker).options(**options)
        return remote.remote(*wanted, self._timeout_seconds)

    def _accept(self, identity: Identity, own: Identity) -> None:
        told = own.difference(identity) or self._load()
        if told:
            self.release()
            raise ClusterError(told)
        self._accepted = True

    def _load(self) -> str:
        try:
            return str(self._ray.get(self._actor.load.remote(), timeout=self._timeout_seconds))
        except self._ray.exceptions.GetTimeoutError:
            return f"the model was not loaded within {self._timeout_seconds:g} s"

    def _why_no_place(self, device: str) -> str:
        asked = f"{self._cpus:g} CPUs for a worker" + (" and a GPU" if self._wants_gpu(device) else "")
        if self.capacity(device) == 0:
            return f"no machine of the cluster has {asked}; see [analysis] cluster_cpus"
        return f"no machine of the cluster has {asked} free"


def _probe(address: str) -> None:
    """Whether somebody listens: Ray itself would try for a minute."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        socket.create_connection((parts.hostname or "", parts.port or DEFAULT_PORT), PROBE_SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error)
        raise ClusterError(f"the head of the cluster at {address} doesn't answer: {why}") from error

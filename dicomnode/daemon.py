"""The node as a process: signals, reloading, and what the service manager is told."""

from __future__ import annotations

import logging
import os
import queue
import signal
import time
from collections.abc import Callable

from dicomnode.config import Config, ConfigError
from dicomnode.logs import configure_logging
from dicomnode.node import Node
from dicomnode.reload import plan_reload
from dicomnode.service_manager import notify, watchdog_interval_seconds
from dicomnode.tls import CertificateError

LOGGER = logging.getLogger(__name__)

_CHECK_SECONDS = 5.0


class Daemon:
    """Runs a node: SIGTERM or SIGINT drains it, a second one doesn't wait for the analysis, SIGHUP reloads.

    Parameters
    ----------
    read_config:
        Reads the configuration again, for SIGHUP.
    """

    def __init__(self, node: Node, read_config: Callable[[], Config]) -> None:
        self._node = node
        self._read_config = read_config
        # SimpleQueue.put may be called by a signal handler in the middle of get; Event.set could deadlock.
        self._signals: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
        self._terminations = 0
        self._unwell = ""

    def run(self) -> None:
        """Start, serve until a signal ends it, drain.

        Raises
        ------
        OSError
            If the port can't be listened on.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._node.start()
        self._tell_ready()
        while (received := self._next_signal()) is signal.SIGHUP:
            self._reload()
        LOGGER.info("%s received, draining", received.name)
        notify("STOPPING=1\nSTATUS=draining")
        self._node.stop(drain=self._terminations == 1)

    def _on_signal(self, number: int, _frame: object) -> None:
        received = signal.Signals(number)
        if received is not signal.SIGHUP:
            self._terminations += 1
        if self._terminations > 1:
            self._node.abandon()
        self._signals.put(received)

    def _next_signal(self) -> signal.Signals:
        """Wait for it, and look after the node meanwhile."""
        watchdog = watchdog_interval_seconds()
        while True:
            try:
                return self._signals.get(timeout=watchdog or _CHECK_SECONDS)
            except queue.Empty:
                self._look_after_the_node(watched=watchdog is not None)

    def _look_after_the_node(self, *, watched: bool) -> None:
        """The watchdog hears of a node that is well only, and restarts one that isn't for long."""
        ended = self._node.ended_threads()
        unwell = f"a thread has ended: {', '.join(ended)}" if ended else self._node.complaint()
        if unwell and unwell != self._unwell:
            LOGGER.critical("the node is not well, %s", unwell)
            notify(f"STATUS=not well, {unwell}")
        elif self._unwell and not unwell:
            LOGGER.info("the node is well again")
            notify(self._status)
        self._unwell = unwell
        if not unwell:
            notify("WATCHDOG=1")
        elif ended and not watched:
            # No acknowledged instance is lost by this, and whoever started the node can start it again;
            # left alone it would go on half dead.
            os._exit(1)

    def _reload(self) -> None:
        """Take over what can change while the node runs; a wrong file changes nothing."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            plan = plan_reload(self._node.config, self._read_config())
            self._node.reload(plan.config)
        except ConfigError as error:
            for finding in str(error).splitlines():
                LOGGER.error("not reloaded, the configuration stays as it was: %s", finding)
        except CertificateError as error:
            LOGGER.error("not reloaded, the configuration stays as it was: node.tls: %s", error)
        else:
            configure_logging(plan.config.log.level, plan.config.log.format)
            LOGGER.info("configuration reloaded", extra={"changed": ", ".join(plan.changed) or "nothing"})
            if plan.waiting:
                LOGGER.warning("these keys need a restart: %s", ", ".join(plan.waiting))
        self._tell_ready()

    def _tell_ready(self) -> None:
        notify(f"READY=1\n{self._status}")

    @property
    def _status(self) -> str:
        return f"STATUS=listening on port {self._node.port}"

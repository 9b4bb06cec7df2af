"""Many lives of one node on one spool, each ended by SIGKILL; then one that is left alone."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.kills import ledger_view
from tests.kills.daemon import Daemon
from tests.kills.pacs import RecordingPacs
from tests.kills.patients import Patients, SentSeries, templates
from tests.kills.points import COMMITMENT_POINTS, POINTS, By, KillPoint, Phase
from tests.kills.sender import associations, send

MEASURED_SHARE = 0.25
RESENT_SHARE = 0.2
PACS_DOWN_SHARE = 0.15
PACS_BREAKS_DOWN_SHARE = 0.1
START_UP_SECONDS = 1.0
ANY_SECONDS = 6.0
PATIENCE_SECONDS = 120.0
"""A life that has not come to its point by then is ended from outside, and counted as missed."""
SETTLE_SECONDS = 600.0


class Campaign:
    """One seed's kills.

    Parameters
    ----------
    directory:
        For everything; made if missing.
    data:
        The folder of real CT data, ``None`` for a phantom.
    seed:
        Chooses points, numbers, series, associations and faults of the PACS; not the scheduling of threads.
    commitment:
        Whether the node asks the PACS for storage commitment; then it is killed around that too.
    """

    def __init__(self, directory: Path, data: Path | None, seed: int, *, commitment: bool = False) -> None:
        self.seed = seed
        self.commitment = commitment
        self.points = (*POINTS, *COMMITMENT_POINTS) if commitment else POINTS
        self.rng = random.Random(seed)
        self.pacs = RecordingPacs()
        self.pacs.start()
        self.node = Daemon(directory / "node", self.pacs.port, commitment=commitment)
        self.patients = Patients(*templates(data, directory), directory / "sent", self.rng)
        self.series: list[SentSeries] = []
        self.acknowledged: set[Path] = set()
        self.noted_before: list[tuple[int, set[str]]] = []
        """After each life: its number, and what the ledger had as delivered."""
        self.requests = 0
        self.kills: Counter[str] = Counter()
        self.kills_by_phase: Counter[Phase] = Counter()
        self.missed: list[str] = []
        self.pacs_faults = 0

    def run(self, kills: int, progress: Callable[[int, str], None] = lambda done, point: None) -> None:
        """Kill the node so often, then let it finish."""
        try:
            for number, point in enumerate(self._points(kills)):
                progress(number, point.name)
                self.pacs.life = number
                self._live(point)
                self.noted_before.append((number, ledger_view.delivered_when_it_died(self.node.spool)))
            progress(kills, "finishing")
            self.pacs.life = kills
            self._finish()
        finally:
            self.node.kill()
            self.pacs.stop()

    def _points(self, kills: int) -> Iterator[KillPoint]:
        """Each point once in a random order, then again in another one."""
        left = kills
        while left:
            for point in self.rng.sample(self.points, min(left, len(self.points))):
                yield point
                left -= 1

    def _live(self, point: KillPoint) -> None:
        """One life: start, send, die at ``point``."""
        needs_measured = point.name == "analysis-step"
        new = [
            self.patients.next(measured=needs_measured or self.rng.random() < MEASURED_SHARE)
            for _ in range(self.rng.randint(1, 3))
        ]
        self.series += new
        count = sum(len(series.instances) for series in new)
        call = point.choose_call(self.rng, instances=count, series=len(new))
        if point.by is By.LAUNCHER:
            self.node.start(point.name, call)
        else:
            self.node.start()
        if point.by is By.CLOCK:
            limit = START_UP_SECONDS if point.phase is Phase.START_UP else ANY_SECONDS
            self._kill_after(self.rng.uniform(0, limit))
        if point.by is By.PACS:
            self._kill_at_arrival(call)
        with self._troubled_pacs(quiet=point.by is By.PACS):
            if self.node.listens():
                self._send_what_is_open(resend=self.rng.random() < RESENT_SHARE)
            if not self.node.ends_within(PATIENCE_SECONDS):
                self.missed.append(f"{point.name} {call}")
        self.node.kill()
        self.pacs.on_arrival = lambda: None
        ended = self.node.exit_status
        assert ended == -9, f"the node ended by itself with status {ended}, see {self.node.log_path}"
        self.kills[point.name] += 1
        self.kills_by_phase[point.phase] += 1

    def _kill_after(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self.node.kill)
        timer.daemon = True
        timer.start()

    def _kill_at_arrival(self, call: int) -> None:
        remaining = iter(range(call - 1, -1, -1))

        def count_down() -> None:
            if next(remaining, None) == 0:
                self.node.kill()

        self.pacs.on_arrival = count_down

    @contextlib.contextmanager
    def _troubled_pacs(self, *, quiet: bool) -> Iterator[None]:
        """Sometimes the PACS is down for a while, sometimes it breaks down with an object in its hands."""
        if not quiet and self.rng.random() < PACS_BREAKS_DOWN_SHARE:
            self.pacs.break_down_once()
            self.pacs_faults += 1
        if quiet or self.rng.random() >= PACS_DOWN_SHARE:
            yield
            return
        self.pacs_faults += 1
        self.pacs.stop()
        back = threading.Timer(self.rng.uniform(0.5, 4.0), self.pacs.start)
        back.start()
        try:
            yield
        finally:
            back.join()

    def _open(self) -> list[list[Path]]:
        """Files that were not acknowledged, by series."""
        waiting = ([path for path in series.paths if path not in self.acknowledged] for series in self.series)
        return [paths for paths in waiting if paths]

    def _send_what_is_open(self, *, resend: bool) -> None:
        files = self._open()
        if resend:
            files.append(self.rng.choice(self.series).paths)
        requests, acknowledged = send(self.node.port, associations(files, self.rng))
        self.requests += requests
        self.acknowledged |= acknowledged

    def _finish(self) -> None:
        """A last life under the plain command: the senders end, the node ends its work and is stopped."""
        self.node.start()
        assert self.node.listens(), f"the node doesn't start, see {self.node.log_path}"
        while self._open():
            self._send_what_is_open(resend=False)
        self._retry_interrupted()
        deadline = time.monotonic() + SETTLE_SECONDS
        while waiting := ledger_view.unsettled(self.node.spool, commitment=self.commitment):
            assert self.node.is_alive, f"the node ended by itself, see {self.node.log_path}"
            assert time.monotonic() < deadline, f"stuck: {waiting}"
            time.sleep(0.1)
        assert self.node.stop() == 0, f"the node doesn't stop cleanly, see {self.node.log_path}"

    def _retry_interrupted(self) -> None:
        """What an administrator does with a series during whose analysis the node died too often."""
        for series in ledger_view.series(self.node.spool).values():
            if series.state == "failed" and series.reason == "interrupted":
                command = [sys.executable, "-m", "dicomnode.cli", "retry", series.id]
                subprocess.run([*command, "--config", str(self.node.config_path)], check=True)

"""The real daemon that sends itself SIGKILL at a named point; the product's code knows nothing of it.

python -m tests.kills.launcher POINT CALL FIRED serve --config FILE

The CALL-th time that the daemon comes to POINT, the file FIRED is made and the process is killed.
"""

from __future__ import annotations

import functools
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dicomnode import cli
from dicomnode.receive.timed_socket import TimedSocket
from dicomnode.spool import instances
from dicomnode.spool.commitments import AskedOfDestinations
from dicomnode.spool.instances import InstanceFiles
from dicomnode.spool.journal import Segment
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.outbox import Outbox
from dicomnode.spool.spool import Spool
from dicomnode.supervisor import Supervisor


class Trigger:
    """Kills this process the ``call``-th time it is pulled."""

    def __init__(self, call: int, fired: Path) -> None:
        self._remaining = call
        self._fired = fired
        self._lock = threading.Lock()

    def pull(self) -> None:
        with self._lock:
            self._remaining -= 1
            if self._remaining == 0:
                self._fired.touch()
                os.kill(os.getpid(), signal.SIGKILL)


def before(owner: type, name: str, pull: Callable[[], None]) -> None:
    """Pull each time the method is called."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        pull()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def after(owner: type, name: str, pull: Callable[[], None]) -> None:
    """Pull each time the method has returned something other than ``None``, or has nothing to return."""
    original = getattr(owner, name)
    returns_something = original.__annotations__["return"] != "None"

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        if answer is not None or not returns_something:
            pull()
        return answer

    setattr(owner, name, wrapped)


def in_the_middle_of_a_file(pull: Callable[[], None]) -> None:
    """Pull when the head and half of the data set of an instance are written."""
    original = instances.write_at

    def write_at(descriptor: int, parts: Iterable[bytes | memoryview], offset: int) -> int:
        *heads, data = (memoryview(part) for part in parts)
        half = len(data) // 2
        written = original(descriptor, [*heads, data[:half]], offset)
        pull()
        return written + original(descriptor, [data[half:]], offset + written)

    instances.write_at = write_at


def at_steps_of_an_analysis(pull: Callable[[], None]) -> None:
    """Pull at each progress report of the worker."""
    original = Supervisor.analyze

    def analyze(self: Supervisor, paths: Any, out: Path, config_sha256: str, **kwargs: Any) -> Any:
        def progress(_stage: str, _fraction: float) -> None:
            pull()

        return original(self, paths, out, config_sha256, **{**kwargs, "progress": progress})

    Supervisor.analyze = analyze  # type: ignore[method-assign]


def around_commits(
    pull_before: Callable[[], None] | None = None, pull_after: Callable[[], None] | None = None
) -> None:
    """Pull around each COMMIT that SQLite gets."""

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
            commits = statement.strip().upper() == "COMMIT"
            if commits and pull_before:
                pull_before()
            answer = super().execute(statement, *args)
            if commits and pull_after:
                pull_after()
            return answer

    sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]


def before_the_commit_of_a_row(pull: Callable[[], None]) -> None:
    """Pull at commits from the first on that follows a row for a new instance."""
    writing = threading.Event()
    before(Ledger, "record_instance", writing.set)
    around_commits(lambda: pull() if writing.is_set() else None)


def before_results_are_recorded(pull: Callable[[], None]) -> None:
    before(Ledger, "record_results", pull)
    before(Ledger, "refuse", pull)


def after_results_are_recorded(pull: Callable[[], None]) -> None:
    after(Ledger, "record_results", pull)
    after(Ledger, "refuse", pull)


WAYS: dict[str, Callable[[Callable[[], None]], None]] = {
    "pdu-arriving": lambda pull: before(TimedSocket, "fill", pull),
    "file-half-written": in_the_middle_of_a_file,
    "file-written": lambda pull: after(InstanceFiles, "publish", pull),
    "log-not-synced": lambda pull: before(Segment, "sync", pull),
    "row-not-committed": before_the_commit_of_a_row,
    "kept-not-answered": lambda pull: after(Spool, "keep", pull),
    "series-claimed": lambda pull: after(Ledger, "claim_next", pull),
    "analysis-step": at_steps_of_an_analysis,
    "results-not-published": lambda pull: after(Supervisor, "analyze", pull),
    "results-not-recorded": before_results_are_recorded,
    "results-recorded": after_results_are_recorded,
    "stored-not-noted": lambda pull: before(Outbox, "succeeded", pull),
    "delivery-noted": lambda pull: after(Outbox, "succeeded", pull),
    "commitment-not-asked": lambda pull: before(AskedOfDestinations, "asked", pull),
    "commitment-asked": lambda pull: after(AskedOfDestinations, "asked", pull),
    "commitment-not-noted": lambda pull: before(AskedOfDestinations, "answered", pull),
    "ledger-opened": lambda pull: before(Spool, "recover", pull),
    "spool-checked": lambda pull: after(Spool, "recover", pull),
    "interrupted-requeued": lambda pull: after(Ledger, "requeue_interrupted", pull),
    "before-a-commit": lambda pull: around_commits(pull_before=pull),
    "after-a-commit": lambda pull: around_commits(pull_after=pull),
}


def main() -> int:
    point, call, fired, *command = sys.argv[1:]
    WAYS[point](Trigger(int(call), Path(fired)).pull)
    return cli.main(command)


if __name__ == "__main__":
    sys.exit(main())

"""Tells the worker of slices as they are kept, so that it can begin before their series is complete."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from dicomnode.receive.observer import ReceiveObserver, StoreOutcome
from dicomnode.receive.presentation_contexts import CT_IMAGE_STORAGE
from dicomnode.spool.records import Kept

MOST_WAITING = 10_000

Notice = Mapping[str, str]


class EarlyNotices(ReceiveObserver):
    """Passes on what concerns CT series; who stores never waits for it, and a notice may be lost.

    Parameters
    ----------
    path_of:
        Where the instance of a series (its id) and a SOP Instance UID lies.
    tell:
        Gets each notice, from a thread of its own.
    """

    def __init__(self, path_of: Callable[[str, str], Path], tell: Callable[[Notice], None]) -> None:
        self._path_of = path_of
        self._tell = tell
        self._notices: queue.Queue[Notice | None] = queue.Queue(MOST_WAITING)
        self._series_of: dict[int, set[str]] = defaultdict(set)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="early-notices", daemon=True)

    def start(self) -> None:
        """Begin to pass on."""
        self._thread.start()

    def stop(self) -> None:
        """Pass on nothing more; what waits is dropped."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._notices.get_nowait()
        self._put(None)

    def instance_answered(self, outcome: StoreOutcome) -> None:
        """A CT image was kept."""
        identity = outcome.identity
        if outcome.kept is not Kept.NEW or identity is None or identity.sop_class_uid != CT_IMAGE_STORAGE:
            return
        with self._lock:
            self._series_of[outcome.caller.association].add(outcome.series_id)
        path = self._path_of(outcome.series_id, identity.sop_instance_uid)
        self._put({"notice": "arrived", "series": outcome.series_id, "path": str(path)})

    def association_ended(self, association: int) -> None:
        """Its series may be whole."""
        with self._lock:
            ended = self._series_of.pop(association, set())
        for series_id in ended:
            self._put({"notice": "ended", "series": series_id})

    def _put(self, notice: Notice | None) -> None:
        with contextlib.suppress(queue.Full):
            self._notices.put_nowait(notice)

    def _run(self) -> None:
        while (notice := self._notices.get()) is not None:
            self._tell(notice)

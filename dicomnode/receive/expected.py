"""Instances that the node itself asked for by C-MOVE: they come in by the front door and aren't kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset

REMEMBERED = 10_000
MAXIMUM_BYTES = 16 << 20
"""A report is far smaller; the rest of what a PACS may send instead isn't held in memory."""


class ExpectedInstances:
    """Hands over what somebody in the node waits for; methods are called from many threads.

    What comes when nobody waits any more is dropped: it was asked for, and is no series to be analyzed. The
    PACS that sent it keeps it, which is why Success doesn't promise here that the node does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, Dataset | None] = OrderedDict()

    def wait(self, sop_instance_uids: Sequence[str]) -> Callable[[], dict[str, Dataset]]:
        """From now on instances with these UIDs are handed over; the result gives those that came."""
        with self._lock:
            for uid in sop_instance_uids:
                self._asked[uid] = None
                self._asked.move_to_end(uid)
            while len(self._asked) > REMEMBERED:
                self._asked.popitem(last=False)

        def came() -> dict[str, Dataset]:
            with self._lock:
                found = {uid: self._asked.get(uid) for uid in sop_instance_uids}
                self._asked.update(dict.fromkeys(found))
            return {uid: dataset for uid, dataset in found.items() if dataset is not None}

        return came

    def take(self, sop_instance_uid: str, parts: Sequence[bytes | memoryview]) -> bool:
        """Whether the instance was asked for; ``parts`` are its file."""
        with self._lock:
            if sop_instance_uid not in self._asked:
                return False
        if sum(len(part) for part in parts) > MAXIMUM_BYTES:
            return True
        dataset = dcmread(BytesIO(b"".join(parts)))
        with self._lock:
            if sop_instance_uid in self._asked:
                self._asked[sop_instance_uid] = dataset
        return True

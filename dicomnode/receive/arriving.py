"""A data set of ordinary size while it arrives: in memory, looked through and hashed piece by piece."""

from __future__ import annotations

import hashlib

from dicomnode.receive.dataset_scan import ArrivingScan, DatasetIdentity

_SMALLEST_BYTES = 1 << 20


class ArrivalMemory:
    """Memory of one association for the data set that it is sending; used again for the next one.

    Parameters
    ----------
    maximum_bytes:
        A longer data set doesn't fit.
    """

    def __init__(self, maximum_bytes: int) -> None:
        self.maximum_bytes = maximum_bytes
        self._memory = bytearray()

    def room(self, used: int, more: int) -> memoryview:
        """Memory for ``more`` bytes after the ``used`` ones, which stay."""
        needed = used + more
        if needed > len(self._memory):
            larger = bytearray(min(max(2 * needed, _SMALLEST_BYTES), max(self.maximum_bytes, needed)))
            larger[:used] = memoryview(self._memory)[:used]
            self._memory = larger
        return memoryview(self._memory)[used:needed]

    def give_back(self, *, but: int = 0) -> None:
        """Have no more than ``but`` bytes until the next data set."""
        if len(self._memory) > but:
            self._memory = bytearray()

    def content(self, used: int) -> memoryview:
        """The first ``used`` bytes."""
        return memoryview(self._memory)[:used].toreadonly()


class ArrivingDataSet:
    """A :class:`dicomnode.receive.store.DataSet`, filled from the socket."""

    def __init__(self, memory: ArrivalMemory, transfer_syntax_uid: str) -> None:
        self.size = 0
        self._memory = memory
        self._scan = ArrivingScan(transfer_syntax_uid)
        self._digest = hashlib.sha256()

    def room(self, more: int) -> memoryview | None:
        """Where the next ``more`` bytes belong; ``None`` if there would be too many."""
        if self.size + more > self._memory.maximum_bytes:
            return None
        return self._memory.room(self.size, more)

    def came(self, piece: memoryview) -> None:
        """The room that was given is filled."""
        self._digest.update(piece)
        self.size += len(piece)
        self._scan.advance(self.view())

    def view(self) -> memoryview:
        """What has come."""
        return self._memory.content(self.size)

    def identify(self) -> DatasetIdentity:
        """Which instance it is; raises as :func:`~dicomnode.receive.dataset_scan.scan_dataset` does."""
        return self._scan.finish(self.view())

    def sha256(self) -> str:
        """In hexadecimal."""
        return self._digest.hexdigest()

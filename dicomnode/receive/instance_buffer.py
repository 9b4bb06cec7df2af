"""Where a data set waits while it is received: a little memory, the disk of the spool beyond that."""

from __future__ import annotations

import contextlib
import mmap
import shutil
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

IN_MEMORY_BYTES = 4 << 20


class InstanceTooLargeError(Exception):
    """More than an instance may have; the message says how much that is."""


@dataclass(frozen=True)
class BufferLimits:
    """How much a data set may have and where it may lie.

    Parameters
    ----------
    directory:
        On the disk of the spool; data sets beyond ``in_memory_bytes`` lie there in files without a name,
        which vanish with the process.
    maximum_bytes:
        Of one data set.
    minimum_free_bytes:
        Room on the disk that they must leave free.
    in_memory_bytes:
        A CT slice of 1024 x 1024 fits.
    """

    directory: Path
    maximum_bytes: int
    minimum_free_bytes: int = 0
    in_memory_bytes: int = IN_MEMORY_BYTES


class InstanceBuffer(BytesIO):
    """A :class:`io.BytesIO` that moves to the disk when it grows.

    If the disk has no room for it the content is given up and :attr:`gave_up` is set; what is written
    further is passed over, so that the sender can be told with a status.
    """

    def __init__(self, limits: BufferLimits) -> None:
        super().__init__()
        self._limits = limits
        self._size = 0
        self._file: IO[bytes] | None = None
        self._map: mmap.mmap | None = None
        self.gave_up = False

    def write(self, data: Any) -> int:
        """Append.

        Raises
        ------
        InstanceTooLargeError
            If there is more than the limit.
        """
        self._size += len(data)
        if self._size > self._limits.maximum_bytes:
            self.release()
            raise InstanceTooLargeError(
                f"longer than {self._limits.maximum_bytes / 1e6:g} MB (node.max_instance_mb)"
            )
        if self.gave_up:
            return len(data)
        if self._file is None and self._size <= self._limits.in_memory_bytes:
            return super().write(data)
        try:
            self._write_to_disk(data)
        except OSError:
            self.release()
            self.gave_up = True
        return len(data)

    def getbuffer(self) -> memoryview:
        """The content, without a copy; memory is taken only for what is looked at, and lent by the system."""
        if self._file is None:
            return super().getbuffer()
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(self._map)

    def release(self) -> None:
        """Give memory and disk back at once, or when the last view of the content is gone."""
        mapped, self._map = self._map, None
        if self._file is not None:
            self._file.close()
            self._file = None
        with contextlib.suppress(BufferError):
            if mapped is not None:
                mapped.close()
            self.seek(0)
            self.truncate()

    def _write_to_disk(self, data: Any) -> None:
        if shutil.disk_usage(self._limits.directory).free < self._limits.minimum_free_bytes:
            raise OSError("not enough free disk space")
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._limits.directory, buffering=0)  # noqa: SIM115
            with super().getbuffer() as beginning:
                _write_all(self._file, beginning)
            self.seek(0)
            self.truncate()
        _write_all(self._file, memoryview(data))


def _write_all(file: IO[bytes], data: memoryview) -> None:
    written = 0
    while written < len(data):
        written += file.write(data[written:])

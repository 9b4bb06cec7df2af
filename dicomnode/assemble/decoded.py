"""Slices decoded before their series is complete, kept in memory until it is assembled."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.gate import check_slice
from dicomnode.assemble.headers import SliceHeader, read_header
from dicomnode.assemble.pixels import Plausible, plausible_values, read_hounsfield
from dicomnode.assemble.refusal import SeriesRefusedError

MOST_BYTES = 1_000_000_000


@dataclass(frozen=True, eq=False)
class DecodedSlice:
    """One instance: its header, int16 (rows, columns) in HU, and which file on the disk they came from."""

    header: SliceHeader
    hu: NDArray[np.int16]
    values: Plausible
    file: tuple[int, int, int, int]


class DecodedSlices:
    """Decoded slices by path; a slice whose file has changed since is none.

    Parameters
    ----------
    most_bytes:
        Room for pixels; when it is used up no further slice is taken.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._slices: dict[Path, DecodedSlice] = {}
        self._lock = threading.Lock()

    @property
    def bytes_held(self) -> int:
        """What the pixels take."""
        return self._bytes

    def add(self, path: Path) -> DecodedSlice | None:
        """Decode the instance in ``path``; None if there is no room for it or it can't be part of a volume.

        Whatever is wrong with it is told when its series is assembled.

        Raises
        ------
        FileNotFoundError
            If there is no such file (yet).
        """
        file = _identity(path)
        if (known := self.find(path)) is not None:
            return known
        try:
            header = read_header(path)
            check_slice(header)
            assert header.rows and header.columns  # seen to
            hu = np.empty((header.rows, header.columns), dtype=np.int16)
            if self._bytes + hu.nbytes > self._most_bytes:
                return None
            read_hounsfield(header, hu)
        except (AssembleError, SeriesRefusedError):
            return None
        decoded = DecodedSlice(header, hu, plausible_values(hu), file)
        with self._lock:
            self._slices[path] = decoded
            self._bytes += hu.nbytes
        return decoded

    def find(self, path: Path) -> DecodedSlice | None:
        """The slice of ``path`` if it was decoded and its file is still the same one."""
        decoded = self._slices.get(path)
        if decoded is None:
            return None
        try:
            return decoded if _identity(path) == decoded.file else None
        except FileNotFoundError:
            return None

    def drop(self, path: Path) -> None:
        """Forget the slice of ``path``."""
        with self._lock:
            decoded = self._slices.pop(path, None)
            self._bytes -= decoded.hu.nbytes if decoded else 0


def _identity(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

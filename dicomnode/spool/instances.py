"""Instance files: whole and on disk, or not there at all."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

# One large write fills the page cache slower than pieces that fit the processor's cache.
PIECE_BYTES = 64 * 1024
_PIECES_A_CALL = 64

_INSTANCES = "instances"
_INCOMING = "incoming"
_PURGED = "purged"
_UNREADABLE = "unreadable"


class InstanceFiles:
    """The instance files below a spool directory.

    Names are digests: ``instances/<series id>/<SHA-256 of the SOP Instance UID>.dcm``. Nothing that came
    from the network becomes part of a path.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming = directory / _INCOMING
        self._numbers = itertools.count()
        for folder in (self._incoming, directory / _INSTANCES):
            folder.mkdir(parents=True, exist_ok=True)
        sync_directory(directory)

    def relative_path(self, series_id: str, sop_instance_uid: str) -> Path:
        """Where the instance is or will be, relative to the spool directory."""
        name = hashlib.sha256(sop_instance_uid.encode()).hexdigest()
        return Path(_INSTANCES, series_id, f"{name}.dcm")

    def write(self, relative_path: Path, parts: Iterable[bytes | memoryview]) -> int:
        """Write a file whose content survives a power cut; returns its size in bytes.

        Temporary file on the same file system, fsync, rename. Its name survives once the directory is synced
        too, which the ledger does together with its commit.

        Raises
        ------
        OSError
            If the disk is full or fails; no trace of the file is left then.
        """
        part, size = self.write_part(parts, sync=True)
        self.publish(part, relative_path)
        return size

    def write_part(self, parts: Iterable[bytes | memoryview], *, sync: bool) -> tuple[Path, int]:
        """Write a temporary file; where it is, and its size in bytes.

        Parameters
        ----------
        sync:
            ``False`` if the content is in the journal, which is synced before :meth:`publish`.

        Raises
        ------
        OSError
            As :meth:`write`.
        """
        part = self._incoming / f"{os.getpid()}-{next(self._numbers)}.part"
        try:
            with part.open("xb", buffering=0) as file:
                size = write_at(file.fileno(), parts, 0)
                if sync:
                    os.fsync(file.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return part, size

    def publish(self, part: Path, relative_path: Path) -> None:
        """Give a temporary file its name.

        Raises
        ------
        OSError
            If that fails; no trace of the file is left then.
        """
        final = self._directory / relative_path
        try:
            self._make_folder(final.parent)
            part.rename(final)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def move_unreadable(self, relative_path: Path) -> None:
        """Move a file that is no instance to ``unreadable/``."""
        folder = self._directory / _UNREADABLE
        folder.mkdir(exist_ok=True)
        (self._directory / relative_path).replace(folder / relative_path.name)

    def take_out(self, series_id: str) -> Path:
        """Move the files of a series out of the way in one step; where they are, to be deleted."""
        folder = self._directory / _PURGED / f"{series_id}-{time.time_ns()}"
        folder.parent.mkdir(exist_ok=True)
        source = self._directory / _INSTANCES / series_id
        if source.is_dir():
            source.rename(folder)
            sync_directory(source.parent)
        return folder

    def sweep_purged(self) -> None:
        """Delete what a crash left of a purge."""
        shutil.rmtree(self._directory / _PURGED, ignore_errors=True)

    def exists(self, relative_path: Path) -> bool:
        """Whether the file is there."""
        return (self._directory / relative_path).is_file()

    def all_paths(self) -> Iterator[Path]:
        """Every instance file, relative to the spool directory."""
        for path in (self._directory / _INSTANCES).glob("*/*.dcm"):
            yield path.relative_to(self._directory)

    def sweep_incoming(self) -> int:
        """Remove what a crash left half written; the number of files."""
        leftovers = list(self._incoming.glob("*.part"))
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)

    @staticmethod
    def _make_folder(folder: Path) -> None:
        if folder.is_dir():
            return
        folder.mkdir(exist_ok=True)
        sync_directory(folder.parent)


def make_durable(paths: Iterable[Path]) -> None:
    """Sync files that exist already, their directory, and its entry in the directory above.

    For results: directories further up come from :meth:`dicomnode.spool.spool.Spool.results_directory`,
    which syncs them.
    """
    folders: set[Path] = set()
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        folders.update((path.parent, path.parent.parent))
    for folder in folders:
        sync_directory(folder)


def sync_directory(directory: Path) -> None:
    """Make new and renamed entries of ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_at(descriptor: int, parts: Iterable[bytes | memoryview], offset: int) -> int:
    """Write ``parts`` one after the other from ``offset`` of a file on; the number of bytes."""
    pieces = [
        memoryview(part)[start : start + PIECE_BYTES]
        for part in parts
        for start in range(0, len(part), PIECE_BYTES)
    ]
    written = 0
    while pieces:
        count = os.pwritev(descriptor, pieces[:_PIECES_A_CALL], offset + written)
        written += count
        while pieces and count >= len(pieces[0]):
            count -= len(pieces.pop(0))
        if count:
            pieces[0] = pieces[0][count:]
    return written

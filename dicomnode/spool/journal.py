"""Instances on disk with one sync for many: a log that is written before the files need to be durable.

An instance file made durable by itself takes a sync of the file, one of its directory and one of the ledger.
Here the instance goes into a log as well, one sync of which is enough for all that came meanwhile; files and
ledger are synced later, many at a time, and the log is used again from its beginning. After a power cut
:func:`replay` writes the files again that the log has and the disk has not, and
:func:`dicomnode.spool.recovery.recover` enters them into the ledger.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dicomnode.spool.errors import LedgerUnavailableError
from dicomnode.spool.instances import InstanceFiles, sync_directory, write_at

LOGGER = logging.getLogger(__name__)

SEGMENT_BYTES = 64 << 20
LONGEST_BYTES = 8 << 20
"""A longer instance gets its own sync."""

_FOLDER = "journal"
_SUFFIX = ".journal"
_MAGIC = b"DNJ1"
_EPOCH_BYTES = 16
_BEGINNING = struct.Struct("<4s16s")
# magic, epoch, series, file name, bytes of the file's head, bytes of the file, SHA-256 of its data set, CRC
# of its head
_ENTRY = struct.Struct("<4s16s16s64sLQ32sL")
_CHECK = struct.Struct("<L")
_ENTRY_BYTES = _ENTRY.size + _CHECK.size
_AGAIN_SECONDS = 1.0
_FLUSH_SECONDS = 30.0


@dataclass
class Segment:
    """One file of the log; used through :class:`Journal`."""

    path: Path
    descriptor: int
    epoch: bytes = b""
    end: int = 0
    writing: int = 0
    files: list[Path] = field(default_factory=list)

    def sync(self) -> None:
        """All that was written is on disk then."""
        os.fdatasync(self.descriptor)

    def begin_anew(self) -> None:
        """Nothing before counts any more; on disk when this returns."""
        self.epoch, self.files = secrets.token_bytes(_EPOCH_BYTES), []
        beginning = _BEGINNING.pack(_MAGIC, self.epoch)
        os.pwrite(self.descriptor, beginning, 0)
        os.fdatasync(self.descriptor)
        self.end = len(beginning)


class Journal:
    """The log of one process: two segments, one being written while the other one's files are synced.

    Parameters
    ----------
    directory:
        Of the spool.
    name:
        Of this process among those that write to the spool.
    make_durable:
        Syncs the files with these paths relative to ``directory``, and the ledger.
    """

    def __init__(self, directory: Path, name: str, make_durable: Callable[[Sequence[Path]], None]) -> None:
        self._make_durable = make_durable
        folder = directory / _FOLDER
        folder.mkdir(exist_ok=True)
        self._segments = [_open(folder / f"{name}-{number}{_SUFFIX}") for number in range(2)]
        sync_directory(folder)
        sync_directory(directory)
        self._current: Segment | None = self._segments[0]
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs that makes files durable."""
        return self._thread.is_alive()

    def append(
        self, series_id: str, file_name: str, sha256: str, parts: Sequence[bytes | memoryview]
    ) -> Segment | None:
        """Write an instance into the log, not yet synced; ``None`` if it has no room now.

        Whoever got a segment calls :meth:`done` when file and row are written or given up.

        Parameters
        ----------
        sha256:
            Of all parts but the first, which is the head of the file.

        Raises
        ------
        OSError
            If it can't be written; the log stays whole.
        """
        head, size = bytes(parts[0]), sum(len(part) for part in parts)
        with self._changed:
            segment = self._room_for(_ENTRY_BYTES + size)
            if segment is None:
                return None
            entry = _ENTRY.pack(
                _MAGIC,
                segment.epoch,
                series_id.encode("ascii"),
                Path(file_name).stem.encode("ascii"),
                len(head),
                size,
                bytes.fromhex(sha256),
                zlib.crc32(head),
            )
            # Under the lock: an entry on disk must not come after one whose length nobody knows.
            os.pwrite(segment.descriptor, entry + _CHECK.pack(zlib.crc32(entry)), segment.end)
            offset = segment.end + _ENTRY_BYTES
            segment.end += _ENTRY_BYTES + size
            segment.writing += 1
        try:
            write_at(segment.descriptor, parts, offset)
        except BaseException:
            self.done(segment)
            raise
        return segment

    def done(self, segment: Segment, path: Path | None = None) -> None:
        """The instance has its file, at ``path`` relative to the spool, and its row; or it was given up."""
        with self._changed:
            segment.writing -= 1
            if path is not None:
                segment.files.append(path)
            if segment is not self._current:
                self._changed.notify_all()

    def flush(self) -> None:
        """Make all files durable and begin the log anew; who is writing is waited for.

        Raises
        ------
        LedgerUnavailableError
            If that fails or takes very long.
        """
        deadline = time.monotonic() + _FLUSH_SECONDS
        with self._changed:
            self._current = None
            self._changed.notify_all()
            while not all(self._is_clean(segment) for segment in self._segments):
                if self._stopping or time.monotonic() > deadline:
                    raise LedgerUnavailableError("instance files can't be synced now")
                self._changed.wait(_AGAIN_SECONDS)
            self._current = self._segments[0]

    def close(self) -> None:
        """Make all files durable, if that works, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        for segment in self._segments:
            try:
                if not self._is_clean(segment):
                    self._clean(segment)
                segment.path.unlink()
            except OSError as error:
                LOGGER.error("the journal stays for the next start: %s", error.strerror)
            finally:
                os.close(segment.descriptor)

    def _room_for(self, size: int) -> Segment | None:
        """The segment to write to; another one if this one is full and that one is clean."""
        if self._current is None or self._current.end + size > SEGMENT_BYTES:
            self._current = None
            self._changed.notify_all()
            self._current = next((one for one in self._segments if self._is_clean(one)), None)
        return self._current

    def _run(self) -> None:
        while True:
            with self._changed:
                full = next((one for one in self._segments if self._is_full(one)), None)
                if self._stopping:
                    return
                if full is None:
                    self._changed.wait()
                    continue
            try:
                self._clean(full)
            except OSError as error:
                LOGGER.error("instance files not synced yet: %s", error.strerror)
                with self._changed:
                    self._changed.wait(_AGAIN_SECONDS)
            with self._changed:
                self._changed.notify_all()

    def _clean(self, segment: Segment) -> None:
        self._make_durable(segment.files)
        segment.begin_anew()

    def _is_full(self, segment: Segment) -> bool:
        return segment is not self._current and not self._is_clean(segment) and segment.writing == 0

    @staticmethod
    def _is_clean(segment: Segment) -> bool:
        return segment.end == _BEGINNING.size


@dataclass(frozen=True)
class Replayed:
    """Logs of processes that have ended.

    Parameters
    ----------
    written:
        How many instance files were written again.
    """

    logs: tuple[Path, ...]
    written: int

    def forget(self) -> None:
        """Their rows are on disk, too; the logs aren't needed any more."""
        for log in self.logs:
            log.unlink()


def replay(directory: Path, files: InstanceFiles) -> Replayed:
    """Make durable what logs have: instance files that the disk has not are written again.

    Raises
    ------
    OSError
        If one can't be written or read; the logs stay then.
    """
    logs, written = tuple(sorted((directory / _FOLDER).glob(f"*{_SUFFIX}"))), 0
    for path in logs:
        with path.open("rb") as log:
            written += _replay_one(log.fileno(), path.stat().st_size, directory, files)
    return Replayed(logs, written)


def _replay_one(descriptor: int, size: int, directory: Path, files: InstanceFiles) -> int:
    folders: set[Path] = set()
    beginning = os.pread(descriptor, _BEGINNING.size, 0)
    if len(beginning) < _BEGINNING.size or not beginning.startswith(_MAGIC):
        return 0
    epoch, offset, written = beginning[len(_MAGIC) :], _BEGINNING.size, 0
    while offset + _ENTRY_BYTES <= size:
        entry = os.pread(descriptor, _ENTRY_BYTES, offset)
        (check,) = _CHECK.unpack_from(entry, _ENTRY.size)
        magic, its_epoch, series, name, head_size, file_size, digest, head_check = _ENTRY.unpack_from(entry)
        if magic != _MAGIC or its_epoch != epoch or check != zlib.crc32(entry[: _ENTRY.size]):
            break
        offset += _ENTRY_BYTES
        path = Path("instances", series.decode("ascii"), f"{name.decode('ascii')}.dcm")
        content = os.pread(descriptor, file_size, offset) if file_size <= LONGEST_BYTES else b""
        offset += file_size
        is_whole = len(content) == file_size and zlib.crc32(content[:head_size]) == head_check
        if not is_whole or hashlib.sha256(content[head_size:]).digest() != digest:
            continue  # never acknowledged
        if not _has(directory / path, content):
            files.write(path, [content])
            written += 1
        folders.add((directory / path).parent)
    for folder in folders:
        sync_directory(folder)
    return written


def _has(path: Path, content: bytes) -> bool:
    """Whether the file is there, on disk and not only in memory."""
    try:
        with path.open("rb") as file:
            if file.read() != content:
                return False
            os.fsync(file.fileno())
            return True
    except FileNotFoundError:
        return False


def _open(path: Path) -> Segment:
    segment = Segment(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    segment.begin_anew()
    return segment

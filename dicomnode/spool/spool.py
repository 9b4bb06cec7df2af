"""The spool: instance files and ledger together. What :meth:`Spool.keep` has taken is never lost."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dicomnode.spool.errors import SpoolError, SpoolFullError, SpoolInUseError
from dicomnode.spool.instances import InstanceFiles, sync_directory
from dicomnode.spool.journal import LONGEST_BYTES, Journal, Replayed, replay
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import Kept, NewInstance
from dicomnode.spool.recovery import Recovery, recover, set_damaged_ledger_aside

LOGGER = logging.getLogger(__name__)

LEDGER_NAME = "ledger.sqlite"
_RESULTS = "results"
_LOCKS = 64
_ROOM_FOR_JOURNAL = 512 << 20


def results_path(spool_directory: Path, series_id: str, generation: int) -> Path:
    """Where the result files of one generation of a series lie."""
    return spool_directory / _RESULTS / series_id / str(generation)


class Spool:
    """The durable part of one node; only one process at a time may open it.

    Parameters
    ----------
    directory:
        Made if missing.
    minimum_free_bytes:
        Room on the disk that incoming instances must leave free.

    Raises
    ------
    SpoolError
        If the directory can't be made or another process has it open.
    """

    def __init__(self, directory: Path, minimum_free_bytes: int = 0) -> None:
        self.directory = directory
        self.minimum_free_bytes = minimum_free_bytes
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock_file = (directory / "lock").open("w")
        except OSError as error:
            raise SpoolError(f"can't use the spool directory {directory}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock_file.close()
            raise SpoolInUseError(
                f"the spool {directory} is in use by another node; stop that one first"
            ) from error
        self.files = InstanceFiles(directory)
        set_damaged_ledger_aside(directory / LEDGER_NAME)
        self.ledger = Ledger(directory / LEDGER_NAME)
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))
        self._journal: Journal | None = None

    def close(self) -> None:
        """Let another process open it."""
        if self._journal is not None:
            self._journal.close()
        self.ledger.close()
        self._lock_file.close()

    @property
    def is_alive(self) -> bool:
        """Whether the journal's thread runs; before :meth:`recover` there is none."""
        return self._journal is None or self._journal.is_alive

    def keep(self, instance: NewInstance, parts: Sequence[bytes | memoryview]) -> Kept:
        """Keep an instance: its file and its ledger row are on disk when this returns.

        An instance that is kept already isn't written again. If its bytes differ from the first ones the
        first ones stay: results may have been made from them, and an object that changes must get a new
        SOP Instance UID (PS3.3 C.12.1).

        Parameters
        ----------
        parts:
            The file (preamble, file meta information, data set) in order.

        Raises
        ------
        SpoolFullError
            If the disk is short of room.
        SpoolError
            If the file or the ledger can't be written; nothing was promised then.
        """
        relative_path = self.files.relative_path(instance.series_id, instance.sop_instance_uid)
        with self._locks[hash(relative_path) % _LOCKS]:
            # New ones, nearly all, aren't looked up twice.
            known = self.ledger.note_repetition(instance) if self.files.exists(relative_path) else None
            if known is not None:
                return known
            size = sum(len(part) for part in parts)
            free = self._check_room(size)
            try:
                if size <= LONGEST_BYTES and free >= self.minimum_free_bytes + _ROOM_FOR_JOURNAL:
                    kept = self._keep_by_journal(instance, relative_path, parts)
                    if kept is not None:
                        return kept
                size = self.files.write(relative_path, parts)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise SpoolFullError(f"the disk of the spool is full: {error.strerror}") from error
                raise SpoolError(f"can't write to the spool: {error.strerror}") from error
            # If this fails the file stays: whether the row was written may be unknown. recover() adopts it.
            folder = (self.directory / relative_path).parent
            return self.ledger.record_instance(instance, relative_path, size, folder)

    def _keep_by_journal(
        self, instance: NewInstance, relative_path: Path, parts: Sequence[bytes | memoryview]
    ) -> Kept | None:
        """Without syncs of its own; ``None`` if there is no journal or no room in it."""
        journal = self._journal
        if journal is None:
            return None
        segment = journal.append(instance.series_id, relative_path.name, instance.sha256, parts)
        if segment is None:
            return None
        published: list[Path] = []
        part = None
        try:
            part, size = self.files.write_part(parts, sync=False)

            def publish() -> None:
                self.files.publish(part, relative_path)
                published.append(relative_path)

            return self.ledger.record_instance(instance, relative_path, size, log=segment, publish=publish)
        finally:
            if part is not None and not published:
                part.unlink(missing_ok=True)
            journal.done(segment, *published)

    def results_directory(self, series_id: str, generation: int) -> Path:
        """A directory for the result files of one generation of a series, made durably if missing."""
        directory = results_path(self.directory, series_id, generation)
        for folder in (directory.parent.parent, directory.parent, directory):
            folder.mkdir(exist_ok=True)
            sync_directory(folder.parent)
        return directory

    def free_bytes(self) -> int:
        """Room on the disk of the spool."""
        return shutil.disk_usage(self.directory).free

    def recover(self) -> Recovery:
        """At start: put files and ledger in agreement (:func:`dicomnode.spool.recovery.recover`).

        Instances that come from now on go through a journal.
        """
        is_first = self._journal is None
        try:
            replayed = replay(self.directory, self.files) if is_first else Replayed((), 0)
        except OSError as error:
            raise SpoolError(
                f"can't write instances of the journal in {self.directory} again: {error.strerror}"
            ) from error
        if replayed.written:
            LOGGER.warning("instance files written again", extra={"instances": replayed.written})
        recovery = recover(self)
        if is_first:
            self.ledger.database.sync()
            replayed.forget()
            self._journal = Journal(self.directory, "node", self._make_durable)
        return recovery

    def purge(self, series_id: str) -> None:
        """Remove instances and result objects of a series; its row and its measurements stay.

        Raises
        ------
        LedgerError
            If the series may not be purged (:mod:`dicomnode.spool.purging`).
        """
        with ExitStack() as all_locks:
            for lock in self._locks:  # nothing of the series may arrive between its row and its files
                all_locks.enter_context(lock)
            if self._journal is not None:  # or they would come back after a power cut
                self._journal.flush()
            self.ledger.mark_purged(series_id)
            purged = self.files.take_out(series_id)
        results = self.directory / _RESULTS / series_id
        for path in results.rglob("*"):
            if path.is_file() and path.suffix != ".json":
                path.unlink()
        shutil.rmtree(purged, ignore_errors=True)

    def _make_durable(self, files: Sequence[Path]) -> None:
        """Sync instance files, their directories and the ledger."""
        there = [path for path in files if self.files.exists(path)]  # somebody may have removed one by hand
        for path in there:
            descriptor = os.open(self.directory / path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        for folder in {(self.directory / path).parent for path in there}:
            sync_directory(folder)
        self.ledger.database.sync()

    def _check_room(self, size: int) -> int:
        """The free bytes."""
        free = self.free_bytes()
        if free - size < self.minimum_free_bytes:
            raise SpoolFullError(
                f"{free / 1e9:.1f} GB free in the spool, {self.minimum_free_bytes / 1e9:.1f} GB must stay"
            )
        return free

"""The spool: instance files and ledger together. What :meth:`Spool.keep` has taken is never lost."""

from __future__ import annotations

import errno
import fcntl
import logging
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomnode.spool.errors import SpoolError, SpoolFullError
from dicomnode.spool.instances import InstanceFiles, sync_directory
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.records import Kept, NewInstance

LOGGER = logging.getLogger(__name__)

LEDGER_NAME = "ledger.sqlite"
_RESULTS = "results"
_LOCKS = 64


@dataclass(frozen=True)
class Recovery:
    """What :meth:`Spool.recover` found and put right."""

    half_written: int
    unrecorded: int
    lost: int


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
            raise SpoolError(
                f"the spool {directory} is in use by another node; stop that one first"
            ) from error
        self.files = InstanceFiles(directory)
        self.ledger = Ledger(directory / LEDGER_NAME)
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))

    def close(self) -> None:
        """Let another process open it."""
        self.ledger.close()
        self._lock_file.close()

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
            known = self.ledger.note_repetition(instance)
            if known is not None:
                return known
            self._check_room(sum(len(part) for part in parts))
            try:
                size = self.files.write(relative_path, parts)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise SpoolFullError(f"the disk of the spool is full: {error.strerror}") from error
                raise SpoolError(f"can't write to the spool: {error.strerror}") from error
            # If this fails the file stays: whether the row was written may be unknown. recover() settles it.
            return self.ledger.record_instance(instance, relative_path, size)

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
        """At start: put files and ledger in agreement after a crash.

        Half-written files and files without a row were never acknowledged and are removed. Rows without
        a file mean that acknowledged instances were lost behind the node's back; they are taken off and
        their series fails, until the slices are sent again.
        """
        half_written = self.files.sweep_incoming()
        recorded = {}
        for series in self.ledger.list_series():
            for instance in self.ledger.instances(series.id):
                recorded[instance.path] = instance
        present = set(self.files.all_paths())
        unrecorded = present - recorded.keys()
        for path in unrecorded:
            self.files.remove(path)
        lost = [instance for path, instance in recorded.items() if path not in present]
        if lost:
            detail = f"{len(lost)} acknowledged instances are missing from the spool; send the series again"
            self.ledger.forget_instances(lost, detail)
            for series_id in sorted({instance.series_id for instance in lost}):
                LOGGER.error("instances lost from the spool", extra={"series": series_id})
        recovery = Recovery(half_written, len(unrecorded), len(lost))
        LOGGER.info(
            "spool checked",
            extra={"half_written": half_written, "unrecorded": len(unrecorded), "lost": len(lost)},
        )
        return recovery

    def _check_room(self, size: int) -> None:
        free = self.free_bytes()
        if free - size < self.minimum_free_bytes:
            raise SpoolFullError(
                f"{free / 1e9:.1f} GB free in the spool, {self.minimum_free_bytes / 1e9:.1f} GB must stay"
            )

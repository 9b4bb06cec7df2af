"""At start: files and ledger brought into agreement after a crash, a restored backup, or a damaged ledger."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import dcmread
from pydicom.dataset import FileDataset

from dicomnode.spool.errors import LedgerUnavailableError, SpoolError
from dicomnode.spool.position import position_mm
from dicomnode.spool.records import NewInstance

if TYPE_CHECKING:
    from dicomnode.spool.spool import Spool

LOGGER = logging.getLogger(__name__)

_GROUP_LENGTH_END = (
    144  # preamble 128, "DICM", and the File Meta Information Group Length element (PS3.10 7.1)
)
_NEEDED = [
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "SOPClassUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
]
_READERS = 8
_FILES_GONE = "result files are missing from the spool; they are made again"


@dataclass(frozen=True)
class Recovery:
    """What was found and put right.

    Parameters
    ----------
    half_written:
        Files that a crash interrupted; never acknowledged, removed.
    adopted:
        Whole files that the ledger didn't know; they are in it now.
    unreadable:
        Files that the ledger didn't know and that are no instances; moved to ``unreadable/``.
    lost:
        Acknowledged instances without a file: their series failed until they are sent again.
    remade:
        Series whose result files are missing; they are analyzed again and give the same objects.
    """

    half_written: int
    adopted: int
    unreadable: int
    lost: int
    remade: int


def recover(spool: Spool) -> Recovery:
    """Put files and ledger in agreement; everything found is logged."""
    half_written = spool.files.sweep_incoming()
    known_series = spool.ledger.list_series()
    for series in known_series:
        if series.purged_at is not None:  # the crash came between its row and its files
            spool.files.take_out(series.id)
    spool.files.sweep_purged()
    recorded = {
        instance.path: instance for series in known_series for instance in spool.ledger.instances(series.id)
    }
    present = set(spool.files.all_paths())
    adopted, unreadable = _adopt(spool, present - recorded.keys())
    lost = [instance for path, instance in recorded.items() if path not in present]
    if lost:
        detail = f"{len(lost)} acknowledged instances are missing from the spool; send the series again"
        spool.ledger.forget_instances(lost, detail)
        for series_id in sorted({instance.series_id for instance in lost}):
            LOGGER.error("instances lost from the spool", extra={"series": series_id})
    remade = _remake_results(spool)
    recovery = Recovery(half_written, adopted, unreadable, len(lost), remade)
    LOGGER.info("spool checked", extra=vars(recovery))
    return recovery


def set_damaged_ledger_aside(path: Path) -> Path | None:
    """Examine the ledger; rename one that can't be read, so that a new one is made from the files.

    Returns
    -------
    Path or None
        Where the damaged one is now.

    Raises
    ------
    LedgerUnavailableError
        If it can't be examined, for example because the disk is full; it stays where it is.
    """
    if not path.exists():
        return None
    try:
        connection = sqlite3.connect(path)
        try:
            findings = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise LedgerUnavailableError(f"can't open the ledger {path}: {error}") from error
        findings = [str(error)]
    if findings == ["ok"]:
        return None
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    LOGGER.error(
        "the ledger is damaged and was set aside as %s; a new one is made from the instance files: %s",
        aside.name,
        findings[0],
    )
    return aside


def _adopt(spool: Spool, unknown: set[Path]) -> tuple[int, int]:
    """Enter whole files into the ledger; the numbers of those adopted and of those that are no instances.

    A sender whose Success was still on its way sends again, which is harmless; after a restored backup or
    a damaged ledger these are instances that were acknowledged.
    """
    with ThreadPoolExecutor(_READERS) as readers:  # they share the syncs of the ledger
        outcomes = list(readers.map(lambda path: _adopt_one(spool, path), sorted(unknown)))
    series = Counter(outcome for outcome in outcomes if isinstance(outcome, str))
    for series_id, instances in series.items():
        LOGGER.warning("instances without a row adopted", extra={"series": series_id, "instances": instances})
    return series.total(), outcomes.count(False)


def _adopt_one(spool: Spool, relative_path: Path) -> str | bool:
    """The series of the adopted file; ``False`` if it is no instance, ``True`` if it has to wait."""
    path = spool.directory / relative_path
    try:
        instance = instance_of(path)
        if spool.files.relative_path(instance.series_id, instance.sop_instance_uid) != relative_path:
            raise SpoolError("the file lies where another instance belongs")
    except Exception as error:  # pydicom raises many kinds for files of other formats
        LOGGER.error("a file in the spool is no instance (%s); moved aside", type(error).__name__)
        spool.files.move_unreadable(relative_path)
        return False
    try:
        spool.ledger.record_instance(instance, relative_path, path.stat().st_size)
    except LedgerUnavailableError as error:  # the disk may be full: the next start will do
        LOGGER.error("instance without a row not adopted yet: %s", error)
        return True
    return instance.series_id


def instance_of(path: Path) -> NewInstance:
    """The instance in a file of the spool, as it was when it arrived.

    Raises
    ------
    Exception
        Whatever pydicom raises, :class:`SpoolError` or ``AttributeError`` if it is no such file.
    """
    header: FileDataset = dcmread(path, stop_before_pixels=True, specific_tags=_NEEDED)
    return NewInstance(
        study_instance_uid=str(header.StudyInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        transfer_syntax_uid=str(header.file_meta.TransferSyntaxUID),
        sha256=_sha256_of_data_set(path),
        calling_ae_title=str(header.file_meta.get("SourceApplicationEntityTitle", "")),
        position_mm=position_mm(header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")),
    )


def _sha256_of_data_set(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(_GROUP_LENGTH_END)
        file.seek(_GROUP_LENGTH_END + int.from_bytes(head[140:144], "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remake_results(spool: Spool) -> int:
    gone = spool.ledger.outbox.missing_files(lambda delivery: (spool.directory / delivery.path).is_file())
    for series_id in sorted(gone):
        spool.ledger.analyze_again(series_id, _FILES_GONE)
        LOGGER.error(_FILES_GONE, extra={"series": series_id})
    return len(gone)

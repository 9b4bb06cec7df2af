"""The journal: what was promised with one sync is there after a power cut, and nothing else comes back."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom.dsutils import encode

from dicomnode.receive.file_meta import file_head
from dicomnode.spool import journal as module
from dicomnode.spool.database import Database
from dicomnode.spool.errors import LedgerUnavailableError
from dicomnode.spool.instances import InstanceFiles
from dicomnode.spool.journal import Journal, Segment
from dicomnode.spool.records import Kept, NewInstance
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from tests.dicom_network import CT_IMAGE_STORAGE, make_ct

EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    opened = Spool(tmp_path / "spool")
    opened.recover()
    return opened


def keep(spool: Spool, number: int, rows: int = 16) -> NewInstance:
    dataset = make_ct(number, Rows=rows)
    dataset[0x7FE00010].value = bytes([number % 256]) * (32 * rows)
    data = encode(dataset, False, True) or b""
    digest = hashlib.sha256(data).hexdigest()
    new = NewInstance(
        dataset.StudyInstanceUID,
        dataset.SeriesInstanceUID,
        dataset.SOPInstanceUID,
        CT_IMAGE_STORAGE,
        EXPLICIT,
        digest,
        "SCANNER",
    )
    head = file_head(CT_IMAGE_STORAGE, dataset.SOPInstanceUID, EXPLICIT, "SCANNER")
    assert spool.keep(new, (head, memoryview(data))) is Kept.NEW
    return new


def content(spool: Spool) -> dict[str, tuple[str, bytes]]:
    """SOP Instance UID to digest in the ledger and bytes of the file."""
    return {
        one.sop_instance_uid: (one.sha256, (spool.directory / one.path).read_bytes())
        for series in spool.ledger.list_series()
        for one in spool.ledger.instances(series.id)
    }


def after_power_cut(spool: Spool, *, ledger: Path | None = None) -> Spool:
    """Only what was synced is left: logs, and the ledger as it was; files are gone, empty, or torn."""
    left = spool.directory.with_name(f"left-{len(list(spool.directory.parent.iterdir()))}")
    left.mkdir()
    shutil.copytree(spool.directory / "journal", left / "journal")
    for path in spool.directory.glob("ledger.sqlite*"):
        shutil.copy(path if ledger is None else ledger / path.name, left / path.name)
    for number, path in enumerate(sorted(spool.directory.glob("instances/*/*.dcm"))):
        if number % 3:
            torn = left / path.relative_to(spool.directory)
            torn.parent.mkdir(parents=True, exist_ok=True)
            torn.write_bytes(path.read_bytes()[: 0 if number % 3 == 1 else 900])
    spool.close()
    restarted = Spool(left)
    restarted.recover()
    return restarted


def test_files_lost_by_a_power_cut_are_written_again(spool: Spool) -> None:
    for number in range(1, 8):
        keep(spool, number)
    before = content(spool)
    assert len(list(spool.directory.glob("journal/*"))) == 2
    restarted = after_power_cut(spool)
    assert content(restarted) == before
    (series,) = restarted.ledger.list_series()
    assert series.state is SeriesState.RECEIVING
    restarted.close()


def test_rows_lost_by_a_power_cut_come_back(spool: Spool, tmp_path: Path) -> None:
    keep(spool, 1)
    copy = tmp_path / "ledger"
    copy.mkdir()
    for path in spool.directory.glob("ledger.sqlite*"):
        shutil.copy(path, copy)
    keep(spool, 2)
    keep(spool, 3)
    before = content(spool)
    restarted = after_power_cut(spool, ledger=copy)
    assert content(restarted) == before
    restarted.close()


def test_the_log_is_synced_before_the_file_has_its_name_and_the_row_is_committed(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torn file with a name would be taken for an instance at the next start."""
    order: list[str] = []
    sync, publish, write = Segment.sync, InstanceFiles.publish, Database.write

    def note_sync(self: Segment) -> None:
        order.append("log")
        sync(self)

    def note_publish(self: InstanceFiles, part: Path, path: Path) -> None:
        order.append("name")
        publish(self, part, path)

    @contextmanager
    def note_write(self: Database, **keywords: bool) -> Iterator[sqlite3.Connection]:
        order.append("begin")
        with write(self, **keywords) as connection:
            yield connection
        order.append("commit")

    monkeypatch.setattr(Segment, "sync", note_sync)
    monkeypatch.setattr(InstanceFiles, "publish", note_publish)
    monkeypatch.setattr(Database, "write", note_write)
    keep(spool, 1)
    assert order == ["begin", "log", "name", "commit"]
    spool.close()


def test_without_a_synced_log_there_is_no_success_and_no_file(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Segment) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(Segment, "sync", fail)
        with pytest.raises(LedgerUnavailableError):
            keep(spool, 1)
    assert content(spool) == {}
    assert not list(spool.directory.glob("instances/*/*"))
    assert not list(spool.directory.glob("incoming/*"))
    keep(spool, 1)
    assert len(content(spool)) == 1
    spool.close()


def test_an_entry_that_is_not_whole_does_not_hide_the_next(spool: Spool) -> None:
    """Two associations write at once; the first is slower than the power cut."""
    keep(spool, 1)
    (log,) = [path for path in spool.directory.glob("journal/*") if path.stat().st_size > 1000]
    size = log.stat().st_size
    keep(spool, 2)
    before = content(spool)
    with log.open("r+b") as file:
        file.seek(size - 100)
        file.write(bytes(50))  # in the first entry's pixels
    for path in spool.directory.glob("instances/*/*.dcm"):
        path.unlink()
    copy = spool.directory.with_name("left")
    shutil.copytree(spool.directory, copy)
    spool.close()
    restarted = Spool(copy)
    restarted.recover()
    second = {uid: kept for uid, kept in before.items() if uid.endswith(".1.2")}
    assert content(restarted) == second
    restarted.close()


def test_purged_instances_do_not_come_back(spool: Spool) -> None:
    series = keep(spool, 1).series_id
    spool.ledger.mark_complete(series, "test")
    spool.ledger.claim_next()
    spool.ledger.refuse(series, 1, "not_ct", "no CT")
    spool.purge(series)
    restarted = after_power_cut(spool)
    assert content(restarted) == {}
    assert not list(restarted.directory.glob("instances/*/*"))
    restarted.close()


def test_a_full_log_is_used_again_when_its_files_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 200_000)
    durable: list[Path] = []
    original = Spool._make_durable

    def make_durable(self: Spool, files: Sequence[Path]) -> None:
        original(self, files)
        durable.extend(files)

    monkeypatch.setattr(Spool, "_make_durable", make_durable)
    spool = Spool(tmp_path / "spool")
    spool.recover()
    threads = [
        threading.Thread(
            target=lambda first=first: [keep(spool, first + number, 600) for number in range(25)]
        )
        for first in (1, 101, 201, 301)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = content(spool)
    assert len(kept) == 100
    assert all(path.stat().st_size <= 200_000 for path in spool.directory.glob("journal/*"))
    assert len(durable) > 20
    spool.close()
    assert not list(spool.directory.glob("journal/*"))
    restarted = Spool(tmp_path / "spool")
    assert restarted.recover().adopted == 0
    assert content(restarted) == kept
    restarted.close()


def test_while_files_can_not_be_synced_the_log_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 60_000)
    fails = threading.Event()
    fails.set()

    def make_durable(_: Sequence[Path]) -> None:
        if fails.is_set():
            raise OSError(5, "Input/output error")

    files = InstanceFiles(tmp_path)
    log = Journal(tmp_path, "test", make_durable)
    parts = (bytes(300), bytes(20_000))
    digest = hashlib.sha256(parts[1]).hexdigest()
    segments = []
    while (segment := log.append("0" * 16, "a" * 64, digest, parts)) is not None:
        segments.append(segment)
        log.done(segment, files.relative_path("0" * 16, "1.2"))
    assert 2 <= len(segments) <= 6
    fails.clear()
    log.flush()
    again = log.append("0" * 16, "a" * 64, digest, parts)
    assert again is not None
    log.done(again)
    log.close()


def test_a_killed_node_leaves_what_the_next_makes_durable(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files were in memory only; the log may go when they and the ledger are on disk."""
    keep(spool, 1)
    synced: list[Path] = []
    monkeypatch.setattr(module, "sync_directory", synced.append)
    monkeypatch.setattr(Database, "sync", lambda self: synced.append(self.path))
    left = spool.directory.with_name("killed")
    shutil.copytree(spool.directory, left)
    restarted = Spool(left)
    restarted.recover()
    (record,) = restarted.ledger.instances(restarted.ledger.list_series()[0].id)
    assert {(left / record.path).parent, left / "ledger.sqlite"} <= set(synced)
    restarted.close()
    spool.close()


def test_a_file_that_somebody_removed_does_not_stop_the_journal(spool: Spool) -> None:
    first, second = keep(spool, 1), keep(spool, 2)
    removed, *_ = spool.ledger.instances(first.series_id)
    (spool.directory / removed.path).unlink()
    spool.close()
    assert not list(spool.directory.glob("journal/*"))
    assert (spool.directory / spool.files.relative_path(second.series_id, second.sop_instance_uid)).exists()


def test_the_spool_tells_when_the_journal_s_thread_has_ended(spool: Spool) -> None:
    assert spool.is_alive
    assert spool._journal is not None
    spool._journal.close()
    assert not spool.is_alive

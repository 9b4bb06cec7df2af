"""Success means kept: files and ledger agree, whatever happens in between."""

from __future__ import annotations

import hashlib
import io
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicomnode.receive.file_meta import file_head
from dicomnode.spool.errors import SpoolError, SpoolFullError
from dicomnode.spool.instances import make_durable
from dicomnode.spool.records import Kept, NewInstance, series_key
from dicomnode.spool.spool import Spool
from dicomnode.spool.states import SeriesState
from tests.dicom_network import make_ct


def instance(number: int, content: bytes, series: str = "1.2.3") -> NewInstance:
    digest = hashlib.sha256(content).hexdigest()
    return NewInstance("1.2", series, f"1.2.3.{number}", "1.5", "1.2.840.10008.1.2.1", digest, "SCANNER")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool")
    yield opened
    opened.close()


def test_what_is_kept_lies_on_disk_under_a_name_without_uids(spool: Spool) -> None:
    new = instance(7, b"headdata")
    assert spool.keep(new, (b"head", memoryview(b"data"))) is Kept.NEW
    (record,) = spool.ledger.instances(new.series_id)
    assert (spool.directory / record.path).read_bytes() == b"headdata"
    assert record.bytes == 8
    assert "1.2" not in str(record.path)
    assert list((spool.directory / "incoming").iterdir()) == []


def test_a_large_instance_is_written_whole(spool: Spool) -> None:
    content = random.Random(1).randbytes(300_001)
    new = instance(1, content)
    spool.keep(new, (content[:5], content[5:]))
    (record,) = spool.ledger.instances(new.series_id)
    assert (spool.directory / record.path).read_bytes() == content


def test_the_first_bytes_of_a_uid_stay(spool: Spool) -> None:
    assert spool.keep(instance(1, b"first"), (b"first",)) is Kept.NEW
    assert spool.keep(instance(1, b"first"), (b"first",)) is Kept.DUPLICATE
    assert spool.keep(instance(1, b"other"), (b"other",)) is Kept.CONFLICT
    (record,) = spool.ledger.instances(instance(1, b"").series_id)
    assert (spool.directory / record.path).read_bytes() == b"first"


def test_one_uid_from_many_threads_at_once_is_kept_once(spool: Spool) -> None:
    answers: list[Kept] = []
    contents = [bytes([number]) * 100_000 for number in range(8)]

    def send(content: bytes) -> None:
        answers.append(spool.keep(instance(1, content), (content,)))

    threads = [threading.Thread(target=send, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.value for answer in answers) == ["conflict"] * 7 + ["new"]
    (record,) = spool.ledger.instances(instance(1, b"").series_id)
    assert hashlib.sha256((spool.directory / record.path).read_bytes()).hexdigest() == record.sha256
    assert record.conflicts == 7


def test_a_short_disk_is_told_before_it_is_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", minimum_free_bytes=1 << 60)
    with pytest.raises(SpoolFullError, match="GB free"):
        spool.keep(instance(1, b"x"), (b"x",))
    assert spool.ledger.list_series() == ()
    assert list(spool.files.all_paths()) == []
    spool.minimum_free_bytes = 0
    assert spool.keep(instance(1, b"x"), (b"x",)) is Kept.NEW
    spool.close()


def test_a_directory_that_vanished_is_an_error_and_no_promise(spool: Spool) -> None:
    incoming = spool.directory / "incoming"
    incoming.rmdir()
    with pytest.raises(SpoolError, match="can't write"):
        spool.keep(instance(1, b"x"), (b"x",))
    assert spool.ledger.list_series() == ()
    incoming.mkdir()
    assert spool.keep(instance(1, b"x"), (b"x",)) is Kept.NEW


def test_two_nodes_do_not_share_a_spool(spool: Spool) -> None:
    with pytest.raises(SpoolError, match="in use by another node"):
        Spool(spool.directory)


def as_file(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A Part 10 file as the receiving room writes it."""
    encoded = io.BytesIO()
    bare = Dataset(dataset)
    dcmwrite(encoded, bare, implicit_vr=False, little_endian=True)
    head = file_head(dataset.SOPClassUID, dataset.SOPInstanceUID, syntax, "SCANNER")
    return head + encoded.getvalue()


def test_recovery_removes_what_was_half_written(spool: Spool) -> None:
    (spool.directory / "incoming" / "1-1.part").write_bytes(b"half")
    assert spool.recover().half_written == 1
    assert not list((spool.directory / "incoming").iterdir())


def test_a_whole_file_without_a_row_is_adopted_with_what_it_says(spool: Spool) -> None:
    dataset = make_ct(7, ImagePositionPatient=[1, 2, -30.5], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    content = as_file(dataset)
    series_id = series_key(dataset.StudyInstanceUID, dataset.SeriesInstanceUID)
    path = spool.files.relative_path(series_id, dataset.SOPInstanceUID)
    spool.files.write(path, [content])

    assert spool.recover().adopted == 1

    (record,) = spool.ledger.instances(series_id)
    assert (record.path, record.calling_ae_title, record.position_mm) == (path, "SCANNER", -30.5)
    assert record.sha256 == hashlib.sha256(content[-dataset_length(content) :]).hexdigest()
    assert spool.ledger.show(series_id).series.state is SeriesState.RECEIVING
    assert spool.recover().adopted == 0


def dataset_length(content: bytes) -> int:
    return len(content) - 144 - int.from_bytes(content[140:144], "little")


def test_a_file_that_is_no_instance_is_moved_aside_and_kept(spool: Spool) -> None:
    orphan = spool.files.relative_path(instance(2, b"y").series_id, "1.2.3.2")
    spool.files.write(orphan, [b"y"])
    assert spool.recover().unreadable == 1
    assert (spool.directory / "unreadable" / orphan.name).read_bytes() == b"y"
    assert not list(spool.files.all_paths())


def test_a_file_under_another_instances_name_is_not_adopted(spool: Spool) -> None:
    dataset = make_ct(7)
    spool.files.write(Path("instances", "0" * 16, "wrong.dcm"), [as_file(dataset)])
    recovery = spool.recover()
    assert (recovery.adopted, recovery.unreadable) == (0, 1)


def test_a_damaged_ledger_is_made_again_from_the_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(1, 4):
        dataset = make_ct(number)
        new = NewInstance(
            dataset.StudyInstanceUID,
            dataset.SeriesInstanceUID,
            dataset.SOPInstanceUID,
            dataset.SOPClassUID,
            ExplicitVRLittleEndian,
            hashlib.sha256(as_file(dataset)[-dataset_length(as_file(dataset)) :]).hexdigest(),
            "SCANNER",
        )
        spool.keep(new, (as_file(dataset),))
    before = spool.ledger.instances(new.series_id)
    spool.close()
    ledger = tmp_path / "ledger.sqlite"
    ledger.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (tmp_path / "ledger.sqlite-wal").unlink(missing_ok=True)

    spool = Spool(tmp_path)
    assert spool.recover().adopted == 3
    after = spool.ledger.instances(new.series_id)
    spool.close()

    assert {(one.path, one.sha256, one.bytes) for one in after} == {
        (one.path, one.sha256, one.bytes) for one in before
    }
    assert list(tmp_path.glob("ledger.sqlite.damaged-*"))


def test_recovery_fails_a_series_whose_files_are_gone_until_they_are_sent_again(spool: Spool) -> None:
    for number in (1, 2):
        spool.keep(instance(number, b"x"), (b"x",))
    series_id = instance(1, b"").series_id
    spool.ledger.mark_complete(series_id, "quiet")
    record, _ = spool.ledger.instances(series_id)
    (spool.directory / record.path).unlink()
    assert spool.recover().lost == 1
    series = spool.ledger.show(series_id).series
    assert (series.state, series.reason, series.instances) == (SeriesState.FAILED, "instances_lost", 1)
    for number in (1, 2):
        spool.keep(instance(number, b"x"), (b"x",))
    series = spool.ledger.show(series_id).series
    assert (series.state, series.instances, series.generation) == (SeriesState.RECEIVING, 2, 2)


def test_results_get_a_directory_a_generation_and_are_synced(spool: Spool) -> None:
    directory = spool.results_directory("abc", 2)
    path = directory / "sr.dcm"
    path.write_bytes(b"x")
    make_durable([path])
    assert directory == spool.results_directory("abc", 2)
    with pytest.raises(FileNotFoundError):
        make_durable([directory / "missing.dcm"])


_WRITER = """
import hashlib, sys
from pathlib import Path
from dicomnode.spool.records import NewInstance
from dicomnode.spool.spool import Spool

spool = Spool(Path(sys.argv[1]))
spool.recover()
first = int(sys.argv[2])
for number in range(first, first + 100_000):
    content = str(number).encode() * 5_000
    digest = hashlib.sha256(content).hexdigest()
    new = NewInstance("1.2", f"1.3.{number % 3}", f"1.4.{number}", "1.5", "1.2.840", digest, "A")
    spool.keep(new, (content,))
    print(number, flush=True)
"""


def test_no_acknowledged_instance_is_lost_by_kill_9(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    seed = 20261121
    delays = random.Random(seed)
    acknowledged: list[int] = []
    kills = 8
    for _ in range(kills):
        first = acknowledged[-1] + 1 if acknowledged else 0
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(directory), str(first)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged.append(int(writer.stdout.readline()))
        time.sleep(delays.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        acknowledged.extend(int(line) for line in writer.stdout.read().splitlines() if line)
        writer.wait()
    spool = Spool(directory)
    recovery = spool.recover()
    records = {
        record.sop_instance_uid: record
        for series in spool.ledger.list_series()
        for record in spool.ledger.instances(series.id)
    }
    lost = 0
    for number in acknowledged:
        record = records.get(f"1.4.{number}")
        content = (spool.directory / record.path).read_bytes() if record else b""
        lost += hashlib.sha256(content).hexdigest() != (record.sha256 if record else "")
    print(f"\nkilled {kills} times (seed {seed}): {len(acknowledged)} acknowledged, {lost} lost, {recovery}")
    assert lost == 0
    assert recovery.lost == 0
    assert len(list(spool.files.all_paths())) == len(records)
    assert list((directory / "incoming").iterdir()) == []
    spool.close()

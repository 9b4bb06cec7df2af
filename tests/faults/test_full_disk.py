"""A spool on a small file system: refused in time, refused when it is really full, right again with room."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from tests.conftest import REPOSITORY
from tests.dicom_network import dataset_bytes, make_ct
from tests.faults.conversation import store_command, store_request, talk
from tests.faults.server_process import ServerProcess

MB = 1_000_000
OUT_OF_RESOURCES = 0xA700
SIZES = (300_000, 1_000, 60_000, 500_000)  # a slice fits where a larger one didn't


@pytest.fixture(scope="module", autouse=True)
def can_mount() -> None:
    """A mount needs root, or a kernel that lets anyone have a namespace."""
    try_it = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    try:
        subprocess.run(try_it, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("unshare -Urm can't mount a tmpfs here")


def encoded(number: int, size: int) -> tuple[str, bytes]:
    """SOP Instance UID and data set of an instance."""
    dataset = make_ct(number)
    dataset["PixelData"].value = number.to_bytes(4, "little") * (size // 4)
    data = encode(dataset, False, True)
    assert data is not None
    return str(dataset.SOPInstanceUID), data


def send(server: ServerProcess, numbers: Sequence[int], size: int = 0) -> dict[str, int | None]:
    """C-STORE on one association; SOP Instance UID to status."""
    answers: dict[str, int | None] = {}
    with talk(server.port) as sender:
        sender.associate(transfer_syntax=ExplicitVRLittleEndian)
        for number in numbers:
            uid, data = encoded(number, size or SIZES[number % len(SIZES)])
            for pdu in store_request(data, store_command(sop_instance_uid=uid)):
                sender.send(pdu)
            answers[uid] = sender.status()
        assert sender.release()
    return answers


def kept_ones(answers: dict[str, int | None]) -> set[str]:
    assert set(answers.values()) <= {0, OUT_OF_RESOURCES}, answers
    return {uid for uid, status in answers.items() if status == 0}


def check_spool(server: ServerProcess, acknowledged: set[str]) -> None:
    """What was acknowledged is there and intact, and nothing is half there."""
    recorded = server.recorded()
    assert acknowledged <= recorded.keys(), "an acknowledged instance is lost"
    for path, sha256 in recorded.values():
        assert hashlib.sha256(dataset_bytes(server.seen_directory / path)).hexdigest() == sha256
    assert list((server.seen_directory / "incoming").iterdir()) == []


def fill(server: ServerProcess, leave: int) -> Path:
    """Take the room from the spool from outside, but for ``leave`` bytes."""
    ballast = server.seen_directory / "ballast"
    with ballast.open("wb") as file:
        left = server.free_bytes() - leave
        while left > 0:
            left -= file.write(bytes(min(left, MB)))
    return ballast


def test_refused_before_the_disk_is_full(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "spool", tmpfs="size=24m", minimum_free_bytes=8 * MB) as server:
        answers = send(server, range(100))
        acknowledged = kept_ones(answers)
        assert 0 < len(acknowledged) < 100
        assert server.free_bytes() > 7 * MB  # the ledger may need some of it
        check_spool(server, acknowledged)
        assert server.echo_works()


def test_really_full_and_room_again(tmp_path: Path) -> None:
    """No minimum: the file, the ledger and its log meet the end of the disk by turns."""
    with ServerProcess(tmp_path / "spool", tmpfs="size=16m") as server:
        acknowledged = kept_ones(send(server, range(10)))
        assert len(acknowledged) == 10
        for round_, leave in enumerate((700_000, 310_000, 64_000, 20_000, 4_096, 0)):
            ballast = fill(server, leave)
            answers = send(server, range(100 + 20 * round_, 120 + 20 * round_))
            acknowledged |= kept_ones(answers)
            assert OUT_OF_RESOURCES in answers.values()
            assert server.echo_works()
            check_spool(server, acknowledged)
            ballast.unlink()
            again = send(server, range(900 + round_, 901 + round_), size=1000)
            assert set(again.values()) == {0}, "it must recover by itself"
            acknowledged |= again.keys()
        check_spool(server, acknowledged)
        assert "not enough free disk space" in server.log()
        assert "can't write the ledger" in server.log()


def test_many_senders_fill_the_disk_together(tmp_path: Path) -> None:
    """Each sees room before it writes, all together there is not enough."""
    with ServerProcess(tmp_path / "spool", tmpfs="size=12m") as server:
        acknowledged: set[str] = set()
        lock = threading.Lock()

        def one(first: int) -> None:
            kept = kept_ones(send(server, range(first, first + 8), size=400_000))
            with lock:
                acknowledged.update(kept)

        senders = [threading.Thread(target=one, args=(100 * number,)) for number in range(1, 11)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert 0 < len(acknowledged) < 80
        check_spool(server, acknowledged)


def test_no_inodes_left(tmp_path: Path) -> None:
    """Free bytes, but no file can be made any more."""
    with ServerProcess(tmp_path / "spool", tmpfs="size=32m,nr_inodes=30") as server:
        answers = send(server, range(60), size=2000)
        acknowledged = kept_ones(answers)
        assert 0 < len(acknowledged) < 30
        check_spool(server, acknowledged)
        assert server.echo_works()


def test_a_large_instance_that_fills_the_disk_while_it_is_received(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "spool", tmpfs="size=32m") as server:
        assert set(send(server, [1], size=60 * MB).values()) == {OUT_OF_RESOURCES}
        assert server.free_bytes() > 30 * MB
        acknowledged = kept_ones(send(server, [2], size=9 * MB))
        assert len(acknowledged) == 1
        check_spool(server, acknowledged)


def test_killed_on_a_full_disk_and_started_on_it(tmp_path: Path) -> None:
    """It used to write its schema version again, which a full disk doesn't allow."""
    with ServerProcess(tmp_path / "spool", tmpfs="size=8m") as server:
        acknowledged = kept_ones(send(server, range(8)))
        ballast = fill(server, 0)
        acknowledged |= kept_ones(send(server, range(100, 103)))
        server.kill_and_restart()
        check_spool(server, acknowledged)
        assert server.echo_works()
        assert set(send(server, range(110, 113)).values()) == {OUT_OF_RESOURCES}
        (server.seen_directory / ballast.name).unlink()
        again = send(server, range(200, 203), size=1000)
        assert set(again.values()) == {0}
        check_spool(server, acknowledged | again.keys())


FULL_AT_START = """
import hashlib, sys
from pathlib import Path
from dicomnode.spool.errors import LedgerUnavailableError
from dicomnode.spool.records import NewInstance
from dicomnode.spool.spool import Spool

directory = Path(sys.argv[1])
spool = Spool(directory)
spool.keep(NewInstance("1.2", "1.2.3", "1.2.3.4", "1.5", "1.2.840.10008.1.2.1", "0" * 64, "CT"), (b"x",))
spool.close()  # SQLite takes its log and index away, and needs room to make them again
ballast = (directory / "ballast").open("wb", buffering=0)
try:
    while True:
        ballast.write(bytes(4096))
except OSError:
    pass
try:
    Spool(directory)
    print("opened")
except LedgerUnavailableError as error:
    print(error)
ballast.close()
(directory / "ballast").unlink()
print(len(Spool(directory).ledger.list_series()), len(list(directory.glob("*damaged*"))))
"""


def test_a_ledger_that_a_full_disk_keeps_closed_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    """It used to be set aside at start, and with it the state of each series."""
    mount = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'
    python = [sys.executable, "-c", FULL_AT_START, str(tmp_path)]
    command = ["unshare", "-Urm", "sh", "-c", mount, str(tmp_path), *python]
    run = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    first, second = run.stdout.splitlines()
    assert first == "opened" or "can't open the ledger" in first
    assert second == "1 0"

"""The audit file: for its owner's eyes, complete, and harmless when the disk isn't there."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dicomnode.audit import audit_file
from dicomnode.audit.audit_file import AuditFile
from tests.dicom_network import until


def test_only_the_owner_reads_it_and_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "audit.xml"
    for text in ("first", "second"):
        file = AuditFile(path)
        file.append(text)
        file.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "first\nsecond\n"


def test_a_line_survives_the_death_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "audit.xml"
    program = (
        "import os, pathlib, sys; from dicomnode.audit.audit_file import AuditFile\n"
        "file = AuditFile(pathlib.Path(sys.argv[1])); file.append('last words'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    assert path.read_text() == "last words\n"


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit.xml")
    threads = [
        threading.Thread(target=lambda n=n: [file.append(f"{n} " + "x" * 5000) for _ in range(50)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    lines = file.path.read_text().splitlines()
    assert len(lines) == file.written == 400
    assert {len(line) for line in lines} == {5002}


def test_a_renamed_file_is_made_anew(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "audit.xml")
    file.append("old")
    file.path.rename(tmp_path / "audit.xml.1")
    file.append("new")
    file.close()
    assert (tmp_path / "audit.xml.1").read_text() == "old\n"
    assert file.path.read_text() == "new\n"


def test_lines_wait_while_the_file_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "unmounted"
    file = AuditFile(folder / "audit.xml")
    with caplog.at_level(logging.WARNING):
        file.append("one")
        file.append("two")
        assert (file.failures >= 2, file.waiting, file.written) == (True, 2, 0)
        assert [r.getMessage()[:5] for r in caplog.records] == ["ALARM"], "told once, not for each line"
        folder.mkdir()
        until(lambda: file.waiting == 0)  # by itself, without another event
    file.close()
    assert file.path.read_text() == "one\ntwo\n"
    assert "can be written again" in caplog.text


def test_a_full_disk_leaves_no_half_line() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    file = AuditFile(full)
    file.append("no room")
    assert (file.waiting, file.written) == (1, 0)
    file.close()


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_file, "MAXIMUM_WAITING", 3)
    folder = tmp_path / "unmounted"
    file = AuditFile(folder / "audit.xml")
    for number in range(5):
        file.append(str(number))
    assert file.waiting == 3
    folder.mkdir()
    file.close()
    assert file.path.read_text() == "2\n3\n4\n"

"""`dicomnode cohort` on an archive as a hospital has it, with the real worker, killed and gone on with."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.cli import main
from dicomnode.cohort.journal import Journal
from tests.assemble.ct_series import write_series

TINY_SERIES = 12

Told = Callable[[], str]


def cohort(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dicomnode.cli", "cohort", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """What was printed since the last call."""
    return lambda: capsys.readouterr().out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tables(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in ("cohort.csv", "cohort.parquet", "not_measured.csv")]


def of_series(number: int) -> Callable[[int, Dataset], None]:
    def edit(_index: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = f"1.2.826.0.1.3680043.9.7.{number}"
        dataset.SOPInstanceUID += f".{number}"

    return edit


def test_an_archive_becomes_a_table(data_dir: Path, tmp_path: Path, told: Told) -> None:
    archive, out = tmp_path / "archive", tmp_path / "archive" / "out"
    slices = sorted((data_dir / "cip_ct64_chest").glob("*.dcm"))
    for number, path in enumerate(slices):  # one series in two places
        folder = archive / ("disk1" if number % 2 else "disk2/deep")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, folder)
    shutil.copytree(data_dir / "refuse" / "gantrytilting", archive / "tilted")
    shutil.copy2(data_dir / "edge" / "charsets" / "chrGerm.dcm", archive)

    command = ["cohort", str(archive), "--out", str(out), "--device", "cpu"]
    assert main(command) == 0
    printed = told()
    assert "CT series: 1 measured, 1 refused, 0 failed; 2 analyzed in this run" in printed
    assert "passed over: " in printed
    (row,) = table(out / "cohort.csv")
    (refused,) = table(out / "not_measured.csv")
    assert (refused["outcome"], refused["reason"], refused["instances"]) == ("refused", "gantry_tilt", "4")

    assert (
        main(["analyze", str(data_dir / "cip_ct64_chest"), "--out", str(tmp_path / "one"), "--device", "cpu"])
        == 0
    )
    (file,) = (tmp_path / "one").rglob("measurements.json")
    record = json.loads(file.read_text(encoding="utf-8"))
    assert float(row["lung_volume_ml"]) == record["lung_volume_ml"]
    assert float(row["sides.left.lesion_extent_percent"]) == record["sides"]["left"]["lesion_extent_percent"]
    assert row["provenance.input_sha256"] == record["provenance"]["input_sha256"]
    assert row["provenance.config_sha256"] == record["provenance"]["config_sha256"]
    (typed,) = pq.read_table(out / "cohort.parquet").to_pylist()
    assert typed["lung_volume_ml"] == record["lung_volume_ml"]
    assert list(typed) == list(row)

    header = dcmread(slices[0], stop_before_pixels=True)
    for secret in (
        header.PatientID,
        str(header.PatientName),
        header.SeriesInstanceUID,
        header.StudyInstanceUID,
    ):
        assert secret
        assert not any(secret.encode() in content for content in tables(out))

    before = tables(out)
    told()
    assert main(command) == 0
    assert "0 analyzed in this run" in told()
    assert tables(out) == before

    os.utime(next((archive / "tilted").rglob("*.dcm")), (1, 1))
    assert main([*command, "--identifiers", "--keep-results"]) == 0
    assert "2 analyzed in this run" in told(), "the changed one, and one whose results weren't kept"
    (row,) = table(out / "cohort.csv")
    assert (row["patient_id"], row["series_instance_uid"]) == (header.PatientID, header.SeriesInstanceUID)
    assert row["folder"] == str(archive)
    kept = {path.name for path in (out / "results" / row["series"]).iterdir()}
    assert kept == {"seg.dcm", "sr.dcm", "measurements.json", "overview.png"}
    assert len(list((out / "results").rglob("refusal.dcm"))) == 1

    assert main([*command, "--keep-results"]) == 0
    assert "0 analyzed in this run" in told()
    assert tables(out)[:2] == before[:2], "without the word, identifiers are gone again"
    assert header.PatientID.encode() not in (out / "journal.sqlite").read_bytes()


def test_killed_at_any_time_it_goes_on_and_analyzes_nothing_twice(data_dir: Path, tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    for number in range(TINY_SERIES):  # refused within milliseconds, by the real worker
        write_series(archive / f"{number:03}", count=3, edit=of_series(number))
    shutil.copytree(data_dir / "cip_ct64_chest", archive / "005b")  # in hand at the first kill
    out.mkdir()
    Journal(out / "journal.sqlite").close()
    with sqlite3.connect(out / "journal.sqlite") as database:
        database.executescript(
            "CREATE TABLE seen (series INTEGER);"
            "CREATE TRIGGER watch AFTER INSERT ON outcome BEGIN INSERT INTO seen VALUES (new.series); END;"
        )

    command = [sys.executable, "-m", "dicomnode.cli", "cohort", str(archive), "--out", str(out)]
    for target in (6, 9):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while _recorded(out) < target:
            assert process.poll() is None, "it ended too early"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = cohort(archive, "--out", out, "--jobs", 2)
    assert f"CT series: 1 measured, {TINY_SERIES} refused, 0 failed" in done.stdout
    with sqlite3.connect(out / "journal.sqlite") as database:
        seen = [series for (series,) in database.execute("SELECT series FROM seen")]
    assert len(seen) == len(set(seen)) == TINY_SERIES + 1
    assert not (out / "unfinished").exists()


def _recorded(out: Path) -> int:
    with sqlite3.connect(out / "journal.sqlite", timeout=30) as database:
        return int(database.execute("SELECT count(*) FROM outcome").fetchone()[0])


def test_a_series_that_fails_is_listed_and_tried_again_on_request(tmp_path: Path, told: Told) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    first, *_ = write_series(archive / "a", count=4, edit=of_series(1))
    write_series(archive / "b", count=3, edit=of_series(2))
    whole = first.read_bytes()
    header = dcmread(first)
    del header.SOPInstanceUID
    header.save_as(first)

    assert main(["cohort", str(archive), "--out", str(out)]) == 1
    assert "CT series: 0 measured, 1 refused, 1 failed; 2 analyzed in this run" in told()
    failed, _ = sorted(table(out / "not_measured.csv"), key=lambda row: row["outcome"])
    assert (failed["outcome"], failed["reason"]) == ("failed", "analysis_failed")
    assert failed["detail"] == "a file of the series is broken: it has no SOPInstanceUID"
    assert main(["cohort", str(archive), "--out", str(out)]) == 1
    assert "0 analyzed in this run" in told()
    first.write_bytes(whole)
    assert main(["cohort", str(archive), "--out", str(out)]) == 1, "nothing was measured"
    assert "0 measured, 2 refused, 0 failed; 1 analyzed in this run" in told()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere", "--out", "o"], "there is no folder nowhere"),
        ([".", "--out", "table.csv"], "--out is a folder; the table will be table/cohort.csv"),
        ([".", "--out", "{out}", "--model", "none"], "no model 'none'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cohort", *(word.replace("{out}", str(tmp_path)) for word in words)]) == 1
    assert sentence in capsys.readouterr().err


def test_odd_values_of_headers_are_not_quoted(
    tmp_path: Path, told: Told, recwarn: pytest.WarningsRecorder
) -> None:
    def edit(_index: int, dataset: Dataset) -> None:
        dataset.Modality, dataset.SOPClassUID = "MR", "1.2.840.10008.5.1.4.1.1.4"

    (path,) = write_series(tmp_path / "archive", count=1, edit=edit)
    content = path.read_bytes()
    assert content.count(b"1.2.826.0.1.3680043.9.3") == 1
    path.write_bytes(content.replace(b"1.2.826.0.1.3680043.9.3", b"1.2.826.0.1.3680043.003"))
    recwarn.clear()
    assert main(["cohort", str(tmp_path / "archive"), "--out", str(tmp_path / "out")]) == 1
    assert "passed over: MR 1" in told()
    assert not [one for one in recwarn if "Invalid value" in str(one.message)]


def test_two_runs_on_one_journal_are_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD_LOCK, str(tmp_path / "out" / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline()
    try:
        done = cohort(tmp_path, "--out", tmp_path / "out")
    finally:
        holder.kill()
        holder.wait()
    assert (done.returncode, "another dicomnode cohort is writing" in done.stderr) == (1, True)


_HOLD_LOCK = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""

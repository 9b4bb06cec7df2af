"""The journal, the scan that fills it and the tables that are written from it."""

from __future__ import annotations

import csv
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydicom.dataset import Dataset

from dicomnode.assemble.series import FileIdentity
from dicomnode.cohort.errors import CohortError
from dicomnode.cohort.identifiers import read_identity
from dicomnode.cohort.journal import Journal, Outcome, State, Work, pseudonym
from dicomnode.cohort.scan import scan
from dicomnode.cohort.writing import CSV_NAME, NOT_MEASURED_NAME, PARQUET_NAME, write_tables
from tests.assemble.ct_series import write_series

RECIPE = "recipe"
CT = "1.2.840.10008.5.1.4.1.1.2"


def measured(**values: Any) -> Outcome:
    return Outcome(State.MEASURED, record=values)


def of_series(number: int, modality: str = "CT") -> Callable[[int, Dataset], None]:
    def edit(_index: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = f"1.2.{number}"
        dataset.SOPInstanceUID += f".{number}"
        dataset.Modality = modality
        if modality != "CT":
            dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"

    return edit


def look(folder: Path, out: Path) -> tuple[Journal, int]:
    journal = Journal(out / "journal.sqlite")
    return journal, scan([folder], journal, without=out)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Series 1 in two folders, series 2, an MR, a text, a broken file, a link to nowhere, the results."""
    tree = tmp_path / "tree"
    write_series(tree / "a", count=4, edit=of_series(1))
    (tree / "b" / "deep").mkdir(parents=True)
    (tree / "a" / "000.dcm").rename(tree / "b" / "deep" / "x.dcm")
    write_series(tree / "c", count=3, edit=of_series(2))
    write_series(tree / "mr", count=3, edit=of_series(3, "MR"))
    (tree / "notes.txt").write_text("no DICOM", encoding="utf-8")
    (tree / "broken.dcm").write_bytes((tree / "c" / "000.dcm").read_bytes()[:150])
    (tree / "link").symlink_to(tree / "nowhere")
    write_series(tree / "out" / "results", count=3, edit=of_series(4))
    return tree


def test_series_are_grouped_wherever_their_files_lie_and_headers_are_read_once(tree: Path) -> None:
    journal, read = look(tree, tree / "out")
    assert read == 4 + 3 + 3 + 2
    work = journal.work(RECIPE, retry=False, keep=None)
    assert sorted(one.files for one in work) == [3, 4]
    (scattered,) = [one for one in work if one.files == 4]
    assert len({path.parent for path in journal.paths(scattered.series)}) == 2
    assert journal.passed_over() == {"MR": 1}
    assert [path.name for path in journal.damaged()] == ["broken.dcm"]
    journal.close()
    journal, read = look(tree, tree / "out")
    assert read == 1, "only what couldn't be read is read again"
    assert journal.work(RECIPE, retry=False, keep=None) == work


def test_what_is_finished_is_no_work_until_something_changes(tree: Path) -> None:
    journal, _ = look(tree, tree / "out")
    one, other = journal.work(RECIPE, retry=False, keep=None)
    journal.record(one, RECIPE, measured(x=1.0))
    journal.record(other, RECIPE, Outcome(State.FAILED, "analysis_failed", "killed"))
    assert journal.work(RECIPE, retry=False, keep=None) == []
    assert journal.work(RECIPE, retry=True, keep=None) == [other]
    assert journal.work("another", retry=False, keep=None) == [one, other]
    assert journal.work(RECIPE, retry=False, keep=tree) == [one], "its results weren't kept"
    journal.close()

    shutil.copytree(tree / "c", tree.parent / "moved" / "c", copy_function=shutil.copy2)
    shutil.copytree(tree / "a", tree.parent / "moved" / "a", copy_function=shutil.copy2)
    shutil.copytree(tree / "b", tree.parent / "moved" / "b", copy_function=shutil.copy2)
    journal, read = look(tree.parent / "moved", tree / "out")
    assert (read, journal.work(RECIPE, retry=False, keep=None)) == (7, []), "a moved tree stays the same"
    journal.close()

    changed = journal_path(tree, one)
    os.utime(changed, (1, 1))
    journal, read = look(tree, tree / "out")
    (again,) = journal.work(RECIPE, retry=False, keep=None)
    assert (read, again.key) == (2, one.key)
    assert [row.key for row in journal.rows(RECIPE, State.MEASURED)] == [], "an old row is no row"
    journal.close()

    (journal_path(tree, other)).unlink()
    journal, _ = look(tree, tree / "out")
    assert {work.key for work in journal.work(RECIPE, retry=False, keep=None)} == {one.key, other.key}


def journal_path(tree: Path, work: Work) -> Path:
    return tree / ("a" if work.files == 4 else "c") / "001.dcm"


def test_a_file_that_is_no_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_text("something else, quite long enough" * 100, encoding="utf-8")
    with pytest.raises(CohortError, match="no journal of dicomnode cohort"):
        Journal(tmp_path / "journal.sqlite")


def add(journal: Journal, number: int, outcome: Outcome | None) -> None:
    identity = FileIdentity("1.2", f"1.2.{number}", f"1.2.{number}.1", CT, "CT")
    with journal.transaction():
        journal.add_image(Path(f"/ct/{number}"), 1, 1, identity)
    if outcome:
        journal.finish_scan()
        (work,) = journal.work(RECIPE, retry=False, keep=None)
        journal.record(work, RECIPE, outcome)


def test_the_tables_of_series_that_differ_in_what_was_measured(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    add(
        journal,
        1,
        measured(lung_volume_ml=4000.5, ct_score=3, lobes={"left": {"volume_ml": None}}, z_hu=-1.0),
    )
    add(
        journal,
        2,
        measured(
            lung_volume_ml=3999,
            ct_score=4,
            effusion_volume_ml=None,
            sides={"left": {"volume_ml": 1.5}},
            z_hu=2,
            quality={"flags": ["thin", "odd"], "kernel": "=cmd", "contrast": True},
            lesions=[{"volume_ml": 1}],
            literature={"cut_off": {"value": 5.0}},
            provenance={"parameters": ["lesion from a probability of 0.5"]},
        ),
    )
    add(journal, 3, Outcome(State.REFUSED, "gap", "1 slice missing"))
    write_tables(journal, RECIPE, tmp_path, identifiers=False)
    with (tmp_path / CSV_NAME).open(encoding="utf-8", newline="") as file:
        rows = {row["series"]: row for row in csv.DictReader(file)}
    one, two = rows[pseudonym("1.2/1.2.1")], rows[pseudonym("1.2/1.2.2")]
    assert list(one) == [
        *("series", "study", "instances", "lung_volume_ml", "ct_score", "effusion_volume_ml"),
        *("sides.left.volume_ml", "lobes.left.volume_ml", "z_hu"),
        *("quality.flags", "quality.kernel", "quality.contrast"),
    ]
    assert (one["lung_volume_ml"], one["lobes.left.volume_ml"], one["sides.left.volume_ml"]) == (
        "4000.5",
        "",
        "",
    )
    assert (two["quality.flags"], two["quality.kernel"], two["quality.contrast"]) == (
        "thin;odd",
        "'=cmd",
        "true",
    )
    table = pq.read_table(tmp_path / PARQUET_NAME)
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["lung_volume_ml"], types["ct_score"], types["quality.contrast"]) == (
        "double",
        "int64",
        "bool",
    )
    assert types["effusion_volume_ml"] == "double", "a measurement without a value is no text"
    assert table.schema.field("lung_volume_ml").metadata == {b"unit": b"mL"}
    values = {row["series"]: row for row in table.to_pylist()}
    assert values[one["series"]]["sides.left.volume_ml"] is None
    assert values[two["series"]]["quality.kernel"] == "=cmd"
    with (tmp_path / NOT_MEASURED_NAME).open(encoding="utf-8", newline="") as file:
        (refused,) = csv.DictReader(file)
    assert (refused["outcome"], refused["reason"], refused["detail"]) == ("refused", "gap", "1 slice missing")


def test_the_tables_do_not_tell_in_which_order_series_were_analyzed(tmp_path: Path) -> None:
    def content(name: str, order: int) -> list[bytes]:
        (tmp_path / name).mkdir()
        journal = Journal(tmp_path / name / "journal.sqlite")
        with journal.transaction():
            for number in range(20)[::order]:
                identity = FileIdentity("1.2", f"1.2.{number}", f"1.2.{number}.1", CT, "CT")
                journal.add_image(Path(f"/ct/{number}"), 1, 1, identity)
        journal.finish_scan()
        for work in journal.work(RECIPE, retry=False, keep=None)[::order]:
            number = int(work.key, 16)
            extra = {"effusion_volume_ml": 1.0} if number % 3 else {}
            refused = Outcome(State.REFUSED, "gap", str(number))
            outcome = measured(lung_volume_ml=1.5, **extra, z_hu=1.0) if number % 2 else refused
            journal.record(work, RECIPE, outcome)
        write_tables(journal, RECIPE, tmp_path / name, identifiers=False)
        return [(tmp_path / name / file).read_bytes() for file in (CSV_NAME, PARQUET_NAME, NOT_MEASURED_NAME)]

    assert content("forward", 1) == content("backward", -1)


def test_memory_does_not_grow_with_the_number_of_series(tmp_path: Path) -> None:
    record = {f"value_{number}_ml": float(number) for number in range(40)}

    def peak(name: str, series: int) -> int:
        (tmp_path / name).mkdir()
        journal = Journal(tmp_path / name / "journal.sqlite")
        with journal.transaction():
            for number in range(series):
                identity = FileIdentity("1.2", f"1.2.{number}", f"1.2.{number}.1", CT, "CT")
                journal.add_image(Path(f"/ct/{number}"), 1, 1, identity)
        journal.finish_scan()
        with journal.transaction():
            for work in journal.work(RECIPE, retry=False, keep=None):
                journal.record(work, RECIPE, measured(**record))
        tracemalloc.start()
        write_tables(journal, RECIPE, tmp_path / name, identifiers=False)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (tmp_path / name / CSV_NAME).read_text(encoding="utf-8").count("\n") == series + 1
        return most

    peak("warm", 10)  # what pyarrow imports doesn't count
    assert peak("many", 3000) < 1.5 * peak("few", 1000)


def test_what_a_header_says_of_the_patient(tmp_path: Path) -> None:
    def edit(_index: int, dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientID, dataset.StudyDate, dataset.PatientAge = " 7\u00fc ", "20200102", "061Y"

    found = read_identity(write_series(tmp_path / "a", count=2, edit=edit))
    assert (found["patient_id"], found["study_date"], found["patient_age"]) == ("7ü", "20200102", "061Y")
    assert (found["patient_sex"], found["accession_number"]) == ("", "")
    assert found["folder"] == str(tmp_path / "a")

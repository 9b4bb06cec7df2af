"""`dicomnode prognosis` on simulated patients: what is found, and what is said of tables that won't do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dicomnode.cli import main
from dicomnode.cohort.errors import CohortError
from dicomnode.cohort.patients import age_group, read_rows
from tests.cohort.simulated_patients import CT_SS_ODDS_RATIO, simulate, write_table

Answer = tuple[int, str, str]
Ask = Callable[..., Answer]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(*words: object) -> Answer:
        status = main(["prognosis", *map(str, words)])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prognosis") / "patients.csv"
    write_table(simulate(11, 3000, by="ct_ss"), path)
    return path


def changed(
    patients: Path, to: Path, change: Callable[[int, list[str]], list[str]], rows: int = 3000
) -> Path:
    """The table with each row changed; the header counts as row 0."""
    lines = patients.read_text(encoding="utf-8").splitlines()[: rows + 1]
    to.write_text(
        "\n".join(",".join(change(n, line.split(","))) for n, line in enumerate(lines)), encoding="utf-8"
    )
    return to


def test_models_a_b_and_c_of_simulated_patients(patients: Path, ask: Ask, tmp_path: Path) -> None:
    status, told, _ = ask(patients, "--outcome", "poor", "--json", "--plot", tmp_path / "roc.png")
    assert status == 0
    found: dict[str, Any] = json.loads(told)
    assert (found["rows"], found["patients"], found["left_out"]) == (3000, 3000, {})
    assert found["training"]["patients"] + found["test"]["patients"] == 3000
    assert found["test"]["patients"] == 900
    a, b, c = found["models"]
    (score,) = [term for term in b["fit"]["terms"] if term["name"] == "CT-SS, per SD"]
    assert score["interval"]["low"] < CT_SS_ODDS_RATIO < score["interval"]["high"]
    assert a["against_a"] is None
    assert (b["against_a"]["degrees_of_freedom"], c["against_a"]["degrees_of_freedom"]) == (1, 1)
    assert b["against_a"]["chi2"] > 100 and b["against_a"]["p"] < 1e-6
    assert a["test"]["value"] == pytest.approx(0.82, abs=0.05)  # the paper's C-statistics
    assert b["test"]["value"] == pytest.approx(0.89, abs=0.04)
    assert b["test_against_a"]["difference"] == pytest.approx(b["test"]["value"] - a["test"]["value"])
    assert c["test"]["value"] < b["test"]["value"], "the outcome was drawn with CT-SS"
    assert found["c_against_b"]["p"] is not None
    assert {one["name"] for one in found["scores"]} == {"ct_ss", "extent"}
    assert "no diagnosis" in found["use"]
    with Image.open(tmp_path / "roc.png") as image:
        assert image.size[0] > 600


def test_what_a_person_reads_and_the_drawing(patients: Path, ask: Ask, tmp_path: Path) -> None:
    picture = tmp_path / "roc.svg"
    status, told, _ = ask(patients, "--outcome", "poor", "--plot", picture)
    assert status == 0
    for words in (
        "age 45-64",
        "more than 7 days since onset",
        "3.02 [2.44, 3.73]",
        "Likelihood ratio chi2",
    ):
        assert words in told
    assert "fitted to 2100 patients" in told and "no diagnosis" in told
    first = picture.read_bytes()
    assert first.startswith(b"<?xml")
    assert ask(patients, "--outcome", "poor", "--plot", picture)[0] == 0
    assert picture.read_bytes() == first
    assert ask(patients, "--outcome", "poor", "--seed", "1")[1] != told


def test_rows_without_a_value_are_left_out_and_counted(patients: Path, ask: Ask, tmp_path: Path) -> None:
    def holes(number: int, cells: list[str]) -> list[str]:
        if number == 0:
            return [*cells, "study"]
        cells[1] = "" if number <= 30 else "17" if number <= 40 else cells[1]
        cells[3] = "NA" if 25 < number <= 50 else cells[3]
        cells[2] = "O" if number == 60 else cells[2]
        return [*cells, str(number // 2)]

    table = changed(patients, tmp_path / "holes.csv", holes)
    status, told, _ = ask(table, "--outcome", "poor", "--held-out", "0")
    assert status == 0
    assert "51 of 3000 rows left out for want of a value: age 40, sex 1, comorbidities 25" in told
    assert "rows repeat a study: rows aren't independent" in told
    assert "too kind" in told and "C-statistic again" in told


def test_a_model_whose_column_is_missing_is_left_out(patients: Path, ask: Ask, tmp_path: Path) -> None:
    table = changed(patients, tmp_path / "t.csv", lambda _, cells: [*cells[:5], *cells[6:]])
    status, told, _ = ask(table, "--outcome", "poor", "--without", "onset,age")
    assert status == 0
    assert "note: no model B: the table has no column ct_ss" in told
    assert "model A is without onset, age, so it isn't the published one" in told
    assert "age 45-64" not in told


def test_a_french_table_and_parquet_say_the_same(patients: Path, ask: Ask, tmp_path: Path) -> None:
    french = tmp_path / "french.csv"
    text = patients.read_text(encoding="utf-8").replace(",", ";").replace(".", ",")
    french.write_text("\ufeff" + text, encoding="utf-8")
    parquet = tmp_path / "patients.parquet"
    pq.write_table(pyarrow.csv.read_csv(patients), parquet)
    assert isinstance(pq.read_table(parquet), pa.Table)
    told = [ask(path, "--outcome", "poor", "--json")[1] for path in (patients, french, parquet)]
    assert told[0] == told[1] == told[2]


def set_column(index: int, value: str) -> Callable[[int, list[str]], list[str]]:
    return lambda number, cells: cells if number == 0 else [*cells[:index], value, *cells[index + 1 :]]


@pytest.mark.parametrize(
    ("change", "rows", "words", "sentence"),
    [
        (set_column(2, "M"), 3000, [], "model A: male is the same in all 2100 patients"),
        (set_column(1, "70"), 3000, [], "all patients are >64 years old; leave age out (--without age)"),
        (set_column(5, "8"), 3000, [], "CT-SS is the same in all patients"),
        (set_column(7, "no"), 3000, [], "all 3000 patients have the same outcome"),
        (
            lambda _, cells: cells,
            60,
            [],
            "patients with the outcome 2 would be held out, at least 5 are needed",
        ),
        (
            set_column(1, "old"),
            3000,
            [],
            "column age, row 1: 'old' can't be understood; the column should hold years",
        ),
        (set_column(7, "maybe"), 3000, [], "column poor, row 1: 'maybe' can't be understood"),
        (set_column(2, "1"), 3000, [], "the column should hold M and F"),
        (
            set_column(6, ""),
            3000,
            [],
            "none of the 3000 rows has a value in every column: lesion_extent_percent",
        ),
        (
            lambda _, cells: cells,
            90,
            ["--held-out", "0"],
            "model A: 12 patients with the outcome are too few for 5 terms",
        ),
        (lambda _, cells: cells, 3000, ["--age", "years"], "the table has no column 'years'"),
        (lambda _, cells: cells[:5] + cells[7:], 3000, [], "no column ct_ss or lesion_extent_percent"),
        (lambda _, cells: cells, 0, [], "has no rows"),
    ],
)
def test_a_table_that_will_not_do_is_told_in_one_sentence(
    change: Callable[[int, list[str]], list[str]],
    rows: int,
    words: list[str],
    sentence: str,
    patients: Path,
    ask: Ask,
    tmp_path: Path,
) -> None:
    status, _, told = ask(changed(patients, tmp_path / "t.csv", change, rows), "--outcome", "poor", *words)
    assert status == 1
    assert sentence in told
    assert len(told.splitlines()) == 1 and "Traceback" not in told


def test_a_score_that_tells_the_outcome_by_itself_is_told(patients: Path, ask: Ask, tmp_path: Path) -> None:
    def perfect(number: int, cells: list[str]) -> list[str]:
        if number:
            cells[6] = str((50 if cells[7] == "yes" else 5) + number % 4)
        return cells

    status, _, told = ask(changed(patients, tmp_path / "t.csv", perfect), "--outcome", "poor")
    assert status == 1
    assert (
        "model C: separation: the outcome of some patients follows without exception from lesion extent"
        in told
    )


def test_few_events_are_warned_of(patients: Path, ask: Ask, tmp_path: Path) -> None:
    table = changed(patients, tmp_path / "t.csv", lambda _, cells: cells, 400)
    status, told, _ = ask(table, "--outcome", "poor")
    assert status == 0
    assert "note: few events" in told


def test_ages_as_they_are_written() -> None:
    told = [age_group(text) for text in ("18", "44.9", "045Y", "64", "65", "18-44", ">64", "17", "900D")]
    assert told == [0, 0, 1, 1, 2, 0, 2, None, None]


def test_a_table_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="there is no table"):
        read_rows(tmp_path / "nowhere.csv")
    (tmp_path / "t.parquet").write_bytes(b"no parquet")
    with pytest.raises(CohortError, match="can't be read as a table"):
        read_rows(tmp_path / "t.parquet")

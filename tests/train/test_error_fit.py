"""The error of a model from its held-out cases, and what its intervals cover."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from dicomnode.segment.card import load_card, models_directory
from dicomnode.segment.card_file import build_section
from dicomnode.segment.confidence import ErrorModel
from dicomnode.train.cases import DataError
from dicomnode.train.error_fit import card_section, coverage, fit_error
from dicomnode.train.held_out import LOBE, PATIENT, REGION, SLICE, WHOLE, Part, read_parts, write_parts
from tests.conftest import REPOSITORY

TABLE = models_directory() / "best" / "held_out.csv"


def simulated(patients: int, slices: int, seed: int, sd: float = 0.6) -> list[Part]:
    """Cases whose truth lies a normal error beside what was found, in spreads."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(patients + slices):
        kind = PATIENT if number < patients else SLICE
        own = rng.normal(0.1, sd)
        for size, count in ((WHOLE, 1), (LOBE, 6), (REGION, 20)):
            for index in range(count if kind == PATIENT else size == WHOLE):
                root, spread = rng.uniform(1, 5), rng.uniform(0.3, 0.8)
                off = own + (0 if size == WHOLE else rng.normal(0, 0.4))
                true = max(root + off * spread, 0.0) ** 2
                lung = 4500.0 / count
                found, low, high = ((root + part * spread) ** 2 for part in (0, 0.5, -0.5))
                amounts = [lung * share / 100 for share in (true, found, low, high, true / 2, found / 2)]
                told = amounts[:2] * 2 if kind == SLICE else [None] * 4
                parts.append(Part(f"case{number}", kind, f"{size}-{index}", lung, *amounts, *told))
    return parts


def test_the_error_put_in_is_found_again() -> None:
    error = fit_error(simulated(300, 20, 1))
    assert len(error.lesion_errors) == len(error.weight_errors) == 320
    assert np.mean(error.lesion_errors) == pytest.approx(0.1, abs=0.1)
    assert np.std(error.lesion_errors) == pytest.approx(0.6, rel=0.1)
    assert error.lobe_sd == pytest.approx(0.4, rel=0.15)
    assert error.region_sd == pytest.approx(0.4, rel=0.15)
    assert len(error.ggo_errors) == 20
    assert error.held_out.startswith("300 patients and 20 single slices")
    assert fit_error(simulated(30, 19, 1)).ggo_errors == (), "too few told GGO and consolidation apart"


def test_intervals_hold_the_truth_of_cases_left_out() -> None:
    lines = list(coverage(simulated(30, 30, 2)))
    shares = {line.split(":")[0]: int(re.findall(r"\((\d+) %\)", line)[0]) for line in lines if "%" in line}
    assert {"lesion", "lesion weight", "GGO", "consolidation"} == shares.keys()
    assert all(88 <= share <= 100 for share in shares.values())
    scores = [line for line in lines if line.startswith("score")]
    assert len(scores) == 2
    for line in scores:
        inside, count = map(int, re.findall(r"(\d+) of (\d+) patients", line)[0])
        assert inside / count >= 0.85
        right, claimed = re.findall(r"true in (\d+), claimed ([\d.]+)", line)[0]
        assert float(claimed) == pytest.approx(int(right), abs=0.25 * count)


def test_too_few_cases_are_refused() -> None:
    for patients, slices in ((10, 9), (0, 30)):
        with pytest.raises(DataError, match="20 cases or more"):
            fit_error(simulated(patients, slices, 3))


def test_the_section_is_what_a_card_reads() -> None:
    error = fit_error(simulated(8, 20, 4))
    read = build_section(ErrorModel, tomllib.loads(card_section(error))["error"], "card")
    for field in fields(ErrorModel):
        wanted, found = getattr(error, field.name), getattr(read, field.name)
        assert found == (wanted if isinstance(wanted, str) else pytest.approx(wanted, rel=1e-3, abs=1e-3))


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    parts = simulated(3, 2, 5)
    write_parts(parts, tmp_path / "t.csv")
    assert read_parts(tmp_path / "t.csv") == parts
    (tmp_path / "bad.csv").write_text("case,kind\na,b\n", encoding="utf-8")
    with pytest.raises(DataError, match="no table"):
        read_parts(tmp_path / "bad.csv")


def test_the_card_of_best_has_the_error_of_its_table() -> None:
    error = load_card(models_directory() / "best").error
    assert error is not None
    fitted = fit_error(read_parts(TABLE))
    assert card_section(fitted) == card_section(error), "python -m dicomnode.train.surety --table"


def test_its_intervals_hold_what_the_documents_say() -> None:
    text = (REPOSITORY / "docs" / "measurements.md").read_text(encoding="utf-8")
    for line in coverage(read_parts(TABLE)):
        assert line in " ".join(text.split()), line

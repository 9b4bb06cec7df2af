"""How sure the numbers are, in the SR, the record and the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.report.certainty_text import certainty_sentences, short_interval, short_score_interval
from dicomnode.report.overview import write_overview
from dicomnode.report.record import measurements_json
from tests.report.report_cases import Case, axial_affine, make_case, thorax, write_ct
from tests.segment.test_confidence import ERROR, ERRORS

WITH_SLICES = replace(ERROR, ggo_errors=ERRORS, consolidation_errors=ERRORS)
UPPER, LOWER = "371886008", "371885007"


def five_lobes(folder: Path) -> Case:
    """The box thorax with lobes that have all their regions, made by a model whose error is known."""
    hu, labels, sides = thorax((40, 36, 44))
    lobes = np.zeros_like(sides)
    height = np.arange(40)[:, None, None]
    lobes[sides == 2] = np.where(height < 20, 5, 4).repeat(36, 1).repeat(44, 2)[sides == 2]
    right = np.where(height < 14, 3, np.where(height < 20, 2, 1)).repeat(36, 1).repeat(44, 2)
    lobes[sides == 1] = right[sides == 1]
    volume = write_ct(folder / "ct", hu, axial_affine())
    return make_case(volume, labels, sides, lobes, error=WITH_SLICES)


def numbers(item: Dataset) -> dict[str, Dataset]:
    return {
        str(child.ConceptNameCodeSequence[0].CodeValue): child
        for child in item.ContentSequence
        if child.ValueType == "NUM"
    }


def value(item: Dataset) -> float:
    return float(item.MeasuredValueSequence[0].NumericValue)


def groups(report: Dataset) -> dict[str, Dataset]:
    measurements = next(
        i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    return {
        str(group.ContentSequence[0].TextValue): group
        for group in measurements.ContentSequence
        if group.ValueType == "CONTAINER"
    }


def test_bounds_stand_below_their_numbers_as_the_standard_has_it(
    tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    case = five_lobes(tmp_path)
    sr = case.build(tmp_path)[1].path
    assert validate(sr) == []
    record = measurements_json(case.measurements, case.provenance)
    uncertain, lungs = record["uncertainty"], numbers(groups(dcmread(sr))["Lungs"])
    for concept, name, low, high in (
        ("LESION_VOLUME", "lesion_volume_ml", "lesion_volume_low_ml", "lesion_volume_high_ml"),
        ("LESION_EXTENT", "lesion_extent_percent", "lesion_extent_low_percent", "lesion_extent_high_percent"),
        ("LESION_WEIGHT", "lesion_weight_g", "lesion_weight_low_g", "lesion_weight_high_g"),
        ("GGO_VOLUME", "ggo_volume_ml", "ggo_volume_low_ml", "ggo_volume_high_ml"),
        ("CT_SCORE", "ct_score", "ct_score_low", "ct_score_high"),
        ("CT_SS", "ct_ss", "ct_ss_low", "ct_ss_high"),
    ):
        item, below = lungs[concept], numbers(lungs[concept])
        assert {child.RelationshipType for child in below.values()} == {"HAS PROPERTIES"}
        unit = item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue
        for bound in below.values():
            assert bound.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == unit
        assert value(item) == record[name]
        assert value(item) + value(below[UPPER]) == pytest.approx(uncertain[high], abs=1e-3)
        assert value(item) - value(below[LOWER]) == pytest.approx(uncertain[low], abs=1e-3)
    assert "ContentSequence" not in lungs["118565006"], "of the lungs' own volume no error was measured"
    assert value(lungs["CT_SCORE_PROB"]) == uncertain["ct_score_probability"]
    assert value(lungs["CT_SS_PROB"]) == uncertain["ct_ss_probability"]
    assert UPPER in numbers(numbers(groups(dcmread(sr))["Lesion (GGO and consolidation)"])["118565006"])


def test_the_sentences_say_the_same(tmp_path: Path) -> None:
    case = five_lobes(tmp_path)
    record = measurements_json(case.measurements, case.provenance)
    report = dcmread(case.build(tmp_path)[1].path)
    evaluations = report.ContentSequence[-1].ContentSequence
    said = [i.TextValue for i in evaluations if i.ConceptNameCodeSequence[0].CodeValue == "CERTAINTY"]
    assert said == certainty_sentences(record)
    assert "lesion volume" in said[0] and "consolidation" in said[0]
    assert said[1].startswith("CT score: ") and f"it is {record['ct_score']} with" in said[1]
    assert said[-1] == "The error was measured on 31 cases."
    cut_offs = [
        i.TextValue for i in evaluations if i.ConceptNameCodeSequence[0].CodeValue == "PUBLISHED_CUTOFF"
    ]
    assert all("probability of being above: " in sentence for sentence in cut_offs)


def test_a_model_without_a_measured_error_says_so(case: Case, tmp_path: Path) -> None:
    record = measurements_json(case.measurements, case.provenance)
    (sentence,) = certainty_sentences(record)
    assert "was not measured" in sentence
    assert short_interval(record) is None and short_score_interval("ct_score", record) is None
    lungs = numbers(groups(dcmread(case.build(tmp_path)[1].path))["Lungs"])
    assert not any("ContentSequence" in lungs[name] for name in ("LESION_VOLUME", "LESION_EXTENT"))


def test_the_picture_shows_the_interval(tmp_path: Path) -> None:
    case = five_lobes(tmp_path)
    write_overview(case.volume, case.segmentation, case.measurements, tmp_path / "a.png")
    blank = replace(case.measurements, uncertainty=replace(case.measurements.uncertainty, reason="no"))
    write_overview(case.volume, case.segmentation, blank, tmp_path / "b.png")
    sure, other = (np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "b.png"))
    differ = np.nonzero(np.any(sure != other, axis=2))
    assert differ[0].size and differ[0].max() < 132, "above the slices"

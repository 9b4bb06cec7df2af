"""The written SR as others read it, and its numbers against ``measurements.json``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.report.header import RESEARCH_USE
from dicomnode.report.quantities import FINDING_QUANTITIES, LUNG_QUANTITIES, REGION_QUANTITIES
from dicomnode.report.record import measurements_json, write_measurements_json
from dicomnode.segment.segmentation import QualityFlag
from tests.report.report_cases import Case, axial_affine, make_case, thorax, write_ct

CASES = ["case", "cip", "ricord"]
SEPARATE_LESION = "SEPARATE_LESION"
GROUP_KEYS = ("lungs", "right", "left", "lesion", "ggo", "consolidation")


def build(case: Case, out: Path) -> tuple[Path, Path]:
    seg, sr, _ = case.build(out)
    return seg.path, sr.path


def items(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def texts(report: Dataset, name: str) -> list[str]:
    return [
        str(item.TextValue)
        for item in items(report)
        if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeMeaning == name
    ]


def groups(report: Dataset) -> list[Dataset]:
    return [item for item in items(report) if item.ConceptNameCodeSequence[0].CodeValue == "125007"]


def numbers(group: Dataset) -> dict[str, str]:
    return {
        item.ConceptNameCodeSequence[0].CodeValue: str(item.MeasuredValueSequence[0].NumericValue)
        for item in group.ContentSequence
        if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeValue != SEPARATE_LESION
    }


def expected_numbers(key: str, record: dict[str, Any]) -> dict[str, float]:
    if key in ("right", "left"):
        values = record["sides"].get(key, {})
    else:
        values = record | {"volume_ml": record["lung_volume_ml"], "mean_hu": record["lung_mean_hu"]}
    quantities = FINDING_QUANTITIES.get(key, LUNG_QUANTITIES if key == "lungs" else REGION_QUANTITIES)
    return {
        code.value: values[name] for name, (code, _, _) in quantities.items() if values.get(name) is not None
    }


@pytest.mark.parametrize("name", CASES)
def test_dciodvfy_finds_no_error(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    _, sr = build(request.getfixturevalue(name), tmp_path)
    assert validate(sr) == []


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_those_of_measurements_json(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    case = request.getfixturevalue(name)
    _, sr = build(case, tmp_path)
    write_measurements_json(case.measurements, case.provenance, tmp_path / "measurements.json")
    record = json.loads((tmp_path / "measurements.json").read_text())
    for key, group in zip(GROUP_KEYS, groups(dcmread(sr)), strict=True):
        assert {code: float(value) for code, value in numbers(group).items()} == expected_numbers(key, record)


@pytest.mark.parametrize("name", CASES)
def test_volumes_are_the_seg_s_voxels_times_their_size(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    case = request.getfixturevalue(name)
    seg_path, sr_path = build(case, tmp_path)
    masks = highdicom.seg.segread(seg_path).get_volume()
    voxel_ml = np.prod(masks.spacing) / 1000
    measured = masks.array.sum(axis=(0, 1, 2)) * voxel_ml
    reported = [float(numbers(group)["118565006"]) for group in groups(dcmread(sr_path))]
    np.testing.assert_allclose(reported, measured, atol=0.001, rtol=1e-6)


def test_dcmqi_reads_every_group(case: Case, tmp_path: Path, tool: Callable[[str], str]) -> None:
    _, sr = build(case, tmp_path)
    out = tmp_path / "sr.json"
    subprocess.run(
        [tool("tid1500reader"), "--inputDICOM", sr, "--outputMetadata", out], check=True, capture_output=True
    )
    record = measurements_json(case.measurements, case.provenance)
    read = json.loads(out.read_text())["Measurements"]
    assert [group["ReferencedSegment"] for group in read] == [1, 2, 3, 4, 5, 6]
    for key, group in zip(GROUP_KEYS, read, strict=True):
        values = {item["quantity"]["CodeValue"]: float(item["value"]) for item in group["measurementItems"]}
        values.pop(SEPARATE_LESION, None)
        assert values == expected_numbers(key, record)


def test_highdicom_reads_the_template(case: Case, tmp_path: Path) -> None:
    seg, sr = build(case, tmp_path)
    report = highdicom.sr.srread(sr)
    read = report.content.get_volumetric_roi_measurement_groups()
    segments = dcmread(seg).SegmentSequence
    assert [group.tracking_uid for group in read] == [segment.TrackingUID for segment in segments]
    assert [group.tracking_identifier for group in read] == [segment.TrackingID for segment in segments]


def test_dsrdump_prints_the_names(case: Case, tmp_path: Path, tool: Callable[[str], str]) -> None:
    _, sr = build(case, tmp_path)
    printed = subprocess.run([tool("dsrdump"), "+Pl", sr], check=True, capture_output=True, text=True).stdout
    for words in ("Imaging Measurement Report", "Hellinger distance", "Ground glass opacity", RESEARCH_USE):
        assert words in printed


def test_dsr2html_shows_the_names_because_containers_are_separate(
    case: Case, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    _, sr = build(case, tmp_path)
    subprocess.run([tool("dsr2html"), sr, tmp_path / "sr.html"], check=True, capture_output=True)
    assert "Hellinger distance" in (tmp_path / "sr.html").read_text()
    assert all(i.ContinuityOfContent == "SEPARATE" for i in items(dcmread(sr)) if i.ValueType == "CONTAINER")


def test_no_lesion_is_said_and_no_mean_is_invented(
    tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    hu, labels, sides = thorax()
    case = make_case(write_ct(tmp_path / "ct", hu, axial_affine()), (labels > 0).astype(np.uint8), sides)
    _, sr = build(case, tmp_path)
    assert validate(sr) == []
    lesion = groups(dcmread(sr))[3]
    presence = [i for i in lesion.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "PRESENCE"]
    assert presence[0].ConceptCodeSequence[0].CodeMeaning == "Absent"
    assert numbers(lesion) == {"118565006": "0.0", "LESION_EXTENT": "0.0", "118538004": "0.0"}


def test_quality_flags_are_words_for_a_reader(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    volume = write_ct(tmp_path / "ct", hu, axial_affine())
    case = make_case(volume, labels, sides, flags=(QualityFlag.LUNGS_UNCERTAIN,))
    report = dcmread(build(case, tmp_path)[1])
    assert [flag.split(":")[0] for flag in texts(report, "Quality flag")] == [
        "thick_slices",
        "lungs_uncertain",
    ]
    assert "check them" in texts(report, "Quality flag")[1]
    assert "kernel B30f" in texts(report, "Image quality")[0]
    assert texts(report, "Intended use") == [RESEARCH_USE]


def test_provenance_is_in_the_algorithm_s_identification(case: Case, tmp_path: Path) -> None:
    report = dcmread(build(case, tmp_path)[1])
    assert texts(report, "Algorithm Parameters") == [
        f"weights_sha256={case.provenance.weights_sha256}",
        f"config_sha256={case.provenance.config_sha256}",
        f"input_sha256={case.provenance.input_sha256}",
    ]
    assert len(texts(report, "Algorithm Name")) == 1


def test_lobes_are_reported_with_the_contract_s_numbers(
    tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    hu, labels, sides = thorax()
    lobes = np.where(sides == 1, 1, np.where(sides == 2, 5, 0)).astype(np.uint8)
    case = make_case(write_ct(tmp_path / "ct", hu, axial_affine()), labels, sides, lobes)
    _, sr = build(case, tmp_path)
    assert validate(sr) == []
    record = measurements_json(case.measurements, case.provenance)
    by_name = {str(g.ContentSequence[0].TextValue): numbers(g) for g in groups(dcmread(sr))}
    upper = by_name["Right upper lobe"]
    assert float(upper["118565006"]) == record["lobes"]["right_upper"]["volume_ml"]
    assert float(upper["LESION_EXTENT"]) == record["lobes"]["right_upper"]["lesion_extent_percent"]
    assert by_name["Right middle lobe"] == {}
    assert not {"CT_SCORE", "INVOLVED_LOBES", "CT_SS"} & set(by_name["Lungs"])
    assert texts(dcmread(sr), "Scores")[:2] == [
        "CT score and involved lobes are not given: a lobe is missing.",
        "CT-SS is not given: one of the 20 regions is missing.",
    ]


def five_lobes(folder: Path, *flags: QualityFlag) -> Case:
    """The box thorax with lobes that have all their regions, and lesions in two of them."""
    hu, labels, sides = thorax((40, 36, 44))
    lobes = np.zeros_like(sides)
    height = np.arange(40)[:, None, None]
    lobes[sides == 2] = np.where(height < 20, 5, 4).repeat(36, 1).repeat(44, 2)[sides == 2]
    right = np.where(height < 14, 3, np.where(height < 20, 2, 1)).repeat(36, 1).repeat(44, 2)
    lobes[sides == 1] = right[sides == 1]
    return make_case(write_ct(folder / "ct", hu, axial_affine()), labels, sides, lobes, flags)


def test_scores_are_those_of_measurements_json_with_the_table_they_follow(
    tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    case = five_lobes(tmp_path)
    _, sr = build(case, tmp_path)
    assert validate(sr) == []
    report, record = dcmread(sr), measurements_json(case.measurements, case.provenance)
    by_name = {str(g.ContentSequence[0].TextValue): numbers(g) for g in groups(report)}
    for concept, name in (("CT_SCORE", "ct_score"), ("CT_SS", "ct_ss"), ("INVOLVED_LOBES", "involved_lobes")):
        assert by_name["Lungs"][concept] == str(record[name]), "a count has no decimal point"
    lobes = [by_name[f"{name} lobe"] for name in ("Right upper", "Right middle", "Right lower")]
    lobes += [by_name["Left upper lobe"], by_name["Left lower lobe"]]
    assert sum(int(lobe["LOBE_SCORE"]) for lobe in lobes) == record["ct_score"] > 0
    by_region = [int(v) for lobe in lobes for c, v in lobe.items() if c.startswith("CT_SS_REGION")]
    assert len(by_region) == 20 and sum(by_region) == record["ct_ss"] > 0
    rules = " ".join(texts(report, "Scores"))
    for words in (
        "1 below 5 %",
        "3 above 25 to below 50 %",
        "5 above 75 %",
        "2 50 % and more",
        "1 mL or 0.5 %",
    ):
        assert words in rules
    assert "Uncertain" not in rules
    assert not [i for i in items(report) if i.ConceptNameCodeSequence[0].CodeValue == "SCORE_CERTAINTY"]


def test_scores_of_uncertain_lobes_say_so(tmp_path: Path, validate: Callable[[Path], list[str]]) -> None:
    _, sr = build(five_lobes(tmp_path, QualityFlag.LOBES_UNCERTAIN), tmp_path)
    assert validate(sr) == []
    report = dcmread(sr)
    assert texts(report, "Scores")[0].startswith("Uncertain")
    said = [i for i in items(report) if i.ConceptNameCodeSequence[0].CodeValue == "SCORE_CERTAINTY"]
    assert len(said) == 6, "with the totals and with each lobe"
    assert {i.ConceptCodeSequence[0].CodeMeaning for i in said} == {"Uncertain"}


def test_separate_lesions_are_listed_with_their_place(case: Case, tmp_path: Path) -> None:
    report = dcmread(build(case, tmp_path)[1])
    record = measurements_json(case.measurements, case.provenance)["lesions"]
    assert len(record) == 2
    coded = [i for i in items(report) if i.ConceptNameCodeSequence[0].CodeValue == SEPARATE_LESION]
    for lesion, item, sentence in zip(record, coded, texts(report, "Separate lesion"), strict=True):
        assert float(item.MeasuredValueSequence[0].NumericValue) == lesion["volume_ml"]
        site = item.ContentSequence[0]
        assert site.ConceptCodeSequence[0].CodeMeaning == "Lung"
        assert site.ContentSequence[0].ConceptCodeSequence[0].CodeMeaning.lower() == lesion["side"]
        assert sentence.startswith(f"{lesion['number']}, {lesion['side']} lung: {lesion['volume_ml']} mL")
        for value in (lesion["mean_hu"], lesion["pleura_distance_mm"], lesion["peripheral_percent"]):
            assert f" {value} " in sentence
        assert ", ".join(str(place) for place in lesion["centroid_mm"]) in sentence


def test_published_cut_offs_are_literature_and_no_diagnosis(case: Case, tmp_path: Path) -> None:
    report = dcmread(build(case, tmp_path)[1])
    said = texts(report, "Published cut-off (literature, no diagnosis)")
    assert [sentence.split("; ")[0].split(" is ")[1] for sentence in said] == [
        "above 0.5 %",
        "above 10 g",
        "not above 5 %",
        "not above 75 g",
    ]
    assert all("Yoo et al. 2020" in sentence for sentence in said)
    assert "provisional" in " ".join(texts(report, "Method")), "the normal reference is of two people"

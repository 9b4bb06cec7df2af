"""Earlier results in SR, ``measurements.json`` and picture, and reports of our own read back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import highdicom
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.measure.change import bounds_in, compare, compared_values
from dicomnode.measure.course import Course
from dicomnode.measure.priors import Doubt, EarlierResult, PriorError, SearchRemark
from dicomnode.measure.uncertainty import Interval, Uncertainty
from dicomnode.report.course import COURSE_HEIGHT, published_course
from dicomnode.report.language import LanguageName
from dicomnode.report.overview import write_overview
from dicomnode.report.overview_layout import HEIGHT, WIDTH
from dicomnode.report.own_report import NotOurReportError, read_own_report, scan_of
from dicomnode.report.record import measurements_json, measurements_record
from dicomnode.report.result_set import FurtherResults
from dicomnode.report.results import build_results
from tests.prior_cases import MAKER, NOW, findings, result
from tests.report.report_cases import PAGE, Case, axial_affine, make_case, thorax, write_ct

VALUES = {"lesion_volume_ml": 10.25, "lesion_extent_percent": 2.5, "lesion_weight_g": 3.0}


def course_of(case: Case, *results: EarlierResult, remarks: tuple[SearchRemark, ...] = ()) -> Course:
    record = measurements_record(case.measurements)
    return compare(record, MAKER, findings(*results, remarks=remarks))


@pytest.fixture
def course(case: Case) -> Course:
    """Two earlier scans, one of them by another model."""
    old = result(1, date(2024, 2, 9), VALUES, maker=replace(MAKER, model="other"), flags=("noisy_image",))
    return course_of(case, old, result(2, date(2024, 2, 24), VALUES))


def items(node: Dataset) -> Iterator[Dataset]:
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def numbers(container: Dataset) -> dict[str, tuple[float, str]]:
    return {
        str(item.ConceptNameCodeSequence[0].CodeValue): (
            float(item.MeasuredValueSequence[0].NumericValue),
            str(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue),
        )
        for item in container.ContentSequence
        if item.ValueType == "NUM"
    }


def texts(report: Dataset) -> str:
    return "\n".join(str(item.TextValue) for item in items(report) if item.ValueType == "TEXT")


def test_dciodvfy_finds_no_error(
    case: Case, course: Course, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    for number, one in enumerate((course, course_of(case), course_of(case, remarks=tuple(SearchRemark)))):
        _, sr, sc = case.build(tmp_path / str(number), course=one)
        assert validate(sr.path) == []
        assert validate(sc.path) == []


def test_the_report_says_the_change_since_each(case: Case, course: Course, tmp_path: Path) -> None:
    report = dcmread(case.build(tmp_path, course=course)[1].path)
    earlier = [
        item
        for item in items(report)
        if item.ValueType == "CONTAINER" and item.ConceptNameCodeSequence[0].CodeValue == "EARLIER_RESULT"
    ]
    now = measurements_record(case.measurements)["lesion_volume_ml"]
    for container, days in zip(earlier, (20, 5), strict=True):
        found = numbers(container)
        assert found["DAYS_BETWEEN"] == (days, "d")
        assert found["D_LESION_VOL"] == (pytest.approx(now - 10.25, abs=5e-4), "mL")
        assert found["R_LESION_VOL"] == (pytest.approx((now - 10.25) / days, abs=5e-4), "mL/d")
        assert found["D_LESION_EXT"][1] == "%"
    references = [item for item in items(report) if item.ValueType == "COMPOSITE"]
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in references] == [
        change.earlier.report_uid for change in course.changes
    ]
    evidence = report.PertinentOtherEvidenceSequence
    assert [study.StudyInstanceUID for study in evidence] == ["1.2.3.1", "1.2.3.2"]
    said = texts(report)
    assert "Asked the node's ledger: 2 earlier studies to compare with." in said
    assert "Another model measured then: the change may be the model's." in said
    assert "Then: The image is very noisy" in said


def test_report_and_json_have_the_same_changes(case: Case, course: Course, tmp_path: Path) -> None:
    report = dcmread(case.build(tmp_path, course=course)[1].path)
    record = measurements_json(case.measurements, case.provenance, course)
    reported = [
        numbers(item)["D_LESION_WEIGHT"][0]
        for item in items(report)
        if item.ValueType == "CONTAINER" and item.ConceptNameCodeSequence[0].CodeValue == "EARLIER_RESULT"
    ]
    assert reported == [prior["change"]["lesion_weight_g"] for prior in record["prior"]]
    assert [prior["flags"] for prior in record["prior"]] == [["other_model", "flags_then"], []]
    assert record["prior"][0]["study_date"] == "2024-02-09"
    assert record["prior_search"]["asked"] == ["ledger"]
    assert "prior" not in measurements_json(case.measurements, case.provenance)


def test_what_was_not_found_or_not_compared_is_said(case: Case, tmp_path: Path) -> None:
    nothing = course_of(case)
    assert "ledger: no earlier result to compare with" in texts(
        dcmread(case.build(tmp_path / "a", course=nothing)[1].path)
    )
    stopped = course_of(case, result(1, date(2024, 2, 9), VALUES), remarks=(SearchRemark.PATIENT_MISMATCH,))
    report = dcmread(case.build(tmp_path / "b", course=stopped)[1].path)
    assert "NOT COMPARED" in texts(report)
    assert "D_LESION_VOL" not in str(report)


def test_other_findings_give_other_reports_and_the_same_masks(
    case: Case, course: Course, tmp_path: Path
) -> None:
    """Different contents never share a UID, and the masks are the same object whatever was found."""
    courses = (None, course_of(case), course, course_of(case, result(1, date(2024, 2, 9), VALUES)))
    built = [case.build(tmp_path / str(number), course=one) for number, one in enumerate(courses)]
    again = case.build(tmp_path / "again", course=course)
    assert len({seg.sop_instance_uid for seg, _, _ in built}) == 1
    assert len({sr.sop_instance_uid for _, sr, _ in built}) == len(courses)
    assert len({sc.sop_instance_uid for _, _, sc in built}) == len(courses)
    assert [file.path.read_bytes() for file in again] == [file.path.read_bytes() for file in built[2]]


def test_others_still_read_the_report(
    case: Case, course: Course, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    sr = case.build(tmp_path, course=course)[1].path
    assert len(highdicom.sr.srread(sr).content.get_volumetric_roi_measurement_groups()) == 6
    out = tmp_path / "sr.json"
    command = [tool("tid1500reader"), "--inputDICOM", sr, "--outputMetadata", out]
    subprocess.run(command, check=True, capture_output=True)
    assert out.stat().st_size


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    attributes = {"SeriesDescription": "Thorax 1.0 B30f, fein", "ConvolutionKernel": "B30f, medium"}
    volume = write_ct(tmp_path / "source", hu, axial_affine(), **attributes)
    lobes = np.where(sides == 1, 1 + np.arange(hu.shape[0])[:, None, None] % 3, 0).astype(np.uint8)
    lobes[sides == 2] = 4
    lobes[hu.shape[0] // 2 :][sides[hu.shape[0] // 2 :] == 2] = 5
    case = make_case(volume, labels, sides, lobes)
    file = case.build(tmp_path / "out", course=course_of(case, result(1, date(2024, 2, 9), VALUES)))[1]
    read = read_own_report(dcmread(file.path), "pacs")
    assert dict(read.values) == compared_values(measurements_record(case.measurements))
    assert {"ct_score", "lesion_weight_g", "lung_volume_ml"} <= read.values.keys()
    assert read.maker == replace(MAKER, software="dicomnode 0.0")
    assert read.scan == scan_of(dcmread(volume.instances[0].path))
    assert (read.scan.kernel, read.scan.study_time) == ("B30f, medium", "101112")
    assert read.report_uid == file.sop_instance_uid and read.report_series_uid == file.series_instance_uid
    assert read.flags == case.measurements.quality.flags
    assert EarlierResult.from_json(read.to_json()) == read


@pytest.mark.parametrize("name", ["de", "ja"])
def test_a_report_in_another_language_is_read_as_in_english(tmp_path: Path, name: LanguageName) -> None:
    hu, labels, sides = thorax()
    volume = write_ct(
        tmp_path / "ct", hu, axial_affine(), ConvolutionKernel="Lung", SeriesDescription="Scores"
    )
    case = make_case(volume, labels, sides)
    case = replace(
        case, measurements=replace(case.measurements, quality=replace(case.measurements.quality, flags=()))
    )
    parts = case.volume, case.segmentation, case.measurements, case.provenance
    english = read_own_report(dcmread(case.build(tmp_path / "en")[1].path), "pacs")
    build_results(*parts, PAGE, tmp_path / name, further=FurtherResults.of((), language=name))
    assert replace(
        read_own_report(dcmread(tmp_path / name / "sr.dcm"), "pacs"), report_uid="2.25.1"
    ) == replace(english, report_uid="2.25.1")
    assert (english.scan.kernel, english.flags) == ("Lung", ())


def test_a_report_of_an_earlier_version_is_read(case: Case, tmp_path: Path) -> None:
    """The first ones said the kernel in a sentence only, and nothing of the series' description."""
    report = dcmread(case.build(tmp_path)[1].path)
    (evaluations,) = [
        i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "C0034375"
    ]
    evaluations.ContentSequence = [
        item
        for item in evaluations.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue not in ("SOURCE_SERIES", "SOURCE_KERNEL")
    ]
    read = read_own_report(report, "pacs")
    assert (read.scan.kernel, read.scan.series_description) == ("B30f", "")
    assert read.values
    (said,) = [i for i in items(report) if i.get("TextValue", "").startswith("slice thickness")]
    for words, kernel in (
        ("kernel Br40, no contrast agent", "Br40"),
        ("kernel B70f (sharp)", "B70f"),
        ("kernel not named (soft by the noise), contrast agent given", ""),
        ("coverage 100 mm", ""),
    ):
        said.TextValue = f"slice thickness 1 mm, {words}"
        assert read_own_report(report, "pacs").scan.kernel == kernel


def test_what_a_pacs_may_make_of_a_report_fails_nothing(case: Case, tmp_path: Path) -> None:
    """A UID or a number that is none would fail the new report otherwise."""
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        report = dcmread(case.build(tmp_path)[1].path)
        report[keyword].value = "2.25.x"
        with pytest.raises(PriorError, match="UID"):
            read_own_report(report, "pacs")
    for value in ("-5", "1e9"):
        report = dcmread(case.build(tmp_path)[1].path)
        number = next(
            item for item in items(report) if item.ConceptNameCodeSequence[0].CodeValue == "LESION_EXTENT"
        )
        number.MeasuredValueSequence[0].NumericValue = value
        with pytest.raises(PriorError, match="no possible"):
            read_own_report(report, "pacs")


def test_bounds_are_read_back_and_those_of_the_change_are_said(
    case: Case, tmp_path: Path, validate: Callable[[Path], list[str]]
) -> None:
    total = case.measurements.total
    sure = Uncertainty(
        {
            "lesion_extent_percent": Interval(
                total.lesion_extent_percent - 1, total.lesion_extent_percent + 2
            ),
            "lesion_volume_ml": Interval(0.5, total.lesion_volume_ml + 7),
        },
        {},
        {},
        "test",
    )
    case = replace(case, measurements=replace(case.measurements, uncertainty=sure))
    record = measurements_record(case.measurements)
    first = case.build(tmp_path / "first")[1]
    read = read_own_report(dcmread(first.path), "pacs")
    for name, bounds in bounds_in(record).items():
        assert read.bounds[name] == pytest.approx(bounds, abs=2e-3)
    assert read.bounds.keys() == {"lesion_extent_percent", "lesion_volume_ml"}

    earlier = replace(read, scan=replace(read.scan, study_instance_uid="1.2.9", study_date=date(2024, 1, 1)))
    course = course_of(case, earlier)
    (change,) = course.changes
    assert change.difference["lesion_extent_percent"] == 0
    assert change.doubts[-1] is Doubt.WITHIN_ERROR
    sr = case.build(tmp_path / "second", course=course)[1].path
    assert validate(sr) == []
    report = dcmread(sr)
    (extent,) = [i for i in items(report) if i.ConceptNameCodeSequence[0].CodeValue == "D_LESION_EXT"]
    ranges = {code: value for code, (value, _) in numbers(extent).items()}
    assert ranges == {
        "371886008": pytest.approx(5**0.5, abs=2e-3),
        "371885007": pytest.approx(5**0.5, abs=2e-3),
    }
    assert "within the error of the two measurements" in texts(report)
    (prior,) = measurements_json(case.measurements, case.provenance, course)["prior"]
    assert prior["change_high"]["lesion_extent_percent"] == pytest.approx(5**0.5, abs=2e-3)


def test_the_predecessor_of_a_report_is_read(case: Case, tmp_path: Path) -> None:
    from dicomnode.report.result_set import DocumentReference  # noqa: PLC0415

    replaced = DocumentReference("1.2.3", "2.25.1", "1.2.840.10008.5.1.4.1.1.88.34", "2.25.2")
    read = read_own_report(dcmread(case.build(tmp_path, replaced)[1].path), "ledger")
    assert read.predecessor_uid == "2.25.2"


def test_onset_is_read_where_the_configuration_names_it(case: Case) -> None:
    header = dcmread(case.volume.instances[0].path)
    header.LongitudinalTemporalOffsetFromEvent = 6.5
    header.LongitudinalTemporalEventType = "ONSET"
    assert [scan_of(header, event) and scan_of(header, event).onset_day for event in ("ONSET", "", "X")] == [
        6.5,
        None,
        None,
    ]


def foreign(report: Dataset, change: str) -> Dataset:
    if change == "manufacturer":
        report.Manufacturer = "Other"
    elif change == "root":
        report.SOPInstanceUID = "1.2.3"
    elif change == "observer":
        next(item for item in report.ContentSequence if "UID" in item).UID = "2.25.1"
    elif change == "title":
        report.ConceptNameCodeSequence[0].CodeValue = "1"
    elif change == "class":
        report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    return report


@pytest.mark.parametrize("change", ["manufacturer", "root", "observer", "title", "class"])
def test_reports_of_others_are_not_taken_for_ours(case: Case, tmp_path: Path, change: str) -> None:
    report = dcmread(case.build(tmp_path)[1].path)
    read_own_report(report, "pacs")
    with pytest.raises(NotOurReportError):
        read_own_report(foreign(report, change), "pacs")


def test_a_damaged_report_of_ours_is_told(case: Case, tmp_path: Path) -> None:
    report = dcmread(case.build(tmp_path)[1].path)
    del report.ContentSequence[-2]
    with pytest.raises(PriorError, match="ours"):
        read_own_report(report, "pacs")
    undated = dcmread(case.build(tmp_path)[1].path)
    for kind in ("Study", "Series", "Content"):
        undated[f"{kind}Date"].value = ""
    with pytest.raises(PriorError, match="no date"):
        read_own_report(undated, "pacs")


def test_the_picture_grows_by_the_curve(case: Case, course: Course, tmp_path: Path) -> None:
    parts = case.volume, case.segmentation, case.measurements
    plain = write_overview(*parts, tmp_path / "plain.png").image
    nothing = write_overview(*parts, tmp_path / "nothing.png", course_of(case)).image
    page = write_overview(*parts, tmp_path / "course.png", course).image
    assert plain.size == nothing.size == (WIDTH, HEIGHT)
    assert page.size == (WIDTH, HEIGHT + COURSE_HEIGHT)
    assert plain.tobytes() == nothing.tobytes()
    assert page.crop((0, 0, WIDTH, 1000)).tobytes() == plain.crop((0, 0, WIDTH, 1000)).tobytes()
    stopped = course_of(case, remarks=(SearchRemark.PATIENT_MISMATCH,))
    with Image.open(tmp_path / "plain.png") as before:
        after = write_overview(*parts, tmp_path / "stopped.png", stopped).image
        assert after.size == before.size and after.tobytes() != before.tobytes()


def test_the_published_courses_peak_where_the_paper_says() -> None:
    """Pan et al.: moderate on day 18, severe on day 23; the severe fit's own maximum is on day 22."""
    for group, day in (("moderate", 18), ("severe", 22)):
        values = [published_course("lesion_extent_percent", group, one) for one in range(41)]
        assert values.index(max(values)) == day
    assert published_course("lesion_extent_percent", "severe", 20) == pytest.approx(27.67, abs=0.01)


def test_now_is_the_case_s_own_scan(case: Case) -> None:
    own = scan_of(dcmread(case.volume.instances[0].path))
    assert own is not None and own.study_date == NOW.study_date

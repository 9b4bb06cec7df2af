"""Which earlier result is compared, and the change since it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from dicomnode.measure.change import compare
from dicomnode.measure.priors import (
    Doubt,
    EarlierResult,
    Findings,
    PriorError,
    SearchRemark,
    time_of_day,
)
from tests.prior_cases import MAKER, NOW, findings, result

NUMBERS: dict[str, object] = {"lesion_volume_ml": 80.5, "ct_score": 7, "lung_mean_hu": -800.0, "lesions": []}


def test_the_change_is_now_less_then_and_a_day() -> None:
    then = result(1, date(2024, 2, 19), {"lesion_volume_ml": 100.5, "ct_score": 5, "ct_ss": 9})
    (change,) = compare(NUMBERS, MAKER, findings(then)).changes
    assert change.days == 10
    assert change.difference == {"lesion_volume_ml": -20.0, "ct_score": 2}
    assert change.per_day == {"lesion_volume_ml": -2.0, "ct_score": 0.2}
    assert isinstance(change.difference["ct_score"], int)
    assert not change.doubts


def test_scans_of_one_day_have_no_change_a_day() -> None:
    then = result(1, NOW.study_date, {"ct_score": 5})
    (change,) = compare(NUMBERS, MAKER, findings(then)).changes
    assert (change.days, dict(change.per_day)) == (0, {})


def test_each_study_is_compared_once_and_the_oldest_first() -> None:
    old = result(1, date(2024, 1, 1), {"ct_score": 1})
    same_study = replace(old, report_uid="2.25.11", values={"ct_score": 2, "ct_ss": 1})
    new = result(2, date(2024, 2, 1), {"ct_score": 3})
    course = compare(NUMBERS, MAKER, findings(new, old, same_study))
    assert [change.earlier.report_uid for change in course.changes] == ["2.25.11", "2.25.20"]
    assert [values["ct_score"] for _, values in course.scans] == [2, 3, 7]


@pytest.mark.parametrize("order", [1, -1])
def test_of_one_study_the_most_alike_is_compared(order: int) -> None:
    """Model before kernel before description, whatever the order in which they are found."""
    made = date(2024, 1, 1)
    alike = result(1, made, {"ct_score": 1}, report_uid="2.25.9")
    kernel = replace(alike, report_uid="2.25.1", scan=replace(alike.scan, kernel="B70f"))
    model = replace(alike, report_uid="2.25.2", maker=replace(MAKER, weights_sha256="00" * 32))
    described = replace(alike, report_uid="2.25.3", scan=replace(alike.scan, series_description="thin"))

    def chosen(*candidates: EarlierResult) -> str:
        (change,) = compare(NUMBERS, MAKER, findings(*candidates[::order])).changes
        return change.earlier.report_uid

    assert chosen(kernel, model, described, alike) == "2.25.9"
    assert chosen(kernel, model, described) == "2.25.3"
    assert chosen(kernel, model) == "2.25.1"
    assert chosen(alike, replace(alike, report_uid="2.25.8")) == "2.25.8"


def test_a_report_that_another_replaces_is_not_compared() -> None:
    first = result(1, date(2024, 1, 1), {"ct_score": 1})
    second = replace(
        first,
        report_uid="2.25.99",
        predecessor_uid=first.report_uid,
        scan=replace(first.scan, kernel="B70f"),
    )
    (change,) = compare(NUMBERS, MAKER, findings(first, second)).changes
    assert change.earlier == second


def test_what_else_may_have_changed_is_said() -> None:
    then = result(1, date(2024, 1, 1), {"ct_score": 1}, flags=("thick_slices",))
    for maker, doubts in (
        (MAKER, set()),
        (replace(MAKER, model="other"), {Doubt.OTHER_MODEL}),
        (replace(MAKER, model_version="2"), {Doubt.OTHER_WEIGHTS}),
        (replace(MAKER, weights_sha256="00" * 32, config_sha256="1" * 64), {Doubt.OTHER_WEIGHTS}),
        (replace(MAKER, config_sha256="1" * 64), {Doubt.OTHER_CONFIGURATION}),
        (replace(MAKER, software="dicomnode 9"), {Doubt.OTHER_SOFTWARE}),
    ):
        (change,) = compare(NUMBERS, maker, findings(then)).changes
        assert set(change.doubts) == doubts | {Doubt.FLAGS_THEN}
    sharp = findings(then, now=replace(NOW, kernel="B70f"))
    (change,) = compare(NUMBERS, MAKER, sharp).changes
    assert Doubt.OTHER_KERNEL in change.doubts


def test_a_change_has_the_errors_of_both_measurements() -> None:
    """Distances of 3 and 4 to the bounds make one of 5."""
    record = NUMBERS | {
        "lesion_extent_percent": 20.0,
        "uncertainty": {
            "lesion_extent_low_percent": 17.0,
            "lesion_extent_high_percent": 26.0,
            "ct_score_low": 6,
            "ct_score_high": 9,
            "above": {},
        },
    }
    then = result(
        1,
        date(2024, 1, 1),
        {"lesion_extent_percent": 12.0, "ct_score": 3, "lesion_volume_ml": 1.0},
        bounds={"lesion_extent_percent": (4.0, 16.0), "lesion_volume_ml": (0.5, 2.0)},
    )
    (change,) = compare(record, MAKER, findings(then)).changes
    assert change.bounds == {"lesion_extent_percent": (8.0 - 5.0, 8.0 + 10.0)}
    assert change.doubts == ()
    near = replace(then, values={**then.values, "lesion_extent_percent": 16.0})
    (change,) = compare(record, MAKER, findings(near)).changes
    assert change.bounds["lesion_extent_percent"][0] == pytest.approx(4.0 - 3.0)
    near = replace(near, bounds={"lesion_extent_percent": (4.0, 20.0)})
    (change,) = compare(record, MAKER, findings(near)).changes
    assert change.bounds["lesion_extent_percent"][0] == pytest.approx(4.0 - 5.0)
    assert change.doubts == (Doubt.WITHIN_ERROR,)
    assert change.to_json()["change_low"] == {"lesion_extent_percent": pytest.approx(-1.0)}


def test_a_value_outside_of_its_bounds_counts_as_the_next_bound() -> None:
    record = {
        "lesion_extent_percent": 5.0,
        "uncertainty": {"lesion_extent_low_percent": 6.0, "lesion_extent_high_percent": 10.0},
    }
    bounds = {"lesion_extent_percent": (1.0, 1.0)}
    then = result(1, date(2024, 1, 1), {"lesion_extent_percent": 1.0}, bounds=bounds)
    (change,) = compare(record, MAKER, findings(then)).changes
    assert change.difference == {"lesion_extent_percent": 4.0}
    assert change.bounds == {"lesion_extent_percent": (5.0, 9.0)}


def test_a_mismatch_of_the_patient_stops_the_comparison() -> None:
    then = result(1, date(2024, 1, 1), {"ct_score": 1})
    course = compare(NUMBERS, MAKER, findings(then, remarks=(SearchRemark.PATIENT_MISMATCH,)))
    assert not course.changes and not course.scans
    assert course.to_json()["prior_search"]["flags"] == ["patient_mismatch"]


def test_only_an_earlier_moment_is_before() -> None:
    day = replace(NOW, study_time="")
    assert replace(NOW, study_time="101111").is_before(NOW)
    assert not NOW.is_before(NOW)
    assert not day.is_before(NOW) and not NOW.is_before(day)
    assert replace(day, study_date=date(2024, 2, 28)).is_before(NOW)


def test_findings_are_the_same_after_writing_and_reading() -> None:
    then = result(1, date(2024, 1, 1), {"ct_score": 1, "lesion_weight_g": 1.5}, flags=("one_lung",))
    then = replace(then, bounds={"lesion_weight_g": (1.0, 2.5)})
    found = findings(then, now=replace(NOW, onset_day=3.5), remarks=(SearchRemark.TOO_OLD,))
    read = Findings.from_json(json.loads(json.dumps(found.to_json())))
    assert read == found and read.sha256 == found.sha256
    assert findings(then).sha256 != found.sha256
    assert Findings.from_json(Findings(None).to_json()) == Findings(None)


@pytest.mark.parametrize(
    "damage",
    [
        {"values": {"name": 1.0}},
        {"values": {"ct_score": float("nan")}},
        {"scan": 3},
        {"bounds": {"ct_score": [2, 1]}},
    ],
)
def test_what_is_no_earlier_result_is_told(damage: dict[str, object]) -> None:
    record = result(1, date(2024, 1, 1), {"ct_score": 1}).to_json() | damage
    with pytest.raises(PriorError):
        EarlierResult.from_json(record)


def test_times_of_any_precision() -> None:
    assert time_of_day("101112.123456") == "101112"
    assert time_of_day("1011") == "101100"
    assert time_of_day("") == time_of_day("10:11:12") == ""

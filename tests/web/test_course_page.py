"""Whose scans a course is made of, and in which order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicomnode.measure.priors import EarlierResult, Maker, Scan
from dicomnode.priors.patient import Patient
from dicomnode.spool.browsing import Browser, KnownResult
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.patient_results import PatientResult, note_patient_result
from dicomnode.web.course_page import CoursePage, PatientCourse, patient_course
from dicomnode.web.doorkeeper import AccessRules, Doorkeeper
from dicomnode.web.site import Pages, Site
from tests.spool.ledger_cases import arrive
from tests.web.asking import text_of

IDENTIFIERS = ("PatientID", "IssuerOfPatientID")
MAKER = Maker("dicomnode", "best", "0.1.0", "ab" * 32, "cd" * 32)


def marks(**attributes: str) -> dict[str, str]:
    dataset = Dataset()
    known = {"PatientID": "P1", "PatientBirthDate": "19600101", "PatientSex": "F", **attributes}
    for name, value in known.items():
        setattr(dataset, name, value)
    return Patient.of(dataset).marks


def result(day: int, extent: float, study: str = "", *, onset: float | None = None) -> EarlierResult:
    scan = Scan(study or f"1.2.{day}", "1.2.9", date(2024, 1, day), "101500", onset_day=onset)
    values = {"lesion_extent_percent": extent, "ct_score": 7.0}
    bounds = {"lesion_extent_percent": (extent / 2, extent * 2)}
    return EarlierResult(scan, MAKER, values, "1.5", "2.25.1", "2.25.2", bounds)


def known(
    series_id: str, one: EarlierResult, own: Mapping[str, str] | None = None, at: float = 0.0
) -> KnownResult:
    return KnownResult(series_id, own or marks(), json.dumps(one.to_json()), at)


def days(course: PatientCourse) -> list[tuple[str, float]]:
    return [(scan.series_id, scan.day) for scan in course.scans]


def test_scans_are_in_the_order_of_their_days() -> None:
    scans = [known("c", result(20, 3)), known("a", result(1, 9)), known("b", result(8, 30))]
    course = patient_course(scans, "b", IDENTIFIERS)
    assert days(course) == [("a", 0.0), ("b", 7.0), ("c", 19.0)]
    assert (course.from_onset, course.contradicted, course.unconfirmed) == (False, 0, False)


def test_days_begin_with_the_symptoms_where_a_scan_says_when() -> None:
    scans = [known("a", result(1, 9)), known("b", result(8, 30, onset=12.0)), known("c", result(20, 3))]
    course = patient_course(scans, "a", IDENTIFIERS)
    assert course.from_onset
    assert days(course) == [("a", 5.0), ("b", 12.0), ("c", 24.0)]


def test_other_patients_are_left_out_and_contradictions_told() -> None:
    scans = [
        known("a", result(1, 9)),
        known("other", result(2, 9), marks(PatientID="P2")),
        known("issuer", result(3, 9), marks(IssuerOfPatientID="X")),
        known("birth", result(4, 9), marks(PatientBirthDate="19700101")),
        known("sex", result(5, 9), marks(PatientSex="M")),
    ]
    course = patient_course(scans, "a", IDENTIFIERS)
    assert days(course) == [("a", 0.0)]
    assert course.contradicted == 2
    assert patient_course(scans, "nobody", IDENTIFIERS) == PatientCourse()
    without = [known("a", result(1, 9)), known("b", result(2, 9), marks(PatientBirthDate=""))]
    assert patient_course(without, "a", IDENTIFIERS).unconfirmed


def test_of_a_study_the_correction_counts_else_what_came_last() -> None:
    thick, thin = known("thick", result(1, 9, "1.7"), at=1), known("thin", result(1, 8, "1.7"), at=2)
    by_hand = known("by_hand", replace(result(1, 7, "1.7"), corrected=True), at=0)
    course = patient_course([thin, thick, known("later", result(5, 4))], "thick", IDENTIFIERS)
    assert days(course) == [("thin", 0.0), ("later", 4.0)]
    assert course.left_out == 1
    assert days(patient_course([by_hand, thin, thick], "thin", IDENTIFIERS)) == [("by_hand", 0.0)]


def test_a_record_that_can_not_be_read_is_left_out() -> None:
    broken = KnownResult("b", marks(), '{"scan": 1}', 0.0)
    garbage = KnownResult("c", marks(), "not JSON", 0.0)
    assert days(patient_course([known("a", result(1, 9)), broken, garbage], "a", IDENTIFIERS)) == [("a", 0.0)]


@pytest.mark.parametrize("shows_dates", [False, True])
def test_the_page_draws_them_beside_the_published_courses(tmp_path: Path, shows_dates: bool) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for number in (1, 2):
        arrive(ledger, series=f"1.2.{number}")
    ids = [one.id for one in ledger.list_series()]
    with ledger.database.write() as connection:
        for series_id, (day, extent) in zip(ids, ((3, 12.5), (17, 31.0)), strict=True):
            record = PatientResult(marks(), json.dumps(result(day, extent).to_json()), "{}")
            note_patient_result(connection, series_id, 1, record)
    browser = Browser(ledger.database.path)
    pages = Pages([], has_login=False)
    routes = CoursePage(pages, browser, IDENTIFIERS, shows_dates=shows_dates).routes
    text = text_of(Site(Doorkeeper(AccessRules()), pages, routes), f"/course/{ids[1]}")
    assert "Lesion extent, %, over days since the first scan. day 0: 12.5; day 14: 31" in text
    assert text.count('class="moderate"') == text.count('class="severe"') == 2
    assert text.count('class="interval-bar"') == 2
    assert [f"/series/{one}" in text for one in ids] == [True, True]
    assert ("2024-01-03" in text) == shows_dates
    browser.close()
    ledger.close()

"""Whose scan it is, and which earlier results are taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import pytest
from pydicom.dataset import Dataset

from dicomnode.measure.priors import EarlierResult, SearchRemark
from dicomnode.priors.patient import Patient, Sameness, compare_patients
from dicomnode.priors.sifting import Candidate, sift
from tests.prior_cases import NOW, result, scan

IDENTIFIERS = ("PatientID", "IssuerOfPatientID")


def patient(**attributes: str) -> dict[str, str]:
    dataset = Dataset()
    known = {"PatientID": "7", "PatientBirthDate": "19600101", "PatientSex": "F", "PatientName": "Doe^Jane"}
    for keyword, value in {**known, **attributes}.items():
        setattr(dataset, keyword, value)
    return Patient.of(dataset).marks


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, Sameness.SAME),
        ({"PatientID": "7 "}, Sameness.SAME),
        ({"PatientName": "Roe^Jane"}, Sameness.SAME),
        ({"PatientID": "8"}, Sameness.OTHER),
        ({"IssuerOfPatientID": "elsewhere"}, Sameness.OTHER),
        ({"PatientBirthDate": "19610101"}, Sameness.CONTRADICTED),
        ({"PatientSex": "M"}, Sameness.CONTRADICTED),
        ({"PatientSex": ""}, Sameness.SAME),
        ({"PatientSex": "female"}, Sameness.SAME),
        ({"PatientBirthDate": ""}, Sameness.UNCONFIRMED),
        ({"PatientBirthDate": "1960"}, Sameness.UNCONFIRMED),
        ({"PatientBirthDate": "", "PatientSex": "M"}, Sameness.CONTRADICTED),
    ],
)
def test_who_is_the_same_patient(attributes: dict[str, str], expected: Sameness) -> None:
    one, other = patient(), patient(**attributes)
    assert compare_patients(one, other, IDENTIFIERS) is expected
    assert compare_patients(other, one, IDENTIFIERS) is expected


def test_the_site_chooses_the_identifiers() -> None:
    named = patient(PatientID="8")
    assert compare_patients(patient(), named, ("PatientName",)) is Sameness.SAME
    assert compare_patients(patient(), patient(PatientName="Doe^Jane^^ "), ("PatientName",)) is Sameness.SAME
    assert compare_patients(patient(), patient(PatientName="Roe^J"), ("PatientName",)) is Sameness.OTHER


def test_marks_name_nobody_and_the_object_does_not_print_itself() -> None:
    dataset = Dataset()
    dataset.PatientID, dataset.PatientName = "7", "Doe^Jane"
    found = Patient.of(dataset)
    assert "Doe" not in f"{found}{found.marks}"
    assert {len(mark) for mark in found.marks.values()} == {64}
    assert Patient.of(Dataset()).marks == {}


@dataclass(frozen=True)
class Limits:
    identifiers: tuple[str, ...] = IDENTIFIERS
    maximum: int = 10
    maximum_days: int = 365


def candidate(number: int, made: date, **attributes: str) -> Candidate:
    return Candidate(patient(**attributes), result(number, made, {"ct_score": number}))


def sifted(*candidates: Candidate, limits: Limits = Limits()) -> tuple[list[str], tuple[SearchRemark, ...]]:
    found = sift(NOW, patient(), candidates, limits, ("ledger",))
    return [one.report_uid for one in found.results], found.remarks


def test_earlier_results_come_in_the_order_of_time() -> None:
    new, old = candidate(1, date(2024, 2, 20)), candidate(2, date(2024, 1, 20))
    assert sifted(new, old) == (["2.25.20", "2.25.10"], ())
    assert sifted(new, new) == (["2.25.10"], ())


def test_what_is_not_earlier_is_left_out() -> None:
    same_day = candidate(3, NOW.study_date)
    own = Candidate(patient(PatientSex="M"), replace(result(4, date(2024, 1, 1), {"ct_score": 1}), scan=NOW))
    assert sifted(own) == ([], ())
    assert sifted(candidate(1, date(2024, 3, 1))) == ([], ())
    assert sifted(same_day) == ([], (SearchRemark.SAME_TIME,))
    timed = [
        Candidate(same_day.marks, replace(same_day.result, scan=scan(3, NOW.study_date, study_time=time)))
        for time in ("101111", "101113")
    ]
    assert [sifted(one) for one in timed] == [(["2.25.30"], ()), ([], ())]
    assert sifted(candidate(1, date(2023, 1, 1))) == ([], (SearchRemark.TOO_OLD,))


def test_of_many_studies_the_newest_are_taken_with_all_their_results() -> None:
    found = [candidate(month, date(2024, 1, month)) for month in range(1, 5)]
    second: EarlierResult = replace(found[3].result, report_uid="2.25.41")
    uids, remarks = sifted(*found, Candidate(found[3].marks, second), limits=Limits(maximum=2))
    assert uids == ["2.25.30", "2.25.40", "2.25.41"]
    assert remarks == (SearchRemark.TOO_MANY,)


def test_one_contradiction_stops_everything() -> None:
    good = candidate(1, date(2024, 2, 20))
    for bad in ({"PatientSex": "M"}, {"PatientBirthDate": "19700101"}):
        uids, remarks = sifted(good, candidate(2, date(2024, 2, 1), **bad))
        assert (uids, remarks) == ([], (SearchRemark.PATIENT_MISMATCH,))


def test_another_issuer_is_another_patient() -> None:
    other = candidate(2, date(2024, 2, 1), IssuerOfPatientID="elsewhere", PatientSex="M")
    assert sifted(candidate(1, date(2024, 2, 20)), other) == (
        ["2.25.10"],
        (SearchRemark.OTHER_IDENTIFIERS,),
    )


def test_a_missing_birth_date_is_said() -> None:
    uids, remarks = sifted(candidate(1, date(2024, 2, 20), PatientBirthDate=""))
    assert (uids, remarks) == (["2.25.10"], (SearchRemark.BIRTH_DATE_UNKNOWN,))

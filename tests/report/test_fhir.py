"""The FHIR bundle has the numbers of the structured report, and is what R4 allows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fhirclient.models.bundle import Bundle
from pydicom import dcmread

from dicomnode.demo.read_back import reported_values
from dicomnode.report.errors import ReportError
from dicomnode.report.fhir import FHIR_FILE, build_bundle, write_fhir
from dicomnode.report.record import write_measurements_json
from tests.report.report_cases import Case, axial_affine, make_case, thorax, write_ct


@pytest.fixture
def results(case: Case, tmp_path: Path) -> Path:
    """A folder of results as the pipeline leaves it."""
    return written(case, tmp_path / "results")


def written(case: Case, folder: Path) -> Path:
    case.build(folder)
    write_measurements_json(case.measurements, case.provenance, folder / "measurements.json")
    return folder


def resources(bundle: dict[str, object], kind: str) -> list[dict[str, object]]:
    entries = bundle["entry"]
    assert isinstance(entries, list)
    return [entry["resource"] for entry in entries if entry["resource"]["resourceType"] == kind]


def test_it_has_the_numbers_of_the_structured_report(results: Path) -> None:
    write_fhir(results)
    bundle = json.loads((results / FHIR_FILE).read_text(encoding="utf-8"))
    told = {
        (observation["bodySite"]["text"], component["code"]["coding"][0]["code"]): component["valueQuantity"]
        for observation in resources(bundle, "Observation")
        for component in observation["component"]
    }
    reported = {
        (value.group, value.concept): (value.value, value.unit)
        for value in reported_values(dcmread(results / "sr.dcm"))
        if value.group in {"Lungs", "Right lung", "Left lung"}
    }
    assert len(reported) > 30
    assert {key: (q["value"], q["code"]) for key, q in told.items()} == reported


def test_it_is_what_fhir_r4_allows_and_refers_to_what_is_there(results: Path) -> None:
    bundle = build_bundle(results)
    assert Bundle(bundle).as_json()["type"] == "transaction"
    there = {f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in bundle["entry"]}
    referred = {
        reference["reference"]
        for report in resources(bundle, "DiagnosticReport")
        for reference in [*report["result"], *report["imagingStudy"]]
    }
    referred |= {one["device"]["reference"] for one in resources(bundle, "Observation")}
    assert referred <= there
    assert {entry["request"]["url"] for entry in bundle["entry"]} == there


def test_series_and_instances_of_source_and_results_are_listed(case: Case, results: Path) -> None:
    (study,) = resources(build_bundle(results), "ImagingStudy")
    by_modality = {one["modality"]["code"]: one for one in study["series"]}
    assert by_modality.keys() == {"CT", "SEG", "SR"}
    assert by_modality["CT"]["numberOfInstances"] == len(case.volume.instances)
    assert by_modality["SR"]["instance"][0]["uid"] == dcmread(results / "sr.dcm").SOPInstanceUID


def test_the_same_result_gives_the_same_bundle(case: Case, results: Path, tmp_path: Path) -> None:
    again = written(case, tmp_path / "again")
    assert write_fhir(results).path.read_bytes() == write_fhir(again).path.read_bytes()


def test_a_patient_without_an_identifier_is_not_invented(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    volume = write_ct(tmp_path / "ct", hu, axial_affine(), PatientID="")
    bundle = build_bundle(written(make_case(volume, labels, sides), tmp_path / "results"))
    (report,) = resources(bundle, "DiagnosticReport")
    assert report["subject"] == {"type": "Patient", "display": "not identified in the images"}


def test_the_identifier_keeps_its_characters(tmp_path: Path) -> None:
    hu, labels, sides = thorax()
    volume = write_ct(
        tmp_path / "ct", hu, axial_affine(), SpecificCharacterSet="ISO_IR 192", PatientID="患者-7"
    )
    bundle = build_bundle(written(make_case(volume, labels, sides), tmp_path / "results"))
    (report,) = resources(bundle, "DiagnosticReport")
    assert report["subject"]["identifier"]["value"] == "患者-7"
    assert report["status"] == "preliminary"


def test_results_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="can't be read"):
        build_bundle(tmp_path)

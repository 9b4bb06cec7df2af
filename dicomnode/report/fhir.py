"""The result as HL7 FHIR R4: a transaction Bundle of DiagnosticReport, Observations, ImagingStudy and Device.

Built from ``measurements.json`` and the header of the structured report that lie in a folder of results, so
its numbers are theirs. Resources have ids derived from the report's UID: sent again, they replace themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicomnode.report import codes
from dicomnode.report.errors import ReportError
from dicomnode.report.header import MANUFACTURER, RESEARCH_USE
from dicomnode.report.quality_text import flag_sentence
from dicomnode.report.quantities import LOBE_QUANTITIES, LUNG_QUANTITIES, REGION_QUANTITIES, Quantity
from dicomnode.report.result_set import ResultFile, ResultKind
from dicomnode.report.segments import LOBES, LUNGS, SIDES, Segment
from dicomnode.report.uids import derive_uid

try:
    from fhirclient.models.bundle import Bundle
    from fhirclient.models.fhirabstractbase import FHIRValidationError
except ImportError:  # the extra isn't installed
    Bundle = None

FHIR_FILE = "report.fhir.json"
MEASUREMENTS_FILE = "measurements.json"
SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "LN": "http://loinc.org",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
    codes.PRIVATE_SCHEME: "urn:dicomnode:measurements",
}
OBSERVATION_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
DIAGNOSTIC_SECTION = "http://terminology.hl7.org/CodeSystem/v2-0074"
DICOM_UID = "urn:dicom:uid"


def write_fhir(folder: Path) -> ResultFile:
    """Write ``report.fhir.json`` beside ``measurements.json``, ``sr.dcm`` and ``seg.dcm`` in ``folder``.

    Raises
    ------
    ReportError
        If the results can't be read, the library for FHIR isn't installed, or a resource breaks its rules.
    """
    bundle = build_bundle(folder)
    path = folder / FHIR_FILE
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(bundle, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
    return ResultFile(ResultKind.FHIR, "", "", derive_uid("fhir", str(bundle["id"])), path)


def build_bundle(folder: Path) -> dict[str, Any]:
    """The Bundle of the results in ``folder``, checked against the classes of FHIR R4.

    Raises
    ------
    ReportError
        As :func:`write_fhir`.
    """
    try:
        record = json.loads((folder / MEASUREMENTS_FILE).read_text(encoding="utf-8"))
        report = dcmread(folder / "sr.dcm")
        masks = dcmread(folder / "seg.dcm", stop_before_pixels=True, specific_tags=list(MASK_TAGS))
    except (OSError, ValueError) as error:
        raise ReportError(f"the results in {folder.name} can't be read: {type(error).__name__}") from error
    bundle = _bundle(_Source(report, masks, record))
    _validate(bundle)
    return bundle


MASK_TAGS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription")


class _Source:
    """What the resources are made of, and their ids."""

    def __init__(self, report: Dataset, masks: Dataset, record: dict[str, Any]) -> None:
        self.report, self.masks, self.record = report, masks, record
        self.uid = str(report.SOPInstanceUID)

    def identifier(self, *parts: str) -> str:
        """Id of a resource, a UUID."""
        return str(UUID(int=int(derive_uid("fhir", self.uid, *parts).removeprefix("2.25."))))

    @property
    def subject(self) -> dict[str, Any]:
        """The patient by identifier alone; the server knows the person."""
        value = str(self.report.get("PatientID") or "")
        if not value:
            return {"type": "Patient", "display": "not identified in the images"}
        patient: dict[str, Any] = {"value": value}
        if issuer := str(self.report.get("IssuerOfPatientID") or ""):
            patient["assigner"] = {"display": issuer}
        return {"type": "Patient", "identifier": patient}

    @property
    def date(self) -> str:
        """Date of the content, which is that of the source."""
        day = str(self.report.ContentDate)
        return f"{day[:4]}-{day[4:6]}-{day[6:8]}"


def _bundle(source: _Source) -> dict[str, Any]:
    observations = list(_observations(source))
    resources = [_device(source), _imaging_study(source), *observations]
    resources.append(_diagnostic_report(source, [one["id"] for one in observations]))
    return {
        "resourceType": "Bundle",
        "id": source.identifier("bundle"),
        "type": "transaction",
        "entry": [
            {
                "fullUrl": f"urn:uuid:{one['id']}",
                "resource": one,
                "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"},
            }
            for one in resources
        ],
    }


def _device(source: _Source) -> dict[str, Any]:
    made_by = source.record["provenance"]
    return {
        "resourceType": "Device",
        "id": source.identifier("device"),
        "manufacturer": MANUFACTURER,
        "deviceName": [{"name": MANUFACTURER, "type": "manufacturer-name"}],
        "version": [
            {"value": made_by["software"]},
            {"value": f"{made_by['model']} {made_by['model_version']}"},
            {"value": f"weights_sha256={made_by['weights_sha256']}"},
            {"value": f"config_sha256={made_by['config_sha256']}"},
        ],
        "note": [{"text": RESEARCH_USE}],
    }


def _imaging_study(source: _Source) -> dict[str, Any]:
    report, masks = source.report, source.masks
    series: dict[str, dict[str, Any]] = {}
    for study in report.CurrentRequestedProcedureEvidenceSequence:
        for item in study.ReferencedSeriesSequence:
            instances = [
                (str(i.ReferencedSOPClassUID), str(i.ReferencedSOPInstanceUID))
                for i in item.ReferencedSOPSequence
            ]
            modality = "SEG" if item.SeriesInstanceUID == masks.SeriesInstanceUID else "CT"
            series[str(item.SeriesInstanceUID)] = _series(str(item.SeriesInstanceUID), modality, instances)
    own = (str(report.SOPClassUID), source.uid)
    series[str(report.SeriesInstanceUID)] = _series(str(report.SeriesInstanceUID), "SR", [own])
    return {
        "resourceType": "ImagingStudy",
        "id": source.identifier("study"),
        "identifier": [{"system": DICOM_UID, "value": f"urn:oid:{report.StudyInstanceUID}"}],
        "status": "available",
        "subject": source.subject,
        "numberOfSeries": len(series),
        "numberOfInstances": sum(one["numberOfInstances"] for one in series.values()),
        "series": list(series.values()),
    }


def _series(uid: str, modality: str, instances: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "uid": uid,
        "modality": {"system": SYSTEMS["DCM"], "code": modality},
        "numberOfInstances": len(instances),
        "instance": [
            {"uid": instance, "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{sop_class}"}}
            for sop_class, instance in instances
        ],
    }


def _observations(source: _Source) -> Iterator[dict[str, Any]]:
    """One a lung region: both lungs, each side, each lobe; the numbers are its components."""
    record = source.record
    both = record | {"volume_ml": record["lung_volume_ml"], "mean_hu": record["lung_mean_hu"]}
    yield _observation(source, LUNGS[0], LUNG_QUANTITIES, both)
    for segments, name, quantities in (
        (SIDES, "sides", REGION_QUANTITIES),
        (LOBES, "lobes", LOBE_QUANTITIES),
    ):
        for segment in segments:
            if values := record.get(name, {}).get(segment.key):
                yield _observation(source, segment, quantities, values)


def _observation(
    source: _Source, segment: Segment, quantities: dict[str, Quantity], values: dict[str, Any]
) -> dict[str, Any]:
    components = [
        {"code": _concept(concept), "valueQuantity": _quantity(values[name], unit)}
        for name, (concept, unit, _) in quantities.items()
        if isinstance(values.get(name), int | float) and not isinstance(values.get(name), bool)
    ]
    where = [segment.kind, *([segment.laterality] if segment.laterality else [])]
    return {
        "resourceType": "Observation",
        "id": source.identifier("observation", segment.key),
        "status": "preliminary",
        "category": [{"coding": [{"system": OBSERVATION_CATEGORY, "code": "imaging"}]}],
        "code": _concept(codes.IMAGING_MEASUREMENTS) | {"text": f"Lung opacities, {segment.label.lower()}"},
        "subject": source.subject,
        "effectiveDateTime": source.date,
        "bodySite": {"coding": [_coding(part) for part in where], "text": segment.label},
        "device": {"reference": f"Device/{source.identifier('device')}"},
        "derivedFrom": [{"reference": f"ImagingStudy/{source.identifier('study')}"}],
        "component": components,
    }


def _diagnostic_report(source: _Source, observations: list[str]) -> dict[str, Any]:
    record, quality = source.record, source.record["quality"]
    said = [
        f"GGO {record['ggo_volume_ml']:.1f} mL, consolidation {record['consolidation_volume_ml']:.1f} mL: "
        f"{record['lesion_extent_percent']:.1f} % of the lungs.",
        *(flag_sentence(flag) for flag in quality["flags"]),
        RESEARCH_USE,
    ]
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": source.identifier("report"),
        "identifier": [{"system": DICOM_UID, "value": f"urn:oid:{source.uid}"}],
        "status": "preliminary",
        "category": [{"coding": [{"system": DIAGNOSTIC_SECTION, "code": "RAD"}]}],
        "code": _concept(codes.CT_UNSPECIFIED),
        "subject": source.subject,
        "effectiveDateTime": source.date,
        "result": [{"reference": f"Observation/{one}"} for one in observations],
        "imagingStudy": [{"reference": f"ImagingStudy/{source.identifier('study')}"}],
        "conclusion": " ".join(said),
    }
    if accession := str(source.report.get("AccessionNumber") or ""):
        report["basedOn"] = [{"type": "ServiceRequest", "identifier": {"value": accession}}]
    return report


def _quantity(value: float, unit: Code) -> dict[str, Any]:
    quantity: dict[str, Any] = {"value": value, "system": SYSTEMS["UCUM"], "code": unit.value}
    return quantity | {"unit": unit.meaning}


def _concept(concept: Code) -> dict[str, Any]:
    return {"coding": [_coding(concept)], "text": concept.meaning}


def _coding(concept: Code) -> dict[str, Any]:
    scheme = concept.scheme_designator
    return {"system": SYSTEMS[scheme], "code": concept.value, "display": concept.meaning}


def _validate(bundle: dict[str, Any]) -> None:
    """Every resource is what FHIR R4 allows: names, types, cardinalities."""
    if Bundle is None:
        raise ReportError("FHIR needs the extra: pip install 'dicomnode[fhir]'")
    try:
        Bundle(bundle).as_json()
    except FHIRValidationError as error:
        raise ReportError(f"the FHIR bundle breaks the rules of R4: {error}") from error

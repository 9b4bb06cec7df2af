"""What every result object of ours has in common: series, equipment and instance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicomnode.report import codes
from dicomnode.report.identity import Identity
from dicomnode.report.result_set import DocumentReference, ResultFile, ResultKind
from dicomnode.report.text import ascii_text
from dicomnode.report.uids import derive_uid

MANUFACTURER = "dicomnode"
MODEL_NAME = "dicomnode"
DEVICE_SERIAL_NUMBER = "DICOMNODE-1"
"""Of the product, not of a machine: results are the same wherever they were computed."""

RESEARCH_USE = "For research use only. Not for diagnostic use."
DATE_KEYWORDS_OF_SCAN = ("Study", "Acquisition", "Series", "Content")
"""Which date a scan is compared by: Study Date first, which every object of the study has."""

SERIES_SLOTS = {
    "refusal": 90,
    "seg": 91,
    "sr": 92,
    "sc": 93,
    "refusal page": 94,
    "label map": 95,
    "overlay": 96,
    "pdf": 97,
    "ko": 98,
    "gsps": 99,
}


@dataclass(frozen=True)
class SeriesReference:
    """A series and those of its instances (SOP Class UID, SOP Instance UID) that a result refers to."""

    series_instance_uid: str
    instances: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ObjectUids:
    """UIDs of a new object and its series."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str

    def file(self, kind: ResultKind, path: Path) -> ResultFile:
        """The object as a result that lies at ``path``."""
        return ResultFile(kind, self.sop_class_uid, self.series_instance_uid, self.sop_instance_uid, path)


def object_uids(sop_class_uid: str, kind: str, origin: Sequence[str], *which: str) -> ObjectUids:
    """UIDs that follow from what the object was made of; ``which`` tells those of one series apart."""
    return ObjectUids(
        sop_class_uid, derive_uid("instance", kind, *origin, *which), derive_uid("series", kind, *origin)
    )


def document_uids(
    sop_class_uid: str, kind: str, origin: Sequence[str], predecessor: DocumentReference | None
) -> ObjectUids:
    """UIDs of a report: one that names a predecessor is another object, in the series of its origin."""
    uids = object_uids(sop_class_uid, kind, origin)
    if predecessor is None:
        return uids
    instance = derive_uid(uids.sop_instance_uid, "successor of", predecessor.sop_instance_uid)
    return replace(uids, sop_instance_uid=instance)


def compared_uids(uids: ObjectUids, findings_sha256: str) -> ObjectUids:
    """UIDs of an object that also says what became of the search for earlier results.

    The same scan gets another object, in the same series, when other results were found.
    """
    return replace(uids, sop_instance_uid=derive_uid(uids.sop_instance_uid, "compared", findings_sha256))


def new_object(
    uids: ObjectUids,
    identity: Identity,
    *,
    kind: str,
    modality: str,
    description: str,
    software: Sequence[str],
) -> Dataset:
    """Dataset with the series, equipment and SOP common modules; the identity is written around it.

    ``kind`` (of :data:`SERIES_SLOTS`) places the series behind the source: "seg" of series 3 gives 391.
    """
    dataset = Dataset()
    dataset.SOPClassUID = uids.sop_class_uid
    dataset.SOPInstanceUID = uids.sop_instance_uid
    dataset.SeriesInstanceUID = uids.series_instance_uid
    dataset.Modality = modality
    dataset.SeriesNumber = str(identity.series_number * 100 + SERIES_SLOTS[kind])
    dataset.SeriesDescription = ascii_text(description, 64)
    dataset.SeriesDate = identity.content_date
    dataset.SeriesTime = identity.content_time
    dataset.ContentDate = identity.content_date
    dataset.ContentTime = identity.content_time
    dataset.InstanceNumber = "1"
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MODEL_NAME
    dataset.DeviceSerialNumber = DEVICE_SERIAL_NUMBER
    dataset.SoftwareVersions = [ascii_text(version, 64) for version in software]
    if "Manufacturer" in identity.equipment:
        dataset.ContributingEquipmentSequence = [_acquisition_equipment(identity)]
    return dataset


def _acquisition_equipment(identity: Identity) -> Dataset:
    """Item of the Contributing Equipment Sequence (PS3.3 C.12.1) that names what made the source."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(codes.ACQUISITION_EQUIPMENT)]
    for keyword, value in identity.equipment.items():
        setattr(item, keyword, value)
    return item


def code_item(code: Code) -> Dataset:
    """A code of ours as an item (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def instance_references(instances: Iterable[tuple[str, str]]) -> list[Dataset]:
    """Items of a Referenced SOP or Instance Sequence (PS3.3 table 10-11)."""
    items = []
    for sop_class_uid, sop_instance_uid in instances:
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class_uid
        item.ReferencedSOPInstanceUID = sop_instance_uid
        items.append(item)
    return items


def evidence(study_instance_uid: str, series: Iterable[SeriesReference]) -> list[Dataset]:
    """Value of Current Requested Procedure Evidence Sequence (PS3.3 C.17.2.3); empty without an instance."""
    series_items = []
    for reference in series:
        if reference.instances:
            item = Dataset()
            item.SeriesInstanceUID = reference.series_instance_uid
            item.ReferencedSOPSequence = instance_references(reference.instances)
            series_items.append(item)
    if not series_items:
        return []
    study = Dataset()
    study.StudyInstanceUID = study_instance_uid
    study.ReferencedSeriesSequence = series_items
    return [study]


def predecessor_documents(predecessor: DocumentReference) -> list[Dataset]:
    """Value of Predecessor Documents Sequence (PS3.3 C.17.2): the report that this one replaces."""
    document = (predecessor.sop_class_uid, predecessor.sop_instance_uid)
    return evidence(
        predecessor.study_instance_uid, [SeriesReference(predecessor.series_instance_uid, (document,))]
    )

"""Short forms of SR content items; containers are SEPARATE, so that viewers print every name."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import DS

from dicomnode.report import codes
from dicomnode.report.content_item import ContentItem, encode_code
from dicomnode.report.encoding import encode_element, encode_sequence
from dicomnode.report.header import (
    DEVICE_SERIAL_NUMBER,
    MANUFACTURER,
    MODEL_NAME,
    ObjectUids,
    predecessor_documents,
)
from dicomnode.report.identity import Identity
from dicomnode.report.language import Language
from dicomnode.report.part10 import write_part10
from dicomnode.report.result_set import DocumentReference
from dicomnode.report.text import ascii_text
from dicomnode.report.uids import DEVICE_OBSERVER_UID

CONTAINS = "CONTAINS"
MODIFIER = "HAS CONCEPT MOD"
CONTEXT = "HAS OBS CONTEXT"
PROPERTY = "HAS PROPERTIES"

REFERENCED_CLASS, REFERENCED_INSTANCE, REFERENCED_SOP = 0x00081150, 0x00081155, 0x00081199
CONTINUITY, DATE, UID = 0x0040A050, 0x0040A121, 0x0040A124
MEASUREMENT_UNITS, FLOATING_POINT_VALUE = 0x004008EA, 0x0040A161
MEASURED_VALUE, NUMERIC_VALUE = 0x0040A300, 0x0040A30A
CONTENT_TEMPLATE, MAPPING_RESOURCE, TEMPLATE_IDENTIFIER = 0x0040A504, 0x00080105, 0x0040DB00
REFERENCED_SEGMENT_NUMBER = 0x0062000B


def container(
    name: Code,
    items: Iterable[ContentItem],
    template: str | None = None,
    relationship: str | None = CONTAINS,
) -> ContentItem:
    """CONTAINER of separate items; ``template`` is a TID of the DCMR."""
    encoded = {CONTINUITY: encode_element(CONTINUITY, "CS", b"SEPARATE")}
    if template is not None:
        mapped = encode_element(MAPPING_RESOURCE, "CS", b"DCMR")
        mapped += encode_element(TEMPLATE_IDENTIFIER, "CS", template.encode("ascii"))
        encoded[CONTENT_TEMPLATE] = encode_sequence(CONTENT_TEMPLATE, [mapped])
    return ContentItem("CONTAINER", name, relationship, encoded=encoded, children=tuple(items))


def code(name: Code, value: Code, relationship: str = CONTAINS, *modifiers: ContentItem) -> ContentItem:
    """CODE item, with concept modifiers below it."""
    return ContentItem("CODE", name, relationship, concept=value, children=modifiers)


def text(name: Code, value: str, relationship: str = CONTAINS) -> ContentItem:
    """TEXT item in ASCII."""
    return ContentItem("TEXT", name, relationship, text=ascii_text(value))


def uid(name: Code, value: str, relationship: str = CONTAINS) -> ContentItem:
    """UIDREF item."""
    encoded = encode_element(UID, "UI", value.encode("ascii"))
    return ContentItem("UIDREF", name, relationship, encoded={UID: encoded})


def day(name: Code, value: date) -> ContentItem:
    """DATE item."""
    encoded = encode_element(DATE, "DA", f"{value:%Y%m%d}".encode("ascii"))
    return ContentItem("DATE", name, CONTAINS, encoded={DATE: encoded})


def number(name: Code, value: float, unit: Code, *modifiers: ContentItem) -> ContentItem:
    """NUM item, with concept modifiers below it; a count keeps no decimal point."""
    return ContentItem("NUM", name, CONTAINS, encoded=_measured(value, unit), children=modifiers)


def bound(name: Code, value: float, unit: Code) -> ContentItem:
    """NUM item below a measurement: how far its true value may lie beside it (TID 310 of PS3.16)."""
    return ContentItem("NUM", name, PROPERTY, encoded=_measured(value, unit))


def composite(name: Code, sop_class_uid: str, sop_instance_uid: str) -> ContentItem:
    """COMPOSITE item that points at an object that is no image."""
    return ContentItem("COMPOSITE", name, CONTAINS, encoded=_referenced(sop_class_uid, sop_instance_uid))


def image(sop_class_uid: str, sop_instance_uid: str) -> ContentItem:
    """IMAGE item without a name."""
    return ContentItem("IMAGE", None, CONTAINS, encoded=_referenced(sop_class_uid, sop_instance_uid))


def segment_reference(seg: ObjectUids, segment_number: int) -> ContentItem:
    """IMAGE item that points at one segment of a SEG."""
    segment = encode_element(REFERENCED_SEGMENT_NUMBER, "US", struct.pack("<H", segment_number))
    reference = _referenced(seg.sop_class_uid, seg.sop_instance_uid, segment)
    return ContentItem("IMAGE", codes.REFERENCED_SEGMENT, CONTAINS, encoded=reference)


def _measured(value: float, unit: Code) -> dict[int, bytes]:
    """Measured Value Sequence: as a decimal string, a fraction also as a floating point number."""
    of_unit = [encode_code(unit.value, unit.scheme_designator, unit.meaning)]
    is_count = isinstance(value, int)
    printed = str(value) if is_count else str(DS(value, auto_format=True))
    exact = b"" if is_count else encode_element(FLOATING_POINT_VALUE, "FD", struct.pack("<d", value))
    item = (
        encode_sequence(MEASUREMENT_UNITS, of_unit)
        + exact
        + encode_element(NUMERIC_VALUE, "DS", printed.encode("ascii"))
    )
    return {MEASURED_VALUE: encode_sequence(MEASURED_VALUE, [item])}


def _referenced(sop_class_uid: str, sop_instance_uid: str, further: bytes = b"") -> dict[int, bytes]:
    reference = encode_element(REFERENCED_CLASS, "UI", sop_class_uid.encode("ascii"))
    reference += encode_element(REFERENCED_INSTANCE, "UI", sop_instance_uid.encode("ascii"))
    return {REFERENCED_SOP: encode_sequence(REFERENCED_SOP, [reference + further])}


def language_and_observer() -> list[ContentItem]:
    """Language (TID 1204) and the device as the observer (TID 1001)."""
    return [
        code(codes.LANGUAGE, codes.ENGLISH, MODIFIER),
        code(codes.OBSERVER_TYPE, codes.DEVICE, CONTEXT),
        uid(codes.DEVICE_UID, DEVICE_OBSERVER_UID, CONTEXT),
        text(codes.DEVICE_NAME, MODEL_NAME, CONTEXT),
        text(codes.DEVICE_MANUFACTURER, MANUFACTURER, CONTEXT),
        text(codes.DEVICE_MODEL, MODEL_NAME, CONTEXT),
        text(codes.DEVICE_SERIAL, DEVICE_SERIAL_NUMBER, CONTEXT),
    ]


def complete_document(
    dataset: Dataset, evidence: Sequence[Dataset], predecessor: DocumentReference | None = None
) -> None:
    """Add the SR document modules (PS3.3 C.17.1 and C.17.2) to a new object."""
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CodingSchemeIdentificationSequence = [codes.private_scheme_identification()]
    if evidence:
        dataset.CurrentRequestedProcedureEvidenceSequence = list(evidence)
    if predecessor:
        dataset.PredecessorDocumentsSequence = predecessor_documents(predecessor)


def write_document(
    path: Path, dataset: Dataset, root: ContentItem, identity: Identity, words: Language | None = None
) -> None:
    """Write a document with its tree, in ``words`` where there are any: ``identity`` is then in UTF-8."""
    write_part10(path, dataset, {**identity.elements, **root.elements(words)})

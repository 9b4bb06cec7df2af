"""Short forms of SR content items; containers are SEPARATE, so that viewers print every name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    TextContentItem,
    UIDRefContentItem,
)
from highdicom.sr.value_types import ContentItem
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicomnode.report import codes
from dicomnode.report.header import (
    DEVICE_SERIAL_NUMBER,
    MANUFACTURER,
    MODEL_NAME,
    ObjectUids,
    predecessor_documents,
)
from dicomnode.report.result_set import DocumentReference
from dicomnode.report.text import ascii_text
from dicomnode.report.uids import DEVICE_OBSERVER_UID

CONTAINS = "CONTAINS"
MODIFIER = "HAS CONCEPT MOD"
CONTEXT = "HAS OBS CONTEXT"
PROPERTY = "HAS PROPERTIES"


def container(
    name: Code,
    items: Iterable[ContentItem],
    template: str | None = None,
    relationship: str | None = CONTAINS,
) -> ContainerContentItem:
    """CONTAINER of separate items; ``template`` is a TID of the DCMR."""
    node = ContainerContentItem(
        name, is_content_continuous=False, template_id=template, relationship_type=relationship
    )
    node.ContentSequence = ContentSequence(list(items))
    return node


def code(name: Code, value: Code, relationship: str = CONTAINS, *modifiers: ContentItem) -> CodeContentItem:
    """CODE item, with concept modifiers below it."""
    item = CodeContentItem(name, value, relationship)
    if modifiers:
        item.ContentSequence = ContentSequence(list(modifiers))
    return item


def text(name: Code, value: str, relationship: str = CONTAINS) -> TextContentItem:
    """TEXT item in ASCII."""
    return TextContentItem(name, ascii_text(value), relationship)


def uid(name: Code, value: str, relationship: str = CONTAINS) -> UIDRefContentItem:
    """UIDREF item."""
    return UIDRefContentItem(name, value, relationship)


def number(name: Code, value: float, unit: Code, *modifiers: ContentItem) -> NumContentItem:
    """NUM item, with concept modifiers below it; a count keeps no decimal point."""
    item = NumContentItem(name, value, unit, relationship_type=CONTAINS)
    if isinstance(value, int):
        item.MeasuredValueSequence[0].NumericValue = str(value)
    if modifiers:
        item.ContentSequence = ContentSequence(list(modifiers))
    return item


def bound(name: Code, value: float, unit: Code) -> NumContentItem:
    """NUM item below a measurement: how far its true value may lie beside it (TID 310 of PS3.16)."""
    return NumContentItem(name, value, unit, relationship_type=PROPERTY)


def segment_reference(seg: ObjectUids, segment_number: int) -> ImageContentItem:
    """IMAGE item that points at one segment of a SEG."""
    return ImageContentItem(
        codes.REFERENCED_SEGMENT,
        seg.sop_class_uid,
        seg.sop_instance_uid,
        referenced_segment_numbers=segment_number,
        relationship_type=CONTAINS,
    )


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
    dataset: Dataset,
    root: ContainerContentItem,
    evidence: Sequence[Dataset],
    predecessor: DocumentReference | None = None,
) -> None:
    """Add the SR document modules (PS3.3 C.17.1 to C.17.3) and the tree to a new object."""
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CodingSchemeIdentificationSequence = [codes.private_scheme_identification()]
    if evidence:
        dataset.CurrentRequestedProcedureEvidenceSequence = list(evidence)
    if predecessor:
        dataset.PredecessorDocumentsSequence = predecessor_documents(predecessor)
    for element in root:
        if element.keyword != "RelationshipType":
            dataset.add(element)

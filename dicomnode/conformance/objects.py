"""Tables of the result objects' content, read from objects that the node's own code has made.

An attribute that has the same value in objects of two unlike series is a constant of the node, and its value
is printed; for any other the table :data:`ORIGIN` says where the value comes from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from pydicom.datadict import dictionary_description, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicomnode.conformance.markdown import code, table
from dicomnode.report.identity import IDENTITY_KEYWORDS, TYPE_2_KEYWORDS

_LONGEST_VALUE = 80

ORIGIN = {
    "SOPInstanceUID": "derived from source, input, model, weights, configuration and software (UUID-5); "
    "of SR, picture and PDF also from the earlier results that were found",
    "SeriesInstanceUID": "derived like the SOP Instance UID, without earlier results",
    "SeriesDate": "Content, Acquisition, Series or Study Date of the source, the first that is valid",
    "SeriesTime": "the time that belongs to it",
    "ContentDate": "as Series Date",
    "ContentTime": "as Series Time",
    "SeriesNumber": "Series Number of the source times 100, and a number for the kind of object",
    "SeriesDescription": "what the object is; of a refusal with its reason code",
    "SoftwareVersions": "software and its version; of a measured series the model and its version too",
    "ContributingEquipmentSequence": "maker, model, serial number and software of what made the source",
    "FrameOfReferenceUID": "that of the source",
    "ReferencedSeriesSequence": "the source series and all its instances that were measured",
    "DimensionOrganizationSequence": "one UID, derived",
    "DimensionIndexSequence": "Segment Number, Image Position (Patient)",
    "NumberOfFrames": "SEG: one for each segment and slice with voxels; overlay: one a slice with lung",
    "Rows": "SEG and overlay: that of the source; picture: of the page",
    "Columns": "SEG and overlay: that of the source; picture: of the page",
    "LossyImageCompression": "01 if the source says 01, else 00",
    "LossyImageCompressionRatio": "of the source, where it is lossy",
    "LossyImageCompressionMethod": "of the source, where it is lossy",
    "SegmentSequence": "one item a segment, see below",
    "SharedFunctionalGroupsSequence": "orientation, Pixel Spacing, Slice Thickness, Spacing Between Slices",
    "PerFrameFunctionalGroupsSequence": "plane position; SEG: derivation image, frame content, segment too",
    "PixelData": "SEG: one bit a voxel, frames one after the other; picture: RGB, uncompressed; overlay: RGB",
    "InstanceNumber": "from 1, from head to feet",
    "ImagePositionPatient": "that of the slice",
    "ImageOrientationPatient": "that of the source",
    "PixelSpacing": "that of the source",
    "SliceThickness": "that of the source",
    "SliceLocation": "place of the slice along the normal of the slices",
    "SliceLocationVector": "place of each slice along their normal",
    "SourceInstanceSequence": "the source images",
    "EncapsulatedDocument": "the PDF",
    "EncapsulatedDocumentLength": "its length",
    "RescaleIntercept": "that of the key slices",
    "RescaleSlope": "that of the key slices",
    "PresentationCreationDate": "as Series Date of the other objects",
    "PresentationCreationTime": "as Series Time of the other objects",
    "DisplayedAreaSelectionSequence": "the whole image, scaled to fit",
    "SoftcopyVOILUTSequence": "the lung window, -600 / 1500",
    "GraphicAnnotationSequence": "an item for each key slice and kind of lesion: polylines in PIXEL units",
    "GraphicLayerSequence": "GGO, CONSOLIDATION, EFFUSION with their colours, those that are there",
    "ReferencedPerformedProcedureStepSequence": "empty",
    "PerformedProcedureCodeSequence": "empty",
    "CodingSchemeIdentificationSequence": "the private coding scheme",
    "CurrentRequestedProcedureEvidenceSequence": "the instances that the report refers to",
    "PertinentOtherEvidenceSequence": "the earlier reports that the measurements are compared with",
    "PredecessorDocumentsSequence": "the report that this one replaces, where there is one",
    "ConceptNameCodeSequence": "title of the report or selection, see below; empty in a PDF",
    "ContentTemplateSequence": "TID 1500 of the DCMR; of key objects TID 2010",
    "ContentSequence": "see below",
    "DerivationDescription": "what the page shows",
    "SourceImageSequence": "the source images that the page or slice is about",
    "BodyPartExamined": "CHEST on an overview; absent on a page about a refusal",
    "Laterality": "empty, on a page about a refusal",
}


def identity() -> str:
    """Attributes that every result copies from its source."""
    rows = []
    for keyword in IDENTITY_KEYWORDS:
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        when = "always" if keyword in (*TYPE_2_KEYWORDS, "StudyInstanceUID") else "where the source has it"
        rows.append((dictionary_description(tag), _tag(tag), dictionary_VR(tag), when))
    return table(("attribute", "tag", "VR", "present"), rows)


def attributes(objects: Sequence[Dataset]) -> str:
    """Attributes of objects of one SOP class by module, without those of :func:`identity`."""
    (sop_class,) = {str(dataset.SOPClassUID) for dataset in objects}
    modules = _modules(sop_class)
    assert not any(tag.is_private for dataset in objects for tag in dataset.keys()), "a private attribute"  # noqa: SIM118
    rows: list[tuple[int, tuple[str, ...]]] = []
    for tag in sorted({int(element.tag) for dataset in objects for element in dataset}):
        keyword = keyword_for_tag(tag)
        if keyword not in IDENTITY_KEYWORDS:
            place, module = modules.get(keyword, (len(modules), "not in the standard IOD"))
            elements = [dataset[tag] for dataset in objects if tag in dataset]
            always = len(elements) == len(objects)
            cells = (
                dictionary_description(tag),
                _tag(tag),
                elements[0].VR,
                _value(keyword, elements, always),
            )
            rows.append((place, (module, *cells)))
    rows.sort(key=lambda row: row[0])
    return table(("module", "attribute", "tag", "VR", "value"), [cells for _, cells in rows])


def content_tree(documents: Sequence[Dataset]) -> str:
    """The content items of reports of one kind, each once; deeper items have more marks."""
    found: dict[tuple[str, ...], tuple[list[str], dict[str, None]]] = {}
    for document in documents:
        _walk(document, (), found)
    rows = [("&gt;" * (len(path) - 1), *cells, ", ".join(values)) for path, (cells, values) in found.items()]
    return table(("level", "relationship", "type", "concept name", "values"), rows)


def segments(segmentations: Sequence[Dataset]) -> str:
    """All segments that can be in a SEG."""
    rows: dict[str, tuple[str, ...]] = {}
    for item in (item for dataset in segmentations for item in dataset.SegmentSequence):
        kind = item.SegmentedPropertyTypeCodeSequence[0]
        modifiers = kind.get("SegmentedPropertyTypeModifierCodeSequence", [])
        regions = item.get("AnatomicRegionSequence", [])
        rows[item.SegmentLabel] = (
            _concept(item.SegmentedPropertyCategoryCodeSequence[0]),
            _concept(kind),
            ", ".join(map(_concept, modifiers)),
            ", ".join(map(_concept, regions)),
            str(item.SegmentAlgorithmType),
        )
    head = ("label", "category", "type", "modifier", "anatomic region", "algorithm type")
    return table(head, [(label, *cells) for label, cells in rows.items()])


def sop_class(objects: Sequence[Dataset]) -> str:
    """Name and UID."""
    uid = UID(objects[0].SOPClassUID)
    return f"{uid.name} ({uid})"


def _value(keyword: str, elements: Sequence[DataElement], always: bool) -> str:
    may_be_constant = elements[0].VR != "SQ" and keyword != "ImageOrientationPatient"
    first = str(elements[0].value)
    if may_be_constant and always and all(str(element.value) == first for element in elements):
        assert len(first) <= _LONGEST_VALUE, keyword
        return code(first) or "empty"
    return ORIGIN[keyword]


def _walk(
    item: Dataset, path: tuple[str, ...], found: dict[tuple[str, ...], tuple[list[str], dict[str, None]]]
) -> None:
    concept = _concept(item.ConceptNameCodeSequence[0])
    relationship = str(item.get("RelationshipType", ""))
    path = (*path, f"{relationship} {concept}")
    template = item.get("ContentTemplateSequence")
    kind = str(item.ValueType) + (f", TID {template[0].TemplateIdentifier}" if template else "")
    _, values = found.setdefault(path, ([relationship, kind, concept], {}))
    if item.ValueType == "CODE":
        values[_concept(item.ConceptCodeSequence[0])] = None
    elif item.ValueType == "NUM" and item.MeasuredValueSequence:
        values[str(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue)] = None
    for child in item.get("ContentSequence", []):
        _walk(child, path, found)


def _concept(item: Dataset) -> str:
    return f"{item.CodeMeaning} ({item.CodeValue}, {item.CodingSchemeDesignator})"


def _modules(sop_class_uid: str) -> dict[str, tuple[int, str]]:
    """Keyword to the place and name of the module that the IOD has it in."""
    iod = _standard("sop_class_iod_map")[sop_class_uid]
    found: dict[str, tuple[int, str]] = {}
    for place, module in enumerate(_standard("iod_module_map")[iod]):
        name = module["key"].replace("-", " ")
        for attribute in _standard("module_attribute_map").get(module["key"], ()):
            if not attribute["path"]:
                found.setdefault(attribute["keyword"], (place, f"{name} ({module['usage']})"))
    return found


@cache
def _standard(name: str) -> Any:
    """Tables of PS3.3 that highdicom brings along."""
    text = (resources.files("highdicom") / "_standard" / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(text)


def _tag(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"

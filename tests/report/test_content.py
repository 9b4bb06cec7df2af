"""Our content items against highdicom's."""

from __future__ import annotations

from datetime import date

import highdicom.sr as hd
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from dicomnode.report import codes
from dicomnode.report.content import (
    CONTAINS,
    CONTEXT,
    MODIFIER,
    PROPERTY,
    bound,
    code,
    composite,
    container,
    day,
    image,
    number,
    segment_reference,
    text,
    uid,
)
from dicomnode.report.content_item import ContentItem
from dicomnode.report.encoding import encode_dataset
from dicomnode.report.header import ObjectUids

SEG = ObjectUids("1.2.840.10008.5.1.4.1.1.66.4", generate_uid(), generate_uid())
OBJECT = ("1.2.840.10008.5.1.4.1.1.88.34", generate_uid())
LONG = Code("882784691000119100", "SCT", "Pneumonia caused by SARS-CoV-2")


def below(parent: hd.value_types.ContentItem, *children: hd.value_types.ContentItem) -> Dataset:
    parent.ContentSequence = hd.ContentSequence(children)
    return parent


def nameless(item: Dataset) -> Dataset:
    del item.ConceptNameCodeSequence
    return item


def without_point(item: Dataset) -> Dataset:
    """A count as people write it; highdicom makes it 5.0."""
    measured = item.MeasuredValueSequence[0]
    measured.NumericValue = str(int(measured.NumericValue))
    return item


MODIFIED = hd.CodeContentItem(codes.DERIVATION, codes.MEAN, MODIFIER)
ITEMS: dict[str, tuple[ContentItem, Dataset]] = {
    "code": (code(codes.FINDING, codes.LUNG), hd.CodeContentItem(codes.FINDING, codes.LUNG, CONTAINS)),
    "long code": (code(codes.FINDING, LONG), hd.CodeContentItem(codes.FINDING, LONG, CONTAINS)),
    "code with a modifier": (
        code(codes.FINDING_SITE, codes.LUNG, MODIFIER, code(codes.DERIVATION, codes.MEAN, MODIFIER)),
        below(hd.CodeContentItem(codes.FINDING_SITE, codes.LUNG, MODIFIER), MODIFIED),
    ),
    "text": (
        text(codes.EXPLANATION, "odd", CONTEXT),
        hd.TextContentItem(codes.EXPLANATION, "odd", CONTEXT),
    ),
    "uid": (
        uid(codes.SOURCE_SERIES, OBJECT[1]),
        hd.UIDRefContentItem(codes.SOURCE_SERIES, OBJECT[1], CONTAINS),
    ),
    "date": (
        day(codes.STUDY_DATE, date(2024, 2, 29)),
        hd.DateContentItem(codes.STUDY_DATE, date(2024, 2, 29), CONTAINS),
    ),
    "number": (
        number(codes.VOLUME, 1234.567, codes.MILLILITER, code(codes.DERIVATION, codes.MEAN, MODIFIER)),
        below(hd.NumContentItem(codes.VOLUME, 1234.567, codes.MILLILITER, None, CONTAINS), MODIFIED),
    ),
    "number of many digits": (
        number(codes.VOLUME, -1 / 30000, codes.MILLILITER),
        hd.NumContentItem(codes.VOLUME, -1 / 30000, codes.MILLILITER, None, CONTAINS),
    ),
    "count": (
        number(codes.INVOLVED_LOBES, 5, codes.range_unit(5)),
        without_point(hd.NumContentItem(codes.INVOLVED_LOBES, 5, codes.range_unit(5), None, CONTAINS)),
    ),
    "bound": (
        bound(codes.UPPER_UNCERTAINTY, 0.0, codes.PERCENT),
        hd.NumContentItem(codes.UPPER_UNCERTAINTY, 0.0, codes.PERCENT, None, PROPERTY),
    ),
    "composite": (
        composite(codes.EARLIER_RESULT, *OBJECT),
        hd.CompositeContentItem(codes.EARLIER_RESULT, *OBJECT, CONTAINS),
    ),
    "image": (
        image("1.2.840.10008.5.1.4.1.1.2", OBJECT[1]),
        nameless(
            hd.ImageContentItem(
                codes.SOURCE_IMAGE, "1.2.840.10008.5.1.4.1.1.2", OBJECT[1], relationship_type=CONTAINS
            )
        ),
    ),
    "segment": (
        segment_reference(SEG, 3),
        hd.ImageContentItem(
            codes.REFERENCED_SEGMENT,
            SEG.sop_class_uid,
            SEG.sop_instance_uid,
            referenced_segment_numbers=3,
            relationship_type=CONTAINS,
        ),
    ),
    "container": (
        container(codes.MEASUREMENT_GROUP, [text(codes.EXPLANATION, "one")], "1411"),
        below(
            hd.ContainerContentItem(codes.MEASUREMENT_GROUP, False, "1411", CONTAINS),
            hd.TextContentItem(codes.EXPLANATION, "one", CONTAINS),
        ),
    ),
    "root": (
        container(codes.IMAGING_MEASUREMENT_REPORT, [], "1500", None),
        hd.ContainerContentItem(codes.IMAGING_MEASUREMENT_REPORT, False, "1500"),
    ),
}


@pytest.mark.parametrize("name", ITEMS)
def test_an_item_is_highdicoms(name: str) -> None:
    ours, theirs = ITEMS[name]
    assert ours.encode(None) == encode_dataset(theirs)

"""The comparison with earlier results as a container of the SR, beside those of TID 1500."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicomnode.measure.course import Change, Course
from dicomnode.report import codes
from dicomnode.report.content import bound, composite, container, day, number, text
from dicomnode.report.content_item import ContentItem
from dicomnode.report.header import SeriesReference, evidence
from dicomnode.report.prior_text import change_sentence, doubt_sentences, search_sentences
from dicomnode.report.text import printed


def comparison(course: Course) -> ContentItem:
    """What was looked for, and for each earlier study the change since it."""
    scan = course.findings.scan
    onset = [] if scan is None or scan.onset_day is None else [scan.onset_day]
    return container(
        codes.COMPARISON,
        [
            *(text(codes.COMPARISON_REMARK, sentence) for sentence in search_sentences(course)),
            *(number(codes.DAYS_SINCE_ONSET, onset_day, codes.DAY) for onset_day in onset),
            *(_earlier(change) for change in course.changes),
        ],
    )


def earlier_reports(course: Course) -> list[Dataset]:
    """Value of Pertinent Other Evidence Sequence (PS3.3 C.17.2.3): the reports that are compared with."""
    items = []
    for change in course.changes:
        result = change.earlier
        document = ((result.sop_class_uid, result.report_uid),)
        reference = SeriesReference(result.report_series_uid, document)
        items += evidence(result.scan.study_instance_uid, [reference])
    return items


def _earlier(change: Change) -> ContentItem:
    result = change.earlier
    numbers: list[ContentItem] = []
    for values, table in ((change.difference, codes.CHANGES), (change.per_day, codes.CHANGES_PER_DAY)):
        for name, value in values.items():
            concept, unit = table[name]
            ranges = _ranges(name, change, unit) if table is codes.CHANGES else []
            numbers.append(number(concept, _rounded(name, value), unit, *ranges))
    return container(
        codes.EARLIER_RESULT,
        [
            text(codes.COMPARISON_REMARK, change_sentence(change)),
            day(codes.STUDY_DATE, result.scan.study_date),
            composite(codes.EARLIER_RESULT, result.sop_class_uid, result.report_uid),
            number(codes.DAYS_BETWEEN, change.days, codes.DAY),
            *numbers,
            *(text(codes.COMPARISON_DOUBT, sentence) for sentence in doubt_sentences(change)),
        ],
    )


def _ranges(name: str, change: Change, unit: Code) -> list[ContentItem]:
    """By how much the true change may be larger and smaller (TID 310)."""
    if name not in change.bounds:
        return []
    (low, high), value = change.bounds[name], change.difference[name]
    return [
        bound(codes.UPPER_UNCERTAINTY, printed(name, high - value), unit),
        bound(codes.LOWER_UNCERTAINTY, printed(name, value - low), unit),
    ]


def _rounded(name: str, value: float) -> float:
    return printed(name, value) if isinstance(value, float) else value

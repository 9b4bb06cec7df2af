"""The comparison with earlier results in words."""

from __future__ import annotations

from dicomnode.measure.course import Change, Course
from dicomnode.measure.priors import Doubt, SearchRemark
from dicomnode.report.quality_text import flag_sentence

REMARKS = {
    SearchRemark.NO_IDENTIFIER: "Not asked: the source has no identifier to tell its patient by.",
    SearchRemark.NO_DATE: "Not asked: the source has no valid date.",
    SearchRemark.PATIENT_MISMATCH: "NOT COMPARED: an earlier result under the same identifiers has another "
    "birth date or sex. Check whose scans these are.",
    SearchRemark.BIRTH_DATE_UNKNOWN: "The birth date is missing here or there: that it is the same patient "
    "rests on the identifiers alone.",
    SearchRemark.OTHER_IDENTIFIERS: "Results that share only some of the identifiers were left out.",
    SearchRemark.OTHER_REPORTS: "Structured reports of others were left out.",
    SearchRemark.UNREADABLE_REPORTS: "An earlier report of this product could not be read and was left out.",
    SearchRemark.TOO_OLD: "Older results than the configuration asks for were left out.",
    SearchRemark.TOO_MANY: "There are more earlier studies than the configuration asks for: the newest were "
    "taken.",
    SearchRemark.SAME_TIME: "Results of other studies of the same day were left out: which one came first "
    "isn't known.",
    SearchRemark.LEDGER_FAILED: "The node's ledger could not be read: earlier results may be missing.",
    SearchRemark.PACS_FAILED: "The PACS could not be asked: earlier results may be missing.",
    SearchRemark.PACS_SILENT: "The PACS did not answer in time: earlier results may be missing.",
    SearchRemark.PACS_INCOMPLETE: "The PACS did not send every earlier report: results may be missing.",
    SearchRemark.NOT_ASKED: "The search failed: earlier results were not looked for.",
}

DOUBTS = {
    Doubt.OTHER_MODEL: "another model measured then: the change may be the model's",
    Doubt.OTHER_WEIGHTS: "the model had other weights then: the change may be the model's",
    Doubt.OTHER_SOFTWARE: "another version of the software measured then",
    Doubt.OTHER_CONFIGURATION: "thresholds, models of lungs and lobes or the configuration were others then: "
    "the change may be theirs",
    Doubt.OTHER_KERNEL: "the reconstruction kernel is another one: the change may be its",
    Doubt.FLAGS_THEN: "the earlier result had quality flags",
    Doubt.CORRECTED_BY_HAND: "a person had corrected the earlier masks",
    Doubt.WITHIN_ERROR: "the change of the lesion extent is within the error of the two measurements",
}

ALARMING = frozenset({SearchRemark.PATIENT_MISMATCH})

PLACES = {"ledger": "the node's ledger", "pacs": "the PACS", "folder": "the folder"}


def search_sentences(course: Course) -> list[str]:
    """What the search found, where it was made, and what to know of it."""
    findings = course.findings
    places = " and ".join(PLACES.get(place, place) for place in findings.asked)
    said = [REMARKS[remark] for remark in findings.remarks]
    if not findings.asked:
        return said
    count = len(course.changes)
    found = f"{count} earlier {'study' if count == 1 else 'studies'}" if count else "no earlier result"
    return [f"Asked {places}: {found} to compare with.", *said]


def change_sentence(change: Change) -> str:
    """Which earlier result it is."""
    maker, scan = change.earlier.maker, change.earlier.scan
    days = "the same day" if change.days == 0 else f"{change.days} day{'s'[: change.days != 1]} earlier"
    kernel = f", kernel {scan.kernel}" if scan.kernel else ""
    return (
        f"Scan of {scan.study_date.isoformat()}, {days}{kernel}, by {maker.software} with {maker.model} "
        f"{maker.model_version}, from {PLACES.get(change.earlier.found_in, change.earlier.found_in)}"
    )


def doubt_sentences(change: Change) -> list[str]:
    """Why the change may be none of the disease's."""
    said = [_sentence(DOUBTS[doubt]) for doubt in change.doubts]
    return [*said, *(f"Then: {flag_sentence(flag)}" for flag in change.earlier.flags)]


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."

"""Which of the results that were found are earlier ones of the same patient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dicomnode.measure.priors import EarlierResult, Findings, Scan, SearchRemark
from dicomnode.priors.patient import Sameness, compare_patients


@dataclass(frozen=True)
class Candidate:
    """A result with the marks of its patient."""

    marks: Mapping[str, str]
    result: EarlierResult


class Limits(Protocol):
    """Which results are wanted; the section ``[priors]`` is one."""

    @property
    def identifiers(self) -> Sequence[str]:
        """Keywords that must be equal."""

    @property
    def maximum(self) -> int:
        """Most studies."""

    @property
    def maximum_days(self) -> int:
        """Greatest age."""


def sift(
    scan: Scan,
    marks: Mapping[str, str],
    candidates: Iterable[Candidate],
    limits: Limits,
    asked: Sequence[str],
    remarks: Iterable[SearchRemark] = (),
) -> Findings:
    """Take those of the same patient that are earlier, and say what else there was.

    If birth date or sex of one of them contradict there are none at all: whose scans these are is then a
    question for a person.
    """
    said = list(remarks)
    kept: dict[str, EarlierResult] = {}
    for candidate in candidates:
        result = candidate.result
        if result.scan.study_instance_uid == scan.study_instance_uid:
            continue
        sameness = compare_patients(marks, candidate.marks, limits.identifiers)
        if sameness is Sameness.OTHER:
            said.append(SearchRemark.OTHER_IDENTIFIERS)
        elif sameness is Sameness.CONTRADICTED:
            said.append(SearchRemark.PATIENT_MISMATCH)
        elif (remark := _why_not(result.scan, scan, limits)) is not None:
            said += remark
        else:
            kept.setdefault(result.report_uid, result)
            if sameness is Sameness.UNCONFIRMED:
                said.append(SearchRemark.BIRTH_DATE_UNKNOWN)
    if SearchRemark.PATIENT_MISMATCH in said:
        kept = {}
    newest = _newest_studies(kept.values(), limits.maximum)
    if len(newest) < len(kept):
        said.append(SearchRemark.TOO_MANY)
    told = tuple(remark for remark in SearchRemark if remark in said)
    return Findings(scan, tuple(asked), tuple(newest), told)


def _why_not(then: Scan, now: Scan, limits: Limits) -> list[SearchRemark] | None:
    """Remarks on a scan that isn't compared; None for one that is."""
    if not then.is_before(now):
        same_day = then.study_date == now.study_date and not now.is_before(then)
        return [SearchRemark.SAME_TIME] if same_day else []
    if (now.study_date - then.study_date).days > limits.maximum_days:
        return [SearchRemark.TOO_OLD]
    return None


def _newest_studies(results: Iterable[EarlierResult], maximum: int) -> list[EarlierResult]:
    """All results of the newest studies, the oldest first."""
    ordered = sorted(results, key=_order)
    studies = list(dict.fromkeys(result.scan.study_instance_uid for result in reversed(ordered)))
    return [result for result in ordered if result.scan.study_instance_uid in studies[:maximum]]


def _order(result: EarlierResult) -> tuple[str, str, str, str]:
    scan = result.scan
    return scan.study_date.isoformat(), scan.study_time, scan.study_instance_uid, result.report_uid

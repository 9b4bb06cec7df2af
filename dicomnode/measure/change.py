"""Change since earlier results: which of a study's is compared, and what may be wrong with the comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Any

from dicomnode.measure.course import Change, Course
from dicomnode.measure.priors import COMPARED, Doubt, EarlierResult, Findings, Maker, Scan, SearchRemark


def compare(record: Mapping[str, object], maker: Maker, findings: Findings) -> Course:
    """Compare a result with the earlier ones that were found, one of each study.

    Parameters
    ----------
    record:
        The result's measurements under the contract's names, as they are printed: a difference is that of
        the numbers that a reader sees.
    maker:
        What made the result.
    """
    values = MappingProxyType(compared_values(record))
    scan = findings.scan
    if scan is None or SearchRemark.PATIENT_MISMATCH in findings.remarks:
        return Course(findings, values)
    chosen = [choose(results, scan, maker) for results in _by_study(findings.results)]
    ordered = sorted(chosen, key=lambda result: (result.scan.study_date, result.scan.study_time))
    now = _Now(scan, maker, values, bounds_in(record))
    return Course(findings, values, tuple(_change(result, now) for result in ordered))


def compared_values(record: Mapping[str, object]) -> dict[str, float]:
    """Those of :data:`~dicomnode.measure.priors.COMPARED` that a record has."""
    found = ((name, record.get(name)) for name in COMPARED)
    return {name: value for name, value in found if isinstance(value, int | float)}


def bounds_in(record: Mapping[str, object]) -> dict[str, tuple[float, float]]:
    """The 95 % bounds of those measurements for which the record's ``uncertainty`` has some."""
    said: Any = record.get("uncertainty")
    found: dict[str, tuple[float, float]] = {}
    for name in COMPARED if isinstance(said, dict) else ():
        measure, _, unit = name.rpartition("_")
        for form in (f"{name}_{{}}", f"{measure}_{{}}_{unit}"):
            if form.format("low") in said:
                found[name] = said[form.format("low")], said[form.format("high")]
    return found


def choose(results: Iterable[EarlierResult], scan: Scan, maker: Maker) -> EarlierResult:
    """The one of a study's results that is most like the new one.

    In this order: same model and weights, same kernel, same series description, corrected by a person, most
    measurements; then the one whose report has the lowest UID. Reports that another one replaces are no
    candidates.
    """
    candidates = list(results)
    replaced = {result.predecessor_uid for result in candidates}
    current = [result for result in candidates if result.report_uid not in replaced] or candidates

    def unlikeness(result: EarlierResult) -> tuple[bool, bool, bool, bool, int, str]:
        return (
            _model(result.maker) != _model(maker),
            result.scan.kernel != scan.kernel,
            result.scan.series_description != scan.series_description,
            not result.corrected,
            -len(result.values),
            result.report_uid,
        )

    return min(current, key=unlikeness)


def _by_study(results: Iterable[EarlierResult]) -> Iterator[list[EarlierResult]]:
    def study(result: EarlierResult) -> str:
        return result.scan.study_instance_uid

    for _, group in groupby(sorted(results, key=study), key=study):
        yield list(group)


@dataclass(frozen=True)
class _Now:
    """The new result."""

    scan: Scan
    maker: Maker
    values: Mapping[str, float]
    bounds: Mapping[str, tuple[float, float]]


def _change(earlier: EarlierResult, now: _Now) -> Change:
    values, days = now.values, (now.scan.study_date - earlier.scan.study_date).days
    difference = {
        name: value - earlier.values[name] for name, value in values.items() if name in earlier.values
    }
    bounds = _difference_bounds(earlier, now)
    per_day = {name: value / days for name, value in difference.items()} if days else {}
    return Change(
        earlier,
        days,
        MappingProxyType(difference),
        MappingProxyType(per_day),
        (*_doubts(earlier, now.scan, now.maker), *_within_error(bounds)),
        MappingProxyType(bounds),
    )


def _difference_bounds(earlier: EarlierResult, now: _Now) -> dict[str, tuple[float, float]]:
    """Bounds of each difference from those of its two values (Zou and Donner, Stat Med 2008;27:1693).

    The distances to the bounds are added in squares, as if the two errors had nothing in common. Those of one
    model in one patient have, which makes the true bounds narrower. A value outside of its own bounds (of a
    model that marks too little everywhere) counts as the bound next to it.
    """
    found = {}
    for name, (low, high) in now.bounds.items():
        if name in earlier.bounds and name in now.values:
            low_then, high_then = earlier.bounds[name]
            value = min(max(now.values[name], low), high)
            then = min(max(earlier.values[name], low_then), high_then)
            difference = value - then
            found[name] = (
                difference - math.hypot(value - low, high_then - then),
                difference + math.hypot(high - value, then - low_then),
            )
    return found


def _within_error(bounds: Mapping[str, tuple[float, float]]) -> list[Doubt]:
    """Judged by the extent, which breath changes least."""
    low, high = bounds.get("lesion_extent_percent", (1.0, 1.0))
    return [Doubt.WITHIN_ERROR] if low <= 0 <= high else []


def _doubts(earlier: EarlierResult, scan: Scan, maker: Maker) -> Iterator[Doubt]:
    then = earlier.maker
    if then.model != maker.model:
        yield Doubt.OTHER_MODEL
    elif _model(then) != _model(maker):
        yield Doubt.OTHER_WEIGHTS
    elif then.config_sha256 != maker.config_sha256:
        yield Doubt.OTHER_CONFIGURATION
    if then.software != maker.software:
        yield Doubt.OTHER_SOFTWARE
    if earlier.scan.kernel != scan.kernel:
        yield Doubt.OTHER_KERNEL
    if earlier.flags:
        yield Doubt.FLAGS_THEN
    if earlier.corrected:
        yield Doubt.CORRECTED_BY_HAND


def _model(maker: Maker) -> tuple[str, str, str]:
    return maker.model, maker.model_version, maker.weights_sha256

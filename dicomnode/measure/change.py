"""Change since earlier results: which of a study's is compared, and what may be wrong with the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from types import MappingProxyType

from dicomnode.measure.priors import (
    COMPARED,
    Change,
    Course,
    Doubt,
    EarlierResult,
    Findings,
    Maker,
    Scan,
    SearchRemark,
)


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
    return Course(findings, values, tuple(_change(result, scan, maker, values) for result in ordered))


def compared_values(record: Mapping[str, object]) -> dict[str, float]:
    """Those of :data:`~dicomnode.measure.priors.COMPARED` that a record has."""
    found = ((name, record.get(name)) for name in COMPARED)
    return {name: value for name, value in found if isinstance(value, int | float)}


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


def _change(earlier: EarlierResult, scan: Scan, maker: Maker, values: Mapping[str, float]) -> Change:
    days = (scan.study_date - earlier.scan.study_date).days
    difference = {
        name: value - earlier.values[name] for name, value in values.items() if name in earlier.values
    }
    per_day = {name: value / days for name, value in difference.items()} if days else {}
    return Change(
        earlier,
        days,
        MappingProxyType(difference),
        MappingProxyType(per_day),
        tuple(_doubts(earlier, scan, maker)),
    )


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

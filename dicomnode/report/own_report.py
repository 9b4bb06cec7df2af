"""Reading a measurement report of our own back: whoever looks for earlier results wants its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from types import MappingProxyType

from pydicom.dataset import Dataset

from dicomnode.measure.priors import COMPARED, EarlierResult, Maker, PriorError, Scan, time_of_day
from dicomnode.report import codes
from dicomnode.report.header import DATE_KEYWORDS_OF_SCAN, MANUFACTURER
from dicomnode.report.identity import DATE, text_value
from dicomnode.report.quantities import LUNG_QUANTITIES
from dicomnode.report.text import ascii_text, printed
from dicomnode.report.uids import DEVICE_OBSERVER_UID

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
OWN_UID_ROOT = "2.25."
KERNEL_LENGTH = 64

_NAMES = {
    concept.value: "lung_volume_ml" if name == "volume_ml" else name
    for name, (concept, _, _) in LUNG_QUANTITIES.items()
}
_KERNEL_IN_WORDS = re.compile(r"(?:^|, )kernel (?!not named)(.+?)(?: \([a-z ]+\))?(?:, |$)")
_RANGES = (codes.LOWER_UNCERTAINTY.value, codes.UPPER_UNCERTAINTY.value)
_ONSET = "LongitudinalTemporalOffsetFromEvent"


class NotOurReportError(PriorError):
    """The object is no measurement report of this product; somebody else's, or a refusal."""


def scan_of(source: Dataset, onset_event: str = "") -> Scan | None:
    """Which scan an image belongs to; None without a valid date.

    Parameters
    ----------
    source:
        Header of an image.
    onset_event:
        The Longitudinal Temporal Event Type (PS3.3 C.7.2.3) that stands for symptom onset: with it, the
        Longitudinal Temporal Offset from Event is the onset day. Empty: not looked at.
    """
    made = _date_and_time(source)
    if made is None:
        return None
    onset_day = None
    if onset_event and text_value(source, "LongitudinalTemporalEventType") == onset_event:
        value = source.get(_ONSET)
        onset_day = float(value) if isinstance(value, int | float) else None
    return Scan(
        text_value(source, "StudyInstanceUID"),
        text_value(source, "SeriesInstanceUID"),
        *made,
        series_description=ascii_text(str(source.get("SeriesDescription") or ""), 64),
        kernel=kernel_of(source),
        onset_day=onset_day,
    )


def kernel_of(source: Dataset) -> str:
    """Convolution Kernel of an image as reports print it; empty without one."""
    return ascii_text(text_value(source, "ConvolutionKernel"), KERNEL_LENGTH)


def read_own_report(report: Dataset, found_in: str) -> EarlierResult:
    """The result in a report that any version of this product has made.

    Parameters
    ----------
    found_in:
        "ledger", "pacs" or "folder".

    Raises
    ------
    NotOurReportError
        If it is another's, or ours but without measurements.
    PriorError
        If it is ours but can't be read.
    """
    _must_be_ours(report)
    try:
        return _read(report, found_in)
    except PriorError:
        raise
    except Exception as error:  # whatever pydicom makes of a damaged one; its words could quote it
        raise PriorError(f"a report of ours can't be read: {type(error).__name__}") from error


def _must_be_ours(report: Dataset) -> None:
    is_ours = (
        text_value(report, "SOPClassUID") == COMPREHENSIVE_3D_SR
        and text_value(report, "SOPInstanceUID").startswith(OWN_UID_ROOT)
        and text_value(report, "Manufacturer") == MANUFACTURER
    )
    items = list(report.get("ContentSequence") or []) if is_ours else []
    observers = [str(item.get("UID", "")) for item in items if _concept(item) == codes.DEVICE_UID.value]
    title = [str(item.get("CodeValue", "")) for item in report.get("ConceptNameCodeSequence") or []]
    if observers != [DEVICE_OBSERVER_UID] or title != [codes.IMAGING_MEASUREMENT_REPORT.value]:
        raise NotOurReportError("the report is not one of this product's measurements")


def _read(report: Dataset, found_in: str) -> EarlierResult:
    made = _date_and_time(report)
    if made is None:
        raise PriorError("a report of ours has no date")
    measurements = _child(report, codes.IMAGING_MEASUREMENTS.value)
    evaluations = _child(report, codes.QUALITATIVE_EVALUATIONS.value)
    groups = [item for item in _items(measurements) if _concept(item) == codes.MEASUREMENT_GROUP.value]
    lungs = next((group for group in groups if _is_both_lungs(group)), None)
    if lungs is None:
        raise PriorError("a report of ours measures no lungs")
    parameters = dict(_parameters(measurements))
    software = report.get("SoftwareVersions") or ""
    name = _texts(measurements, codes.ALGORITHM_NAME.value)
    version = _texts(measurements, codes.ALGORITHM_VERSION.value)
    said = _texts(evaluations, codes.QUALITY_FLAG.value)
    scan = Scan(
        text_value(report, "StudyInstanceUID"),
        next(iter(_uids(lungs, codes.SOURCE_SERIES.value)), ""),
        *made,
        series_description="".join(_texts(evaluations, codes.SOURCE_DESCRIPTION.value)[:1]),
        kernel=_kernel(evaluations),
        onset_day=_onset_day(report),
    )
    return EarlierResult(
        scan,
        Maker(
            software if isinstance(software, str) else str(next(iter(software), "")),
            "".join(name[:1]),
            "".join(version[:1]),
            parameters.get("weights_sha256", ""),
            parameters.get("config_sha256", ""),
        ),
        MappingProxyType(_values(lungs)),
        bounds=MappingProxyType(_bounds(lungs)),
        sop_class_uid=text_value(report, "SOPClassUID"),
        report_series_uid=text_value(report, "SeriesInstanceUID"),
        report_uid=text_value(report, "SOPInstanceUID"),
        flags=tuple(flag.partition(":")[0] for flag in said if ":" in flag),  # else it is "none"
        predecessor_uid=_predecessor(report),
        corrected=bool(_texts(evaluations, codes.CORRECTION.value)),
        found_in=found_in,
    )


def _values(lungs: Dataset) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in _items(lungs):
        name = _NAMES.get(_concept(item), "")
        if name in COMPARED and item.get("MeasuredValueSequence"):
            text = str(item.MeasuredValueSequence[0].NumericValue)
            found[name] = int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    return found


def _bounds(lungs: Dataset) -> dict[str, tuple[float, float]]:
    """Where the true value lies, for those measurements that say by how much it may be larger and smaller."""
    found: dict[str, tuple[float, float]] = {}
    values = _values(lungs)
    for item in _items(lungs):
        name = _NAMES.get(_concept(item), "")
        by = {
            _concept(one): float(one.MeasuredValueSequence[0].NumericValue)
            for one in _items(item)
            if _concept(one) in _RANGES
        }
        if name in values and len(by) == len(_RANGES):
            lower, upper = (by[concept] for concept in _RANGES)
            low = printed(name, max(0.0, values[name] - lower))
            found[name] = low, printed(name, values[name] + upper)
    return found


def _is_both_lungs(group: Dataset) -> bool:
    for item in _items(group):
        if _concept(item) == codes.FINDING_SITE.value:
            sides = [_code(child) for child in _items(item) if _concept(child) == codes.LATERALITY.value]
            is_finding = any(
                _concept(one) == codes.FINDING.value and _code(one) != codes.LUNG.value
                for one in _items(group)
            )
            return sides == [codes.BILATERAL.value] and not is_finding
    return False


def _kernel(evaluations: Dataset) -> str:
    said = _texts(evaluations, codes.SOURCE_KERNEL.value)
    if said:
        return said[0]
    matches = map(_KERNEL_IN_WORDS.search, _texts(evaluations, codes.IMAGE_QUALITY.value))
    return next((match[1] for match in matches if match), "")


def _onset_day(report: Dataset) -> float | None:
    for container in _items(report):
        for item in _items(container):
            if _concept(item) == codes.DAYS_SINCE_ONSET.value:
                return float(item.MeasuredValueSequence[0].NumericValue)
    return None


def _parameters(measurements: Dataset) -> Iterator[tuple[str, str]]:
    for text in _texts(measurements, codes.ALGORITHM_PARAMETERS.value):
        name, sign, value = text.partition("=")
        if sign and name.endswith("_sha256") and " " not in name:
            yield name, value


def _predecessor(report: Dataset) -> str:
    for study in report.get("PredecessorDocumentsSequence") or []:
        for series in study.get("ReferencedSeriesSequence") or []:
            for instance in series.get("ReferencedSOPSequence") or []:
                return text_value(instance, "ReferencedSOPInstanceUID")
    return ""


def _date_and_time(source: Dataset) -> tuple[date, str] | None:
    for kind in DATE_KEYWORDS_OF_SCAN:
        text = text_value(source, f"{kind}Date")
        if DATE.fullmatch(text):
            try:
                made = date(int(text[:4]), int(text[4:6]), int(text[6:]))
            except ValueError:  # the 30th of February
                continue
            return made, time_of_day(text_value(source, f"{kind}Time"))
    return None


def _child(node: Dataset, concept: str) -> Dataset:
    return next((item for item in _items(node) if _concept(item) == concept), Dataset())


def _items(node: Dataset) -> Iterable[Dataset]:
    found: Iterable[Dataset] = node.get("ContentSequence") or []
    return found


def _texts(node: Dataset, concept: str) -> list[str]:
    return [str(item.get("TextValue", "")) for item in _items(node) if _concept(item) == concept]


def _uids(node: Dataset, concept: str) -> list[str]:
    return [str(item.get("UID", "")) for item in _items(node) if _concept(item) == concept]


def _concept(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence") or [Dataset()]
    return str(names[0].get("CodeValue", ""))


def _code(item: Dataset) -> str:
    values = item.get("ConceptCodeSequence") or [Dataset()]
    return str(values[0].get("CodeValue", ""))

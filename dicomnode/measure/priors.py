"""Earlier results of the same patient, and what a result says of the change since them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Any

COMPARED = (
    "lung_volume_ml",
    "lesion_volume_ml",
    "ggo_volume_ml",
    "consolidation_volume_ml",
    "lesion_extent_percent",
    "ggo_extent_percent",
    "consolidation_extent_percent",
    "lesion_weight_g",
    "involved_lobes",
    "ct_score",
    "ct_ss",
)
"""Measurements of both lungs whose change is told; of extents it is in percentage points."""

_LARGEST_VALUE = 1e6
_UID = re.compile(r"[0-9.]{1,64}")
_TIME = re.compile(r"(\d{2})(\d{2})?(\d{2})?(\.\d+)?")


class PriorError(Exception):
    """What should be an earlier result isn't one; the message says what is wrong with it."""


class SearchRemark(StrEnum):
    """What a reader must know of the search for earlier results."""

    NO_IDENTIFIER = "no_identifier"
    NO_DATE = "no_date"
    PATIENT_MISMATCH = "patient_mismatch"
    BIRTH_DATE_UNKNOWN = "birth_date_unknown"
    OTHER_IDENTIFIERS = "other_identifiers"
    OTHER_REPORTS = "other_reports"
    UNREADABLE_REPORTS = "unreadable_reports"
    TOO_OLD = "too_old"
    TOO_MANY = "too_many"
    SAME_TIME = "same_time"
    LEDGER_FAILED = "ledger_failed"
    PACS_FAILED = "pacs_failed"
    PACS_SILENT = "pacs_silent"
    PACS_INCOMPLETE = "pacs_incomplete"
    NOT_ASKED = "not_asked"


class Doubt(StrEnum):
    """Why a change may be another one than the disease's."""

    OTHER_MODEL = "other_model"
    OTHER_WEIGHTS = "other_weights"
    OTHER_SOFTWARE = "other_software"
    OTHER_CONFIGURATION = "other_configuration"
    OTHER_KERNEL = "other_kernel"
    FLAGS_THEN = "flags_then"
    CORRECTED_BY_HAND = "corrected_by_hand"
    WITHIN_ERROR = "within_error"


@dataclass(frozen=True)
class Maker:
    """What made a result: software and model with their versions; digests are SHA-256 in hex."""

    software: str
    model: str
    model_version: str
    weights_sha256: str
    config_sha256: str


@dataclass(frozen=True)
class Scan:
    """Which scan a result is of, and when it was made.

    Parameters
    ----------
    study_date, study_time:
        Study Date; Study Time as six digits, empty where it isn't known.
    series_description, kernel:
        Of the source series, empty where they aren't known.
    onset_day:
        Days from symptom onset to the scan, where the source says so.
    """

    study_instance_uid: str
    series_instance_uid: str
    study_date: date
    study_time: str = ""
    series_description: str = ""
    kernel: str = ""
    onset_day: float | None = None

    def is_before(self, other: Scan) -> bool:
        """Whether it was made earlier; of two on one day only where both times are known."""
        if self.study_date != other.study_date:
            return self.study_date < other.study_date
        return bool(self.study_time and other.study_time and self.study_time < other.study_time)


@dataclass(frozen=True)
class EarlierResult:
    """An earlier measurement that this product made.

    Parameters
    ----------
    values:
        Those of :data:`COMPARED` that it has, as it printed them.
    bounds:
        Lowest and highest true value (95 %) of those for which it says so.
    flags:
        Its quality flags.
    sop_class_uid, report_series_uid, report_uid:
        The report that has the values.
    predecessor_uid:
        The report that this one replaces; empty for none.
    corrected:
        Whether a person had corrected the masks.
    found_in:
        "ledger", "pacs" or "folder".

    Raises
    ------
    PriorError
        If a value is no possible number or has no name of the contract, or a UID is none: it may come from
        anywhere.
    """

    scan: Scan
    maker: Maker
    values: Mapping[str, float]
    sop_class_uid: str
    report_series_uid: str
    report_uid: str
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    predecessor_uid: str = ""
    corrected: bool = False
    found_in: str = ""

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if name not in COMPARED or isinstance(value, bool) or not math.isfinite(value):
                raise PriorError(f"{name} is no measurement of an earlier result")
            if not 0 <= value <= _LARGEST_VALUE:
                raise PriorError(f"the {name} of an earlier result is no possible one")
        for name, (low, high) in self.bounds.items():
            if name not in self.values or not 0 <= low <= high <= _LARGEST_VALUE:
                raise PriorError(f"the bounds of {name} in an earlier result are no possible ones")
        named = (self.scan.study_instance_uid, self.sop_class_uid, self.report_series_uid, self.report_uid)
        perhaps = (self.scan.series_instance_uid, self.predecessor_uid)
        if not all(_UID.fullmatch(uid) for uid in (*named, *filter(None, perhaps))):
            raise PriorError("an earlier result has a UID that is none")

    def to_json(self) -> dict[str, Any]:
        """For :meth:`from_json`."""
        bounds = {name: list(pair) for name, pair in self.bounds.items()}
        record = {**vars(self), "values": dict(self.values), "bounds": bounds, "flags": list(self.flags)}
        return record | {"scan": scan_to_json(self.scan), "maker": asdict(self.maker)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> EarlierResult:
        """The result that :meth:`to_json` wrote.

        Raises
        ------
        PriorError
            If it isn't one.
        """
        try:
            parts = {
                **record,
                "scan": scan_from_json(record["scan"]),
                "maker": Maker(**record["maker"]),
                "values": MappingProxyType(dict(record["values"])),
                "bounds": {name: (low, high) for name, (low, high) in record.get("bounds", {}).items()},
                "flags": tuple(record["flags"]),
            }
            return cls(**parts)
        except (KeyError, TypeError, ValueError) as error:
            raise PriorError(
                f"the record of an earlier result can't be read: {type(error).__name__}"
            ) from error


@dataclass(frozen=True)
class Findings:
    """What a search for earlier results found; it is kept, so that the same result can be made again.

    Parameters
    ----------
    scan:
        The scan that the results are earlier than; None where its date isn't known.
    asked:
        Where was looked.
    results:
        What was found, oldest first; of a study there may be several.
    remarks:
        What to know of it.
    """

    scan: Scan | None
    asked: tuple[str, ...] = ()
    results: tuple[EarlierResult, ...] = ()
    remarks: tuple[SearchRemark, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For :meth:`from_json`."""
        return {
            "scan": scan_to_json(self.scan) if self.scan else None,
            "asked": list(self.asked),
            "results": [result.to_json() for result in self.results],
            "remarks": [remark.value for remark in self.remarks],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Findings:
        """What :meth:`to_json` wrote.

        Raises
        ------
        PriorError
            If it isn't that.
        """
        try:
            return cls(
                scan_from_json(record["scan"]) if record["scan"] else None,
                tuple(record["asked"]),
                tuple(EarlierResult.from_json(result) for result in record["results"]),
                tuple(SearchRemark(remark) for remark in record["remarks"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PriorError(f"the record of a search can't be read: {type(error).__name__}") from error

    @property
    def sha256(self) -> str:
        """Digest of all of it: results that were made with other findings get other UIDs."""
        text = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def time_of_day(text: str) -> str:
    """DICOM's TM as six digits; empty if it isn't one."""
    match = _TIME.fullmatch(text.strip())
    return "".join(part or "00" for part in match.groups()[:3]) if match else ""


def scan_to_json(scan: Scan) -> dict[str, Any]:
    """For :func:`scan_from_json`."""
    return {**asdict(scan), "study_date": scan.study_date.isoformat()}


def scan_from_json(record: Mapping[str, Any]) -> Scan:
    """The scan that :func:`scan_to_json` wrote."""
    return Scan(**{**record, "study_date": date.fromisoformat(record["study_date"])})

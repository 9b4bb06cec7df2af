"""A result among the earlier ones of its patient, as it travels to the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dicomnode.measure.priors import Doubt, EarlierResult, Findings, Scan


@dataclass(frozen=True)
class Change:
    """The change from an earlier result to this one.

    Parameters
    ----------
    days:
        From the earlier study date to this one.
    difference:
        This value less the earlier one, of those that both have.
    per_day:
        The same a day; empty where both scans are of one day.
    bounds:
        Lowest and highest true difference, where both results have bounds.
    doubts:
        Why it may be no change of the disease.
    """

    earlier: EarlierResult
    days: int
    difference: Mapping[str, float]
    per_day: Mapping[str, float]
    doubts: tuple[Doubt, ...]
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The contract's names."""
        maker = self.earlier.maker
        return {
            "study_date": self.earlier.scan.study_date.isoformat(),
            "days": self.days,
            "found_in": self.earlier.found_in,
            "report_uid": self.earlier.report_uid,
            "software": maker.software,
            "model": maker.model,
            "model_version": maker.model_version,
            "flags": [doubt.value for doubt in self.doubts],
            "values": dict(self.earlier.values),
            "change": dict(self.difference),
            "change_per_day": dict(self.per_day),
            "change_low": {name: low for name, (low, _) in self.bounds.items()},
            "change_high": {name: high for name, (_, high) in self.bounds.items()},
        }


@dataclass(frozen=True)
class Course:
    """This result among the earlier ones of the patient.

    Parameters
    ----------
    findings:
        What the search found.
    values:
        Those of :data:`COMPARED` that this result has.
    changes:
        One for each earlier study, the oldest first.
    """

    findings: Findings
    values: Mapping[str, float] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()

    @property
    def scans(self) -> tuple[tuple[Scan, Mapping[str, float]], ...]:
        """All scans with their values, the oldest first, this one last; empty without earlier ones."""
        if not self.changes or self.findings.scan is None:
            return ()
        earlier = ((change.earlier.scan, change.earlier.values) for change in self.changes)
        return (*earlier, (self.findings.scan, self.values))

    def to_json(self) -> dict[str, Any]:
        """``prior`` and ``prior_search`` of the contract."""
        scan = self.findings.scan
        return {
            "prior": [change.to_json() for change in self.changes],
            "prior_search": {
                "asked": list(self.findings.asked),
                "flags": [remark.value for remark in self.findings.remarks],
                "days_since_onset": scan.onset_day if scan else None,
            },
        }

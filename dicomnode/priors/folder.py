"""Serial scans in one folder: each is compared with those that were measured before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from pydicom import dcmread

from dicomnode.assemble.series import SeriesFiles
from dicomnode.measure.priors import Findings, PriorError
from dicomnode.priors.patient import Patient
from dicomnode.priors.sifting import Candidate, Limits, sift
from dicomnode.report.errors import ReportError
from dicomnode.report.identity import read_header
from dicomnode.report.own_report import read_own_report, scan_of

_NO_DATE = date.max


class FolderPriors:
    """The results of one run, kept in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._candidates: list[Candidate] = []

    def add(self, report: Path) -> None:
        """A result that later scans are compared with; one that can't be read is passed over."""
        try:
            dataset = dcmread(report)
            result = read_own_report(dataset, "folder")
        except (PriorError, OSError, ValueError):
            return
        self._candidates.append(Candidate(Patient.of(dataset).marks, result))

    def before(self, paths: Sequence[Path]) -> Findings | None:
        """Earlier results of the patient in ``paths``; None if the folder has none under that identifier."""
        header = read_header(paths[0])
        scan, marks = scan_of(header), Patient.of(header).marks
        identifier = next((name for name in self._limits.identifiers if name in marks), None)
        if scan is None or identifier is None:
            return None
        known = [one for one in self._candidates if one.marks.get(identifier) == marks[identifier]]
        findings = sift(scan, marks, known, self._limits, ("folder",))
        return findings if findings.results or findings.remarks else None


def in_order_of_time(series: Iterable[SeriesFiles]) -> list[SeriesFiles]:
    """By study date and time; those without a date come last, in the order in which they were found."""
    return sorted(series, key=_moment)


def _moment(series: SeriesFiles) -> tuple[date, str]:
    try:
        scan = scan_of(read_header(series.paths[0]))
    except ReportError:
        return _NO_DATE, ""
    return (scan.study_date, scan.study_time) if scan else (_NO_DATE, "")

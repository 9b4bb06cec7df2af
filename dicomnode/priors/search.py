"""The search for earlier results: beside the analysis, in bounded time, without ever failing a result."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.config_sections import Priors
from dicomnode.measure.priors import EarlierResult, Findings, PriorError, Scan, SearchRemark
from dicomnode.priors.pacs import PacsAnswer, PriorPacs
from dicomnode.priors.patient import Patient
from dicomnode.priors.sifting import Candidate, sift
from dicomnode.report.identity import read_header
from dicomnode.report.own_report import read_own_report, scan_of
from dicomnode.spool.errors import SpoolError
from dicomnode.spool.ledger import Ledger
from dicomnode.spool.patient_results import PatientResult

LOGGER = logging.getLogger(__name__)

_SPARE = 0.1  # of the time: what came in time is taken, and not lost with what didn't


class PriorSearch:
    """Looks where the configuration says.

    Parameters
    ----------
    pacs:
        None unless the PACS is a source.
    """

    def __init__(self, ledger: Ledger, settings: Priors, pacs: PriorPacs | None = None) -> None:
        self._ledger = ledger
        self._settings = settings
        self._pacs = pacs

    def begin(self, series_id: str, generation: int, paths: Sequence[Path]) -> Search:
        """Start to look for results that are earlier than the series in ``paths``.

        What a result of this generation was made with before is used again, so that the same objects come
        out.
        """
        search = Search(self._settings, self._ledger, self._pacs)
        search.begin(series_id, generation, paths)
        return search


class Search:
    """One search; the ledger is read at once, the PACS asked in a thread that nobody waits for too long."""

    def __init__(self, settings: Priors, ledger: Ledger, pacs: PriorPacs | None) -> None:
        self._settings = settings
        self._ledger = ledger
        self._pacs = pacs if "pacs" in settings.sources else None
        self._deadline = time.monotonic() + settings.timeout_seconds
        self._scan: Scan | None = None
        self._patient = Patient({})
        self._candidates: list[Candidate] = []
        self._remarks: list[SearchRemark] = []
        self._answer: PacsAnswer | None = None
        self._asking: threading.Thread | None = None
        self._findings: Findings | None = None
        self._about: dict[str, str] = {}

    def begin(self, series_id: str, generation: int, paths: Sequence[Path]) -> None:
        """Read the series' header and the ledger, and start asking the PACS."""
        self._about = {"series": series_id}
        try:
            self._begin(series_id, generation, paths)
        except Exception as error:  # a comparison is never worth a result
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """The type alone: the words could quote a header."""
        LOGGER.warning("earlier results are not looked for: %s", type(error).__name__, extra=self._about)
        self._findings = Findings(None, remarks=(SearchRemark.NOT_ASKED,))

    def findings(self) -> Findings:
        """What was found; waits for the PACS until the time is up."""
        try:
            self._findings = self._findings or self._collect()
        except Exception as error:
            self._give_up(error)
        assert self._findings is not None
        return self._findings

    def _begin(self, series_id: str, generation: int, paths: Sequence[Path]) -> None:
        noted = self._ledger.findings(series_id, generation)
        if noted is not None:
            self._findings = Findings.from_json(json.loads(noted))
            return
        header = read_header(paths[0])
        self._scan = scan_of(header, self._settings.onset_event)
        self._patient = Patient.of(header)
        if self._scan is None:
            self._findings = Findings(None, remarks=(SearchRemark.NO_DATE,))
        elif self._first_identifier() is None:
            self._findings = Findings(self._scan, remarks=(SearchRemark.NO_IDENTIFIER,))
        else:
            self._read_ledger()
            self._start_asking()

    def _first_identifier(self) -> str | None:
        """By which results are looked up; the others are compared afterwards."""
        names = [name for name in ("PatientID", "PatientName") if name in self._settings.identifiers]
        return next((name for name in names if name in self._patient.values), None)

    def _read_ledger(self) -> None:
        name = self._first_identifier()
        if "ledger" not in self._settings.sources or name is None:
            return
        try:
            found = self._ledger.patient_results(name, self._patient.marks[name])
        except SpoolError:
            self._remarks.append(SearchRemark.LEDGER_FAILED)
            return
        for one in found:
            try:
                result = EarlierResult.from_json(json.loads(one.record))
            except (PriorError, ValueError):
                self._remarks.append(SearchRemark.UNREADABLE_REPORTS)
            else:
                self._candidates.append(Candidate(one.marks, result))

    def _start_asking(self) -> None:
        if self._pacs is not None:
            self._asking = threading.Thread(target=self._ask, name="priors", daemon=True)
            self._asking.start()

    def _ask(self) -> None:
        assert self._pacs is not None and self._scan is not None
        known = [candidate.result.report_uid for candidate in self._candidates]
        limits = self._settings.maximum_days, self._settings.maximum
        compared, values = self._settings.identifiers, self._patient.values
        patient = Patient({name: value for name, value in values.items() if name in compared})
        try:
            until = self._deadline - self._settings.timeout_seconds * _SPARE
            answer = self._pacs.search(patient, self._scan, *limits, known, until)
        except Exception as error:  # whatever pydicom makes of an answer
            answer = PacsAnswer(remarks=(SearchRemark.PACS_FAILED,), problem=type(error).__name__)
        if answer.problem:
            LOGGER.warning(
                "the PACS can't be asked for earlier results: %s", answer.problem, extra=self._about
            )
        self._answer = answer

    def _collect(self) -> Findings:
        assert self._scan is not None
        candidates, remarks = list(self._candidates), list(self._remarks)
        if self._asking is not None:
            self._asking.join(max(0.0, self._deadline - time.monotonic()))
            answer = self._answer or PacsAnswer(remarks=(SearchRemark.PACS_SILENT,))
            candidates += answer.candidates
            remarks += answer.remarks
        asked = self._settings.sources
        return sift(self._scan, self._patient.marks, candidates, self._settings, asked, remarks)


def patient_result(report: Path, findings: Findings) -> PatientResult:
    """What the ledger keeps of a measured series, read from its report.

    Raises
    ------
    PriorError
        If the report can't be read.
    """
    try:
        dataset: Dataset = dcmread(report)
    except Exception as error:
        raise PriorError(f"the report can't be read: {type(error).__name__}") from error
    result = read_own_report(dataset, "ledger")
    return PatientResult(
        Patient.of(dataset).marks,
        json.dumps(result.to_json(), sort_keys=True),
        json.dumps(findings.to_json(), sort_keys=True),
    )

"""Earlier reports of our own at a PACS: found by C-FIND, fetched by C-GET or C-MOVE (PS3.4 Annex C)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, Protocol

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context, build_role

from dicomnode.deliver.peer import Peer, PeerError, associated
from dicomnode.measure.priors import PriorError, Scan, SearchRemark, time_of_day
from dicomnode.priors.patient import Patient
from dicomnode.priors.sifting import Candidate
from dicomnode.report.identity import DATE, text_value
from dicomnode.report.own_report import (
    COMPREHENSIVE_3D_SR,
    OWN_UID_ROOT,
    NotOurReportError,
    read_own_report,
)

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
MAXIMUM_ANSWERS = 1000
MAXIMUM_REPORT_BYTES = 16 << 20
MOST_REPORTS_OF_A_STUDY = 20

_PENDING = (0xFF00, 0xFF01)
_SUCCESS = 0x0000
_WILDCARDS = frozenset("*?\\")
_FIND_KEYS = ("PatientID", "PatientName")

Method = Literal["get", "move"]


class NotThereError(Exception):
    """The PACS refused a question or answered nothing; the message says which."""


class LateError(Exception):
    """Time is up."""


class Expecting(Protocol):
    """The front door's way to hand over what was asked for by C-MOVE."""

    def wait(self, sop_instance_uids: Sequence[str]) -> Callable[[], dict[str, Dataset]]:
        """From now on instances with these UIDs are handed over; the result gives those that came."""


@dataclass(frozen=True)
class PacsAnswer:
    """Reports that a PACS had, what to know of the question, and what failed, in a sentence for the log."""

    candidates: tuple[Candidate, ...] = ()
    remarks: tuple[SearchRemark, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class PriorPacs:
    """A query/retrieve SCP.

    Parameters
    ----------
    method:
        How reports are fetched: over the same association, or by one that the PACS opens to the node.
    expecting:
        For C-MOVE.
    """

    peer: Peer
    method: Method = "get"
    expecting: Expecting | None = None

    def search(
        self, patient: Patient, scan: Scan, days: int, studies: int, known: Collection[str], deadline: float
    ) -> PacsAnswer:
        """Reports of the patient's earlier studies, the newest studies first.

        Parameters
        ----------
        days, studies:
            Greatest age, and the number of studies with a report after which the search ends.
        known:
            SOP Instance UIDs that needn't be fetched.
        deadline:
            On the monotonic clock; what has come until then is given.
        """
        inquiry, problem = _Inquiry(self, deadline), ""
        try:
            inquiry.run(patient, scan, days, studies, known)
        except LateError:
            problem = f"{self.peer}: no answer in time"
            inquiry.remarks.append(SearchRemark.PACS_SILENT)
        except (PeerError, NotThereError) as error:
            problem = str(error)
            late = time.monotonic() >= deadline
            inquiry.remarks.append(SearchRemark.PACS_SILENT if late else SearchRemark.PACS_FAILED)
        return PacsAnswer(tuple(inquiry.candidates), tuple(inquiry.remarks), problem)

    def examine(self) -> str | None:
        """For ``dicomnode check``: None if it answers C-FIND and takes the way to fetch, else a sentence."""
        inquiry = _Inquiry(self, time.monotonic() + self.peer.answer_seconds)
        try:
            with inquiry.association() as association:
                query = Dataset()
                query.QueryRetrieveLevel = "STUDY"
                query.StudyInstanceUID = "2.25.0"
                list(inquiry.find(association, query))
        except (PeerError, NotThereError) as error:
            return str(error)
        except LateError:
            return f"{self.peer}: no answer to C-FIND within {self.peer.answer_seconds:g} s"
        return None


class _Inquiry:
    """One search, with what it has so far."""

    def __init__(self, pacs: PriorPacs, deadline: float) -> None:
        self._pacs = pacs
        self._deadline = deadline
        self._received: dict[str, Dataset] = {}
        self.candidates: list[Candidate] = []
        self.remarks: list[SearchRemark] = []

    def run(self, patient: Patient, scan: Scan, days: int, studies: int, known: Collection[str]) -> None:
        wanted = {name: patient.values[name] for name in _FIND_KEYS if name in patient.values}
        if any(_WILDCARDS & set(value) for value in wanted.values()):
            raise NotThereError("an identifier with a wildcard can't be asked for")
        with self.association() as association:
            found = 0
            for study in self._studies(association, wanted, scan, days):
                reports = self._reports(association, study, known)
                found += bool(reports)
                if reports:
                    self._fetch(association, study, reports)
                if found >= studies:
                    break

    @contextmanager
    def association(self) -> Iterator[Association]:
        """With all contexts that the search needs; its time limits are what is left of the search's."""
        pacs, left = self._pacs, self._left()
        retrieve = STUDY_ROOT_GET if pacs.method == "get" else STUDY_ROOT_MOVE
        contexts: list[PresentationContext] = [build_context(STUDY_ROOT_FIND), build_context(retrieve)]
        roles = []
        if pacs.method == "get":
            contexts.append(build_context(COMPREHENSIVE_3D_SR))
            roles.append(build_role(COMPREHENSIVE_3D_SR, scu_role=False, scp_role=True))
        peer = replace(
            pacs.peer,
            connect_seconds=min(left, pacs.peer.connect_seconds),
            answer_seconds=min(left, pacs.peer.answer_seconds),
        )
        handlers = [(evt.EVT_C_STORE, self._keep)]
        with associated(peer, contexts, handlers, roles) as association:
            accepted = {context.abstract_syntax for context in association.accepted_contexts}
            missing = [str(context.abstract_syntax) for context in contexts]
            missing = [uid for uid in missing if uid not in accepted]
            if missing:
                raise NotThereError(f"{pacs.peer}: it doesn't offer {', '.join(map(_name, missing))}")
            yield association

    def find(self, association: Association, query: Dataset) -> Iterator[Dataset]:
        """Answers to C-FIND."""
        for number, (status, answer) in enumerate(association.send_c_find(query, STUDY_ROOT_FIND)):
            self._left()
            if "Status" not in status:
                raise NotThereError(f"{self._pacs.peer}: no answer to C-FIND")
            if status.Status in _PENDING and answer is not None:
                if number >= MAXIMUM_ANSWERS:
                    raise NotThereError(f"{self._pacs.peer}: more than {MAXIMUM_ANSWERS} answers to C-FIND")
                yield answer
            elif status.Status != _SUCCESS:
                raise NotThereError(f"{self._pacs.peer}: C-FIND was answered with status {status.Status:04X}")

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise LateError
        return left

    def _studies(self, association: Association, wanted: dict[str, str], scan: Scan, days: int) -> list[str]:
        """UIDs of earlier studies, the newest first."""
        first, last = scan.study_date - timedelta(days=days), scan.study_date
        query = Dataset()
        query.SpecificCharacterSet = "ISO_IR 192"
        query.QueryRetrieveLevel = "STUDY"
        query.StudyInstanceUID = ""
        query.StudyDate = f"{first:%Y%m%d}-{last:%Y%m%d}"
        query.StudyTime = ""
        query.ModalitiesInStudy = ""
        for name, value in wanted.items():
            setattr(query, name, value)
        found = set()
        for answer in self.find(association, query):
            uid, made = text_value(answer, "StudyInstanceUID"), text_value(answer, "StudyDate")
            modalities = answer.get("ModalitiesInStudy")
            has_reports = not modalities or "SR" in modalities
            if uid and uid != scan.study_instance_uid and DATE.fullmatch(made) and has_reports:
                found.add((made, time_of_day(text_value(answer, "StudyTime")), uid))
        return [uid for _, _, uid in sorted(found, reverse=True)]

    def _reports(self, association: Association, study: str, known: Collection[str]) -> list[tuple[str, str]]:
        """Series and instance UIDs of what may be reports of ours."""
        query = Dataset()
        query.QueryRetrieveLevel = "SERIES"
        query.StudyInstanceUID = study
        query.SeriesInstanceUID = ""
        query.Modality = "SR"
        reports = []
        series = [text_value(answer, "SeriesInstanceUID") for answer in self._of_modality(association, query)]
        for uid in series:
            if not uid.startswith(OWN_UID_ROOT):
                self.remarks.append(SearchRemark.OTHER_REPORTS)
                continue
            query = Dataset()
            query.QueryRetrieveLevel = "IMAGE"
            query.StudyInstanceUID = study
            query.SeriesInstanceUID = uid
            query.SOPInstanceUID = ""
            query.SOPClassUID = ""
            for answer in self.find(association, query):
                instance, kind = text_value(answer, "SOPInstanceUID"), text_value(answer, "SOPClassUID")
                if instance.startswith(OWN_UID_ROOT) and kind in ("", COMPREHENSIVE_3D_SR):
                    reports.append((uid, instance))
        if len(reports) > MOST_REPORTS_OF_A_STUDY:
            self.remarks.append(SearchRemark.PACS_INCOMPLETE)
        return [one for one in reports[:MOST_REPORTS_OF_A_STUDY] if one[1] not in known]

    def _of_modality(self, association: Association, query: Dataset) -> Iterator[Dataset]:
        """An SCP that doesn't match by modality answers with all series."""
        for answer in self.find(association, query):
            if text_value(answer, "Modality") in ("", "SR"):
                yield answer

    def _fetch(self, association: Association, study: str, reports: Sequence[tuple[str, str]]) -> None:
        for series, instance in reports:
            query = Dataset()
            query.QueryRetrieveLevel = "IMAGE"
            query.StudyInstanceUID = study
            query.SeriesInstanceUID = series
            query.SOPInstanceUID = instance
            report = self._retrieve(association, query)
            if report is None:
                self.remarks.append(SearchRemark.PACS_INCOMPLETE)
            else:
                self._take(report)

    def _retrieve(self, association: Association, query: Dataset) -> Dataset | None:
        uid, expecting = str(query.SOPInstanceUID), self._pacs.expecting
        if self._pacs.method == "get":
            self._end(association.send_c_get(query, STUDY_ROOT_GET))
            return self._received.pop(uid, None)
        if expecting is None:
            raise NotThereError("nobody listens for C-MOVE")
        came = expecting.wait([uid])
        self._end(association.send_c_move(query, self._pacs.peer.calling_ae_title, STUDY_ROOT_MOVE))
        return came().get(uid)

    def _end(self, answers: Iterator[tuple[Dataset, Dataset | None]]) -> None:
        """Read the answers to the end; what failed is what didn't come."""
        for status, _ in answers:
            self._left()
            if "Status" not in status:
                raise NotThereError(f"{self._pacs.peer}: no answer to C-{self._pacs.method.upper()}")

    def _keep(self, event: evt.Event) -> int:
        """C-STORE sub-operation of C-GET."""
        try:
            if len(event.request.DataSet.getvalue()) > MAXIMUM_REPORT_BYTES:
                return 0xA700
            self._received[str(event.request.AffectedSOPInstanceUID)] = event.dataset
        except Exception:  # a data set that pydicom can't read
            return 0xC000
        return _SUCCESS

    def _take(self, report: Dataset) -> None:
        try:
            result = read_own_report(report, "pacs")
            self.candidates.append(Candidate(Patient.of(report).marks, result))
        except NotOurReportError:
            self.remarks.append(SearchRemark.OTHER_REPORTS)
        except PriorError:
            self.remarks.append(SearchRemark.UNREADABLE_REPORTS)


def _name(uid: str) -> str:
    return {
        STUDY_ROOT_FIND: "C-FIND",
        STUDY_ROOT_GET: "C-GET",
        STUDY_ROOT_MOVE: "C-MOVE",
        COMPREHENSIVE_3D_SR: "Comprehensive 3D SR by C-GET",
    }[uid]

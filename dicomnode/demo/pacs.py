"""A small PACS for demonstrations where Orthanc is not installed: storage, C-FIND, C-GET, commitment.

It keeps headers in memory and files in a folder; it is no archive.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

SUCCESS = 0x0000
PENDING = 0xFF00
CANNOT_UNDERSTAND = 0xC000
NO_SUCH_OBJECT_INSTANCE = 0x0112
UNIQUE_KEYS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


class SmallPacs:
    """Storage SCP on loopback that also answers C-ECHO, C-FIND, C-GET and storage commitment.

    Parameters
    ----------
    directory:
        Folder for the instances, made when missing.
    ae_title:
        Its AE title.
    """

    name = "a small storage SCP of dicomnode's own"

    def __init__(self, directory: Path, ae_title: str = "PACS") -> None:
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._headers: dict[str, Dataset] = {}
        self._lock = threading.Lock()
        self.ae_title = ae_title
        self._ae = AE(ae_title)
        for context in AllStoragePresentationContexts:
            self._ae.add_supported_context(
                context.abstract_syntax, ALL_TRANSFER_SYNTAXES, scu_role=True, scp_role=True
            )
        for sop_class in (
            Verification,
            StudyRootQueryRetrieveInformationModelFind,
            StudyRootQueryRetrieveInformationModelGet,
            StorageCommitmentPushModel,
        ):
            self._ae.add_supported_context(sop_class)
        self._server: Any = None
        self.port = 0

    def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 takes a free one, :attr:`port` then tells which."""
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_GET, self._get),
            (evt.EVT_N_ACTION, self._commit),
        ]
        self._server = self._ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        self.port = self._server.socket.getsockname()[1]

    def stop(self) -> None:
        """Close the port and all associations."""
        if self._server:
            self._server.shutdown()

    def _store(self, event: evt.Event) -> int:
        uid = UID(event.request.AffectedSOPInstanceUID)
        if not uid.is_valid:  # it becomes a file name
            return CANNOT_UNDERSTAND
        path = self._path(uid)
        path.write_bytes(event.encoded_dataset())
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(_SEARCHABLE))
        with self._lock:
            self._headers[uid] = header
        return SUCCESS

    def _path(self, sop_instance_uid: str) -> Path:
        return self._directory / f"{sop_instance_uid}.dcm"

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        level = str(query.get("QueryRetrieveLevel", "SERIES"))
        found = {str(header.get(UNIQUE_KEYS[level])): header for header in self._matching(query)}
        for header in found.values():
            answer = Dataset()
            for element in query:
                answer.add_new(element.tag, element.VR, header.get(element.tag, element).value)
            answer.QueryRetrieveLevel = level
            yield PENDING, answer

    def _matching(self, query: Dataset) -> list[Dataset]:
        with self._lock:
            headers = list(self._headers.values())
        wanted = {
            keyword: query.get(keyword)
            for keyword in (*UNIQUE_KEYS.values(), "Modality", "PatientID")
            if query.get(keyword)
        }
        return [header for header in headers if all(_equals(header.get(k), v) for k, v in wanted.items())]

    def _get(self, event: evt.Event) -> Iterator[Any]:
        found = self._matching(event.identifier)
        yield len(found)
        for header in found:
            yield PENDING, dcmread(self._path(header.SOPInstanceUID))

    def _commit(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """Storage commitment (PS3.4 Annex J): the answer follows on the same association."""
        request = event.action_information
        report = Dataset()
        report.TransactionUID = request.TransactionUID
        known, unknown = [], []
        for item in request.ReferencedSOPSequence:
            if item.ReferencedSOPInstanceUID in self._headers:
                known.append(item)
            else:
                item.FailureReason = NO_SUCH_OBJECT_INSTANCE
                unknown.append(item)
        report.ReferencedSOPSequence = Sequence(known)
        if unknown:
            report.FailedSOPSequence = Sequence(unknown)
        event_type = 2 if unknown else 1
        threading.Thread(target=_report_commitment, args=(event, report, event_type), daemon=True).start()
        return SUCCESS, None


_SEARCHABLE = (
    *UNIQUE_KEYS.values(),
    "SOPClassUID",
    "Modality",
    "PatientID",
    "PatientName",
    "StudyDate",
    "SeriesDescription",
    "SeriesNumber",
    "SpecificCharacterSet",
)


def _equals(value: Any, wanted: Any) -> bool:
    return str(value) in ([wanted] if isinstance(wanted, str) else [str(one) for one in wanted])


def _report_commitment(event: evt.Event, report: Dataset, event_type: int) -> None:
    with contextlib.suppress(RuntimeError, ValueError):  # the requestor has gone; it will ask again
        event.assoc.send_n_event_report(
            report, event_type, StorageCommitmentPushModel, event.request.RequestedSOPInstanceUID
        )

"""What a workstation does: ask the PACS which series a study has (C-FIND) and fetch them (C-GET)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from dicomnode.demo.orthanc import PacsError

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
ENHANCED_SR_STORAGE = "1.2.840.10008.5.1.4.1.1.88.22"
COMPREHENSIVE_3D_SR_STORAGE = "1.2.840.10008.5.1.4.1.1.88.34"
SECONDARY_CAPTURE_STORAGE = "1.2.840.10008.5.1.4.1.1.7"
RETRIEVED_CLASSES = (
    SEGMENTATION_STORAGE,
    ENHANCED_SR_STORAGE,
    COMPREHENSIVE_3D_SR_STORAGE,
    SECONDARY_CAPTURE_STORAGE,
    CTImageStorage,
)
PENDING = (0xFF00, 0xFF01)
SUCCESS = 0x0000


@dataclass(frozen=True)
class FoundSeries:
    """A series that the PACS has."""

    series_instance_uid: str
    modality: str
    description: str


@dataclass(frozen=True)
class PacsClient:
    """C-FIND and C-GET SCU of one PACS on loopback."""

    port: int
    ae_title: str
    calling_ae_title: str = "WORKSTATION"

    def find_series(self, study_instance_uid: str) -> list[FoundSeries]:
        """The series of a study, as the PACS lists them."""
        query = Dataset()
        query.QueryRetrieveLevel = "SERIES"
        query.StudyInstanceUID = study_instance_uid
        query.SeriesInstanceUID = ""
        query.Modality = ""
        query.SeriesDescription = ""
        ae = AE(self.calling_ae_title)
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        association = self._associate(ae)
        answers = list(association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind))
        association.release()
        return [
            FoundSeries(str(answer.SeriesInstanceUID), str(answer.Modality), str(answer.SeriesDescription))
            for status, answer in answers
            if status and status.Status in PENDING and answer
        ]

    def get_series(self, study_instance_uid: str, series_instance_uid: str) -> list[Dataset]:
        """All instances of a series.

        Raises
        ------
        PacsError
            If the PACS answers C-GET with a failure.
        """
        query = Dataset()
        query.QueryRetrieveLevel = "SERIES"
        query.StudyInstanceUID = study_instance_uid
        query.SeriesInstanceUID = series_instance_uid
        ae = AE(self.calling_ae_title)
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
        roles = []
        for sop_class in RETRIEVED_CLASSES:
            ae.add_requested_context(sop_class)
            roles.append(build_role(sop_class, scp_role=True))
        received: list[Dataset] = []

        def keep(event: evt.Event) -> int:
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            received.append(dataset)
            return SUCCESS

        association = self._associate(ae, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, keep)])
        last = SUCCESS
        for status, _ in association.send_c_get(query, StudyRootQueryRetrieveInformationModelGet):
            last = int(status.Status) if status else -1
        association.release()
        if last != SUCCESS:
            raise PacsError(f"the PACS answered C-GET with status 0x{last:04X}")
        return received

    def _associate(self, ae: AE, **options: Any) -> Any:
        association = ae.associate("127.0.0.1", self.port, ae_title=self.ae_title, **options)
        if not association.is_established:
            raise PacsError(f"the PACS {self.ae_title} does not accept an association on port {self.port}")
        return association

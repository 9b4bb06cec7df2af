"""Whose result is it? Read from the file that is sent, since the ledger knows no patients."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicomnode.audit.trail import SentInstance
from dicomnode.receive.patient import Patient, clean

_TAGS = ["StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber", "SOPClassUID"]


def sent_instance(path: Path, error: str) -> SentInstance | None:
    """The instance in a file that was offered to a destination; ``None`` if the file can't be read.

    Parameters
    ----------
    error:
        Why the destination doesn't have it; empty if it does.
    """
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except (OSError, InvalidDicomError):
        return None
    patient = Patient(*(clean(str(header.get(name) or "")) for name in _TAGS[1:4]))
    return SentInstance(str(header.get("StudyInstanceUID", "")), patient, str(header.SOPClassUID), error)

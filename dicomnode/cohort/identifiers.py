"""Who a series is of: read from one of its files, and only where the person asks for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pydicom

from dicomnode.assemble.series import BROKEN

COLUMNS = {
    "patient_id": "PatientID",
    "patient_birth_date": "PatientBirthDate",
    "patient_sex": "PatientSex",
    "patient_age": "PatientAge",
    "study_date": "StudyDate",
    "accession_number": "AccessionNumber",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
}
"""Columns and the attributes that fill them; names of patients aren't needed to join tables."""

FOLDER = "folder"


def read_identity(paths: Sequence[Path]) -> dict[str, str]:
    """Identifiers of a series from its first file, and the folder that holds all of its files.

    What the header lacks, or says in a way that can't be read, is an empty text.
    """
    try:
        header = pydicom.dcmread(paths[0], stop_before_pixels=True, specific_tags=list(COLUMNS.values()))
        found = {column: _text(header, keyword) for column, keyword in COLUMNS.items()}
    except BROKEN:
        found = dict.fromkeys(COLUMNS, "")
    folder = os.path.commonpath([path.parent for path in paths])
    return {**found, FOLDER: folder.encode("utf-8", "backslashreplace").decode()}


def _text(header: pydicom.Dataset, keyword: str) -> str:
    try:
        return " ".join(str(header.get(keyword) or "").split())
    except BROKEN:
        return ""

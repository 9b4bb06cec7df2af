"""Whose data set it is, as text, for the audit trail and the log of identifiers."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.charset import convert_encodings, decode_bytes

from dicomnode.receive.dataset_scan import PatientElements

_TEXT_DELIMITERS = {0x0A, 0x0C, 0x0D, 0x09}
_NAME_DELIMITERS = {0x5E, 0x3D}  # ^ and =


@dataclass(frozen=True)
class Patient:
    """Identifiers of a patient, without control characters; empty where they are missing."""

    id: str = ""
    name: str = ""
    accession_number: str = ""


def decode_patient(elements: PatientElements) -> Patient:
    """Decode what stands in a data set; what can't be decoded is replaced, nothing raises."""
    character_set = elements.character_set.rstrip(b"\0 ").decode("ascii", errors="replace").split("\\")
    try:
        encodings = convert_encodings([name.strip() for name in character_set])
    except (LookupError, ValueError):  # a name with a null character
        encodings = ["ascii"]
    return Patient(
        id=_text(elements.patient_id, encodings, _TEXT_DELIMITERS),
        name=_text(elements.patient_name, encodings, _NAME_DELIMITERS),
        accession_number=_text(elements.accession_number, ["ascii"], _TEXT_DELIMITERS),
    )


def _text(value: bytes, encodings: list[str], delimiters: set[int]) -> str:
    try:
        text = decode_bytes(value, encodings, delimiters)
    except (LookupError, ValueError):
        text = value.decode("ascii", errors="replace")
    return clean(text)


def clean(text: str) -> str:
    """One line without control characters or lone surrogates, which neither a log nor XML may hold."""
    return "".join(character if character.isprintable() else " " for character in text).strip()

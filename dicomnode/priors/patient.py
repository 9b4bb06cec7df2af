"""Whose scan it is: identifiers as the site compares them, and as digests that may be kept."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from pydicom.dataset import Dataset

from dicomnode.report.identity import DATE

BIRTH_DATE, SEX = "PatientBirthDate", "PatientSex"
KEYWORDS = ("PatientID", "IssuerOfPatientID", "PatientName", BIRTH_DATE, SEX)
"""What is compared, and what is kept of a patient, as digests."""

_SEXES = ("M", "F", "O")
_NAME_PADDING = re.compile(r"[\^ ]+(?==|$)")


class Sameness(Enum):
    """Whether two scans are of one patient."""

    SAME = "same"
    UNCONFIRMED = "unconfirmed"  # the identifiers are the same, a birth date is missing
    OTHER = "other"  # an identifier differs
    CONTRADICTED = "contradicted"  # the identifiers are the same, birth date or sex are not


@dataclass(frozen=True)
class Patient:
    """The identifiers of an object's patient by keyword; what it doesn't have is left out."""

    values: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, source: Dataset) -> Patient:
        """Read from a dataset, whatever its character set."""
        read = {keyword: _text(source, keyword) for keyword in KEYWORDS}
        if not DATE.fullmatch(read[BIRTH_DATE]):
            read[BIRTH_DATE] = ""
        if read[SEX] not in _SEXES:
            read[SEX] = ""
        return cls({keyword: value for keyword, value in read.items() if value})

    @property
    def marks(self) -> dict[str, str]:
        """A SHA-256 in hex for each identifier: tells patients apart without naming them."""
        return {
            keyword: hashlib.sha256(f"{keyword}\n{value}".encode()).hexdigest()
            for keyword, value in self.values.items()
        }


def compare_patients(
    one: Mapping[str, str], other: Mapping[str, str], identifiers: Sequence[str]
) -> Sameness:
    """Compare the marks of two patients.

    An identifier that only one of them has is a difference: the same number from another issuer is another
    patient. Birth date and sex contradict only where both are known.
    """
    if any(one.get(name) != other.get(name) for name in identifiers):
        return Sameness.OTHER
    if any(one[name] != other[name] for name in (BIRTH_DATE, SEX) if name in one and name in other):
        return Sameness.CONTRADICTED
    return Sameness.SAME if BIRTH_DATE in one and BIRTH_DATE in other else Sameness.UNCONFIRMED


def _text(source: Dataset, keyword: str) -> str:
    value = unicodedata.normalize("NFC", str(source.get(keyword) or "")).strip(" \0")
    return _NAME_PADDING.sub("", value) if keyword == "PatientName" else value

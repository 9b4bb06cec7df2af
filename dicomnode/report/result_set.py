"""The result objects of one series, and how one of them is referred to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from dicomnode.report.errors import ReportError

LanguageName = Literal["en", "fr", "de", "zh", "ja", "ko"]
"""Languages of the labels of reports."""

SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."
"""Every SOP class of structured reports begins with it (PS3.4 B.5)."""

UID = re.compile(r"[0-9.]{1,64}")
"""What may stand in a UID; a source's own slips, such as a leading zero, are kept as they are."""


class ResultKind(StrEnum):
    """Kinds of result object; a destination's ``accepts`` names them."""

    SEG = "seg"
    SR = "sr"
    SC = "sc"
    OVERLAY = "overlay"
    PDF = "pdf"
    KO = "ko"
    GSPS = "gsps"
    LABEL_MAP = "labelmap"
    FHIR = "fhir"


@dataclass(frozen=True)
class FurtherResults:
    """What is made besides SEG, SR and the picture, which always are, and how.

    ``kinds`` may hold any kind; ``multiframe`` makes the overlay one object instead of one a slice;
    ``language`` is that of the labels of reports.
    """

    kinds: frozenset[ResultKind] = frozenset()
    multiframe: bool = False
    language: LanguageName = "en"

    @classmethod
    def of(
        cls, kinds: Iterable[str], multiframe: bool = False, language: LanguageName = "en"
    ) -> FurtherResults:
        """From the names of the kinds."""
        return cls(frozenset(map(ResultKind, kinds)), multiframe, language)

    def to_json(self) -> dict[str, Any]:
        """What :meth:`of` takes."""
        return {"kinds": sorted(self.kinds), "multiframe": self.multiframe, "language": self.language}


NOTHING_FURTHER = FurtherResults()


@dataclass(frozen=True)
class DocumentReference:
    """A structured report as another one refers to it (PS3.3 C.17.2).

    Raises
    ------
    ReportError
        If a part is no UID, or the object is no structured report.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str

    def __post_init__(self) -> None:
        for field in fields(self):
            if not UID.fullmatch(getattr(self, field.name)):
                raise ReportError(f"{field.name} of a document reference is no UID")
        if not self.sop_class_uid.startswith(SR_CLASSES):
            raise ReportError(f"an object of the SOP class {self.sop_class_uid} is no structured report")


@dataclass(frozen=True)
class ResultFile:
    """One result on disk, DICOM (Part 10); the series is the result's own.

    A FHIR bundle has a UID of ours, and neither SOP class nor series.
    """

    kind: ResultKind
    sop_class_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    path: Path


@dataclass(frozen=True)
class ResultSet:
    """All DICOM results of one series, in the order in which they are delivered (SEG, SR, SC, others)."""

    files: tuple[ResultFile, ...]

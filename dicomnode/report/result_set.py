"""The result objects of one series."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class ResultKind(StrEnum):
    """Kinds of result object; a destination's ``accepts`` names them."""

    SEG = "seg"
    SR = "sr"


@dataclass(frozen=True)
class ResultFile:
    """One DICOM result on disk (Part 10)."""

    kind: ResultKind
    sop_class_uid: str
    sop_instance_uid: str
    path: Path


@dataclass(frozen=True)
class ResultSet:
    """All DICOM results of one series, in the order in which they are delivered (SEG before the SR)."""

    files: tuple[ResultFile, ...]

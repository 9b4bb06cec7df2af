"""The series in a folder: which files belong together, and which files are no images at all."""

from __future__ import annotations

import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.headers import read_header

PREAMBLE = 128
PREFIX = b"DICM"
TAGS = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Modality"]
BROKEN = (InvalidDicomError, EOFError, OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class FileIdentity:
    """Which instance of which series a file is; ``modality`` and the SOP's UIDs may be empty."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    modality: str


@dataclass(frozen=True)
class SeriesFiles:
    """The files of one series, sorted by path; ``modality`` is what most of them say."""

    series_instance_uid: str
    study_instance_uid: str
    modality: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class SeriesListing:
    """What :func:`find_series` found; iterates over the series.

    ``ignored`` are files that are no DICOM images: other formats and DICOMDIR. ``damaged`` can't be read as
    far as their series, or not at all: they may be missing slices, so a caller should say so.
    """

    series: tuple[SeriesFiles, ...]
    ignored: tuple[Path, ...] = ()
    damaged: tuple[Path, ...] = ()

    def __iter__(self) -> Iterator[SeriesFiles]:
        return iter(self.series)

    def __len__(self) -> int:
        return len(self.series)


def find_series(directory: Path) -> SeriesListing:
    """Group every DICOM file under ``directory`` by study and series; links to folders are not followed.

    Raises
    ------
    NotADirectoryError
        If ``directory`` is none.
    """
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is not a folder")
    return group_series(_files_under(directory))


def group_series(paths: Iterable[Path]) -> SeriesListing:
    """Group files by study and series, in the order of the first file of each."""
    groups: dict[tuple[str, str], list[tuple[Path, str]]] = defaultdict(list)
    ignored, damaged = [], []
    for path in sorted(paths):
        try:
            identity = identify(path)
        except AssembleError:
            damaged.append(path)
            continue
        if identity is None:
            ignored.append(path)
        else:
            key = (identity.study_instance_uid, identity.series_instance_uid)
            groups[key].append((path, identity.modality))
    series = tuple(
        SeriesFiles(
            series_instance_uid=series_instance_uid,
            study_instance_uid=study_instance_uid,
            modality=Counter(modality for _, modality in files).most_common(1)[0][0],
            paths=tuple(path for path, _ in files),
        )
        for (study_instance_uid, series_instance_uid), files in groups.items()
    )
    return SeriesListing(series, tuple(ignored), tuple(damaged))


def identify(path: Path) -> FileIdentity | None:
    """What the header of one file says of its series; ``None`` if it is no DICOM image.

    Raises
    ------
    AssembleError
        If the file can't be opened, or is DICOM and can't be read as far as its series.
    """
    try:
        identity = _read_identity(path) if _is_dicom(path) else None
    except BROKEN as error:
        raise AssembleError("the file can't be read as far as its series") from error
    if identity is not None and not (identity.study_instance_uid and identity.series_instance_uid):
        raise AssembleError("the file doesn't say which study and series it belongs to")
    return identity


def _files_under(directory: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(directory):
        yield from (Path(folder) / name for name in names)


def _is_dicom(path: Path) -> bool:
    if not path.is_file():  # a dangling link, a socket
        return False
    with path.open("rb") as file:
        return file.read(PREAMBLE + len(PREFIX))[PREAMBLE:] == PREFIX


def _read_identity(path: Path) -> FileIdentity | None:
    """``None`` for a DICOMDIR."""
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
    except zlib.error:  # deflated and cut short
        header = read_header(path)
        return FileIdentity(
            header.study_instance_uid,
            header.series_instance_uid,
            header.sop_instance_uid,
            header.sop_class_uid,
            header.modality or "",
        )
    if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return None
    return FileIdentity(*(str(dataset.get(keyword) or "") for keyword in TAGS))

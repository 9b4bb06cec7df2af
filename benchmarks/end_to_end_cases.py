"""The series that the end-to-end benchmark sends, uncompressed, since dicom-ai-router takes nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicomnode.demo.phantom_ct import SPEC
from dicomnode.phantom import PhantomSpec, build_phantom, write_series


@dataclass(frozen=True)
class Case:
    """A series on disk."""

    name: str
    folder: Path
    slices: int


@dataclass(frozen=True)
class Sent:
    """A copy under UIDs of its own."""

    folder: Path
    study: str
    series: str


def phantom(slices: int, folder: Path, matrix: int = 512) -> Case:
    """A chest with pneumonia of so many slices; kept in ``folder`` for the next time."""
    directory = folder / f"phantom-{slices}-{matrix}"
    if not (directory / "done").exists():
        print(f"building a phantom chest of {slices} slices ...", file=sys.stderr)
        spec = PhantomSpec.whole_lung((slices, matrix, matrix), seed=3, lesions=SPEC.lesions)
        write_series(build_phantom(spec), directory)
        (directory / "done").touch()
    return Case(f"phantom, {slices} slices", directory, slices)


def patient(ct: Path, folder: Path) -> Case:
    """A real series, decompressed."""
    directory = folder / "patient"
    directory.mkdir(parents=True, exist_ok=True)
    paths = sorted(ct.glob("*.dcm"))
    for path in paths:
        if not (directory / path.name).exists():
            dataset = dcmread(path)
            if dataset.file_meta.TransferSyntaxUID.is_compressed:
                dataset.decompress()
            dataset.save_as(directory / path.name, enforce_file_format=True)
    return Case(f"{ct.name}, {len(paths)} slices", directory, len(paths))


def copies(case: Case, folder: Path) -> Iterator[Sent]:
    """Copies without end, each with new study, series and instance UIDs."""
    number = 0
    while True:
        copy = Sent(folder / f"copy-{number}", generate_uid(), generate_uid())
        copy.folder.mkdir(parents=True)
        for path in case.folder.glob("*.dcm"):
            dataset = dcmread(path)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = copy.study, copy.series
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.save_as(copy.folder / path.name, enforce_file_format=True)
        yield copy
        number += 1

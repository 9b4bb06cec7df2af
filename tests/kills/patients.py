"""CT series to send: copies of real ones (or of a phantom) with identifiers of their own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicomnode.phantom import PhantomSpec, build_phantom, write_series
from tests.dicom_network import dataset_bytes

MEASURED = "chest"
"""The only template that the node measures; of the others it says why not."""


@dataclass(frozen=True)
class SentInstance:
    """A file to be sent and what the spool must hold of it."""

    path: Path
    sop_instance_uid: str
    sha256: str


@dataclass(frozen=True)
class SentSeries:
    """A series to be sent."""

    template: str
    series_instance_uid: str
    instances: tuple[SentInstance, ...]

    @property
    def paths(self) -> list[Path]:
        return [instance.path for instance in self.instances]


class Patients:
    """Makes series.

    Parameters
    ----------
    chest:
        Files of a whole chest CT, small enough to be measured in seconds.
    others:
        Files of series that are refused, by name.
    """

    def __init__(
        self, chest: Sequence[Path], others: Mapping[str, Sequence[Path]], directory: Path, rng: random.Random
    ) -> None:
        whole = _read(chest)
        whole.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
        half = len(whole) // 2
        self._templates: dict[str, list[Dataset]] = {
            MEASURED: whole,
            "few slices": whole[:4],
            "upper half": whole[half:],
            "gap": whole[:6] + whole[8:14],
            **{name: _read(paths) for name, paths in others.items()},
        }
        self._directory = directory
        self._rng = rng
        self._count = 0

    def next(self, *, measured: bool) -> SentSeries:
        """One more series, of one that the node will measure or of one that it will refuse."""
        refused = [name for name in self._templates if name != MEASURED]
        name = MEASURED if measured else self._rng.choice(refused)
        folder = self._directory / f"{self._count:05d}"
        folder.mkdir(parents=True)
        self._count += 1
        study, series = self._uid(), self._uid()
        made = date(2024, 1, 1) + timedelta(
            days=self._count
        )  # serial scans: each is compared with the last ones
        instances = []
        for number, dataset in enumerate(self._templates[name]):
            uid = self._uid()
            dataset.PatientID, dataset.StudyDate = "CAMPAIGN", f"{made:%Y%m%d}"
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = study, series, uid
            dataset.file_meta.MediaStorageSOPInstanceUID = uid
            path = folder / f"{number:04d}.dcm"
            dataset.save_as(path, implicit_vr=False, little_endian=True)
            instances.append(SentInstance(path, uid, hashlib.sha256(dataset_bytes(path)).hexdigest()))
        return SentSeries(name, series, tuple(instances))

    def _uid(self) -> str:
        return f"2.25.{self._rng.getrandbits(122)}"


def _read(paths: Sequence[Path]) -> list[Dataset]:
    """Data sets in the encoding that storescu and the node agree on, so that bytes can be compared."""
    datasets = [dcmread(path) for path in sorted(paths)]
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return datasets


def templates(data: Path | None, scratch: Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """A chest CT and refused series out of the real data, or a phantom's where there is none."""
    if data is None:
        phantom = build_phantom(PhantomSpec.whole_lung((60, 64, 64), seed=3))
        return write_series(phantom, scratch / "phantom"), {}
    refused = ("gantrytilting/001", "notavolume/001", "sliceincrement/001", "sliceincrement/002")
    others = {name: sorted((data / "refuse" / name).iterdir()) for name in refused}
    return sorted((data / "cip_ct64_chest").glob("*.dcm")), others

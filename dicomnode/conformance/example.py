"""Two small series, as unlike as can be, and the result objects that the node makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicomnode.assemble.refusal import RefusalReason
from dicomnode.assemble.volume import Acquisition, SourceInstance, Volume
from dicomnode.measure.change import compare
from dicomnode.measure.course import Course
from dicomnode.measure.measurements import Measurements
from dicomnode.measure.priors import COMPARED, EarlierResult, Findings, Maker, Scan, SearchRemark
from dicomnode.pipeline import input_sha256, measure_volume
from dicomnode.report.canvas import Page
from dicomnode.report.identity import Identity, read_header
from dicomnode.report.picture_series import write_overlay
from dicomnode.report.provenance import Provenance
from dicomnode.report.record import measurements_record
from dicomnode.report.refusal import build_refusal
from dicomnode.report.result_set import DocumentReference, FurtherResults, ResultKind
from dicomnode.report.results import build_results
from dicomnode.report.sr import COMPREHENSIVE_3D_SR
from dicomnode.segment.confidence import SURE, Confidence, ErrorModel
from dicomnode.segment.segmentation import Lobe, ModelIdentity, Segmentation

FURTHER = (ResultKind.OVERLAY, ResultKind.PDF, ResultKind.KO, ResultKind.GSPS)
ROOT = "1.2.826.0.1.3680043.8.498"

ERROR = ErrorModel(
    low_probability=0.2,
    high_probability=0.8,
    least_spread=0.3,
    least_piece_spread=0.1,
    lesion_errors=tuple(step / 10 for step in range(-10, 11)),
    weight_errors=tuple(step / 10 for step in range(-10, 11)),
    lobe_sd=0.5,
    region_sd=0.8,
    held_out="21 cases",
    ggo_errors=tuple(step / 10 for step in range(-10, 11)),
    consolidation_errors=tuple(step / 10 for step in range(-10, 11)),
)
"""Of a model whose error was measured; the statement tells where it stands, not these numbers."""


@dataclass(frozen=True)
class Example:
    """What the two series differ in; what is the same in both results is a constant of the node."""

    number: int
    slices: int
    spacing_mm: tuple[float, float, float]
    reason: RefusalReason
    detail: str
    page: tuple[int, int]
    lossy: bool = False
    is_successor: bool = False
    has_earlier_result: bool = False
    has_every_segment: bool = False

    @property
    def root(self) -> str:
        """Of its UIDs."""
        return f"{ROOT}.{self.number}"

    @property
    def software(self) -> str:
        """Name and version of the software."""
        return f"dicomnode {self.number}.0"


EXAMPLES = (
    Example(
        *(1, 6, (5.0, 7.5, 8.0), RefusalReason.GAP, "Slices are missing.", (64, 48)),
        has_every_segment=True,
        has_earlier_result=True,
    ),
    Example(
        *(2, 8, (2.5, 0.8, 0.7), RefusalReason.NOT_AXIAL, "The slices are coronal.", (80, 60)),
        lossy=True,
        is_successor=True,
    ),
)


@dataclass(frozen=True)
class ExampleObjects:
    """One object of each kind, of each example; ``further`` by kind, an overlay of many frames apart."""

    measured: tuple[Dataset, ...]
    segmentations: tuple[Dataset, ...]
    refusals: tuple[Dataset, ...]
    pictures: tuple[Dataset, ...]
    further: Mapping[str, tuple[Dataset, ...]]


def example_objects(folder: Path) -> ExampleObjects:
    """Build the objects below ``folder`` with the node's own code and read them back."""
    measured, segmentations, refusals, pictures = [], [], [], []
    further: dict[str, list[Dataset]] = {}
    for example in EXAMPLES:
        volume = _volume(example, folder / f"source-{example.number}")
        predecessor = _predecessor(example) if example.is_successor else None
        segmentation = _segmentation(example, volume)
        measurements = measure_volume(volume, segmentation)
        results = build_results(
            volume,
            segmentation,
            measurements,
            _provenance(example, volume, segmentation.model),
            Page(Image.new("RGB", example.page)),
            folder / f"results-{example.number}",
            predecessor,
            _course(example, measurements) if example.has_earlier_result else None,
            further=FurtherResults.of(FURTHER),
        )
        by_kind = {file.kind: dcmread(file.path) for file in results.files}
        segmentations.append(by_kind[ResultKind.SEG])
        measured.append(by_kind[ResultKind.SR])
        pictures.append(by_kind[ResultKind.SC])
        for kind in FURTHER:
            further.setdefault(kind, []).append(by_kind[kind])
        (frames,) = write_overlay(
            folder,
            volume,
            segmentation,
            multiframe=True,
            origin=(example.root,),
            identity=Identity.from_source(read_header(volume.instances[0].path)),
            software=[example.software],
            lossy=Dataset(),
            description="dicomnode lung overlay",
        )
        further.setdefault("frames", []).append(dcmread(frames.path))
        refusal = build_refusal(
            [instance.path for instance in volume.instances],
            *(example.reason, example.detail, example.software, folder / f"refusal-{example.number}"),
            predecessor,
        )
        by_kind = {file.kind: dcmread(file.path) for file in refusal.files}
        refusals.append(by_kind[ResultKind.SR])
        pictures.append(by_kind[ResultKind.SC])
    return ExampleObjects(
        tuple(measured),
        tuple(segmentations),
        tuple(refusals),
        tuple(pictures),
        {kind: tuple(objects) for kind, objects in further.items()},
    )


def _volume(example: Example, folder: Path) -> Volume:
    folder.mkdir(parents=True)
    z_mm, y_mm, x_mm = example.spacing_mm
    hu = np.full((example.slices, 14 + 2 * example.number, 12 + 4 * example.number), 40, np.int16)
    hu[1:-1, 2:-2, 1:-1] = -850
    hu[2:-2, 3:5, 2:4] = -500
    if example.has_every_segment:
        hu[2:-2, 3:5, -4:-2] = -50
    affine = np.diag([x_mm, y_mm, z_mm, 1.0])
    affine[:3, 3] = -10.5 * example.number, -20.25 * example.number, -300.0 * example.number
    instances = []
    for index in range(example.slices):
        dataset = _slice(example, index, affine)
        path = folder / f"{index}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        instances.append(SourceInstance(dataset.SOPInstanceUID, dataset.SOPClassUID, path))
    return Volume(
        *(hu, affine, tuple(instances), f"{example.root}.1", f"{example.root}.2", f"{example.root}.3"),
        Acquisition(z_mm, "B30f" if example.lossy else None),
    )


def _slice(example: Example, index: int, affine: NDArray[np.float64]) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{example.root}.4.{index + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{example.root}.1", f"{example.root}.2"
    dataset.FrameOfReferenceUID = f"{example.root}.3"
    dataset.SeriesNumber = str(example.number)
    dataset.Manufacturer = f"Maker {example.number}"
    dataset.ContentDate, dataset.ContentTime = f"2024010{example.number}", f"10111{example.number}"
    dataset.ImagePositionPatient = [float(value) for value in (affine @ (0, 0, index, 1))[:3]]
    dataset.RescaleIntercept, dataset.RescaleSlope = str(-1024 * example.number), str(example.number)
    if example.lossy:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = "10"
        dataset.LossyImageCompressionMethod = "ISO_10918_1"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _segmentation(example: Example, volume: Volume) -> Segmentation:
    hu = volume.hu
    labels = np.where(hu < -700, 1, np.where(hu < -100, 2, np.where(hu < 0, 3, 0))).astype(np.uint8)
    middle = hu.shape[2] // 2
    sides = np.where(labels > 0, np.where(np.arange(hu.shape[2]) < middle, 1, 2), 0).astype(np.uint8)
    lobes = np.zeros_like(labels)
    if example.has_every_segment:
        labels[2, -3, 2:4] = 4
        lobes[sides == 1] = np.resize(np.arange(Lobe.RIGHT_UPPER, Lobe.LEFT_UPPER), (sides == 1).sum())
        lobes[sides == 2] = np.resize(np.arange(Lobe.LEFT_UPPER, Lobe.LEFT_LOWER + 1), (sides == 2).sum())
    model = ModelIdentity(f"model_{example.number}", f"{example.number}.0", f"{example.number:x}" * 64)
    doubt = np.where((labels == 2) | (labels == 3), np.uint8(SURE), np.uint8(0))
    return Segmentation(labels, sides, lobes, model, confidence=Confidence(ERROR, doubt))


def _provenance(example: Example, volume: Volume, model: ModelIdentity) -> Provenance:
    return Provenance(
        software=example.software,
        model=model.name,
        model_version=model.version,
        weights_sha256=model.weights_sha256,
        config_sha256=f"{example.number + 2:x}" * 64,
        input_sha256=input_sha256(volume),
        device="cpu",
        parameters=(f"threshold = {example.number}",),
    )


def _course(example: Example, measurements: Measurements) -> Course:
    """With an earlier result of another model, so that there is something to say."""
    root, then = f"{example.root}.7", Maker("dicomnode 0.0", "model_0", "0.0", "0" * 64, "0" * 64)
    numbers = measurements_record(measurements)
    earlier = EarlierResult(
        Scan(f"{root}.1", f"{root}.2", date(2023, 12, 24)),
        then,
        {name: 0 for name in COMPARED if name in numbers},
        *(COMPREHENSIVE_3D_SR, f"{root}.3", f"{root}.4"),
        found_in="ledger",
    )
    now = Scan(f"{example.root}.1", f"{example.root}.2", date(2024, 1, example.number), onset_day=9.0)
    by = replace(then, model="model_1")
    return compare(numbers, by, Findings(now, ("ledger",), (earlier,), (SearchRemark.BIRTH_DATE_UNKNOWN,)))


def _predecessor(example: Example) -> DocumentReference:
    return DocumentReference(
        f"{example.root}.1", f"{example.root}.5", COMPREHENSIVE_3D_SR, f"{example.root}.6"
    )

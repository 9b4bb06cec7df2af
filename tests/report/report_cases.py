"""CT series, masks and measurements, synthetic and real, that the report tests share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicomnode.assemble.volume import Acquisition, SourceInstance, Volume
from dicomnode.measure.course import Course
from dicomnode.measure.measure import measure_segmentation
from dicomnode.measure.measurements import Measurements
from dicomnode.measure.quality import assess_quality
from dicomnode.report.canvas import Page
from dicomnode.report.provenance import Provenance
from dicomnode.report.result_set import NOTHING_FURTHER, DocumentReference, FurtherResults, ResultFile
from dicomnode.report.results import build_results
from dicomnode.segment.anatomy import find_anatomy
from dicomnode.segment.confidence import SURE, Confidence, ErrorModel
from dicomnode.segment.segmentation import ModelIdentity, QualityFlag, Segmentation

MODEL = ModelIdentity("test_threshold", "1.2", "ab" * 32)
PROVENANCE = Provenance("dicomnode 0.0", MODEL.name, MODEL.version, "ab" * 32, "cd" * 32, "ef" * 32, "cpu")
SHAPE = (20, 36, 44)


PAGE = Page(Image.new("RGB", (64, 48), (13, 16, 21)))
"""Stands for the overview where it isn't looked at."""


@dataclass(frozen=True, eq=False)
class Case:
    """What :func:`build_results` makes results of."""

    volume: Volume
    segmentation: Segmentation
    measurements: Measurements
    provenance: Provenance = PROVENANCE

    def build(
        self,
        out: Path,
        predecessor: DocumentReference | None = None,
        page: Page = PAGE,
        course: Course | None = None,
        further: FurtherResults = NOTHING_FURTHER,
    ) -> tuple[ResultFile, ...]:
        """Write the results to ``out``: SEG, SR, secondary capture and what ``further`` names."""
        parts = self.volume, self.segmentation, self.measurements, self.provenance
        return build_results(*parts, page, out, predecessor, course, further=further).files


def axial_affine(
    shape: tuple[int, int, int] = SHAPE, spacing: tuple[float, float, float] = (5.0, 7.5, 8.0)
) -> NDArray[np.float64]:
    """Head-first supine, slices from feet to head; spacing z, y, x in mm."""
    affine = np.diag([spacing[2], spacing[1], spacing[0], 1.0])
    affine[:3, 3] = -120.25, -101.5, -344.125
    return affine


def write_ct(
    folder: Path, hu: NDArray[np.int16], affine: NDArray[np.float64], **attributes: object
) -> Volume:
    """Write a CT series and return the volume that it is; ``attributes`` replace header elements."""
    folder.mkdir(parents=True, exist_ok=True)
    instances = []
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    for z, pixels in enumerate(hu):
        dataset = Dataset()
        dataset.SOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.1.{z + 1}"
        dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.2"
        dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.3"
        dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.4"
        dataset.StudyDate, dataset.StudyTime = "20240229", "101112"
        dataset.ContentDate, dataset.ContentTime = "20240229", "101314.5"
        dataset.Modality = "CT"
        dataset.PatientName, dataset.PatientID = "Doe^Jane", "PAT-1"
        dataset.PatientBirthDate, dataset.PatientSex = "19600101", "F"
        dataset.AccessionNumber, dataset.StudyID = "ACC1", "S1"
        dataset.ReferringPhysicianName = ""
        dataset.StudyDescription = "CT chest"
        dataset.SeriesNumber, dataset.InstanceNumber = "3", str(z + 1)
        dataset.ImagePositionPatient = [round(v, 6) for v in (affine @ (0, 0, z, 1))[:3]]
        dataset.ImageOrientationPatient = [round(v, 9) for v in directions[:, :2].T.reshape(-1)]
        dataset.PixelSpacing = [spacing[1], spacing[0]]
        dataset.SliceThickness = spacing[2]
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = (
            16,
            16,
            15,
            1,
        )
        dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
        dataset.PixelData = pixels.astype("<i2").tobytes()
        for keyword, value in attributes.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{z:04d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        instances.append(SourceInstance(str(dataset.SOPInstanceUID), str(dataset.SOPClassUID), path))
    return Volume(
        hu,
        affine,
        tuple(instances),
        "1.2.826.0.1.3680043.8.498.2",
        "1.2.826.0.1.3680043.8.498.3",
        "1.2.826.0.1.3680043.8.498.4",
        Acquisition(float(spacing[2]), "B30f"),
    )


def thorax(
    shape: tuple[int, int, int] = SHAPE,
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.uint8]]:
    """HU, labels and sides of a box thorax, lopsided along every axis."""
    hu = np.full(shape, 40, np.int16)
    labels, sides = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    z, y, x = shape
    right = np.s_[2 : z - 3, y // 4 : y - 5, 4 : x // 2 - 3]
    left = np.s_[4 : z - 2, y // 3 : y - 4, x // 2 + 2 : x - 5]
    for side, box in ((1, right), (2, left)):
        labels[box], sides[box], hu[box] = 1, side, -850
    ggo = np.s_[4 : z // 2, y // 2 : y // 2 + 7, 6:13]
    dense = np.s_[z // 2 : z // 2 + 4, y // 2 : y // 2 + 4, x // 2 + 5 : x // 2 + 11]
    labels[ggo], hu[ggo] = 2, -520
    labels[dense], hu[dense] = 3, -60
    return hu, labels, sides


def make_case(
    volume: Volume,
    labels: NDArray[np.uint8],
    sides: NDArray[np.uint8],
    lobes: NDArray[np.uint8] | None = None,
    flags: tuple[QualityFlag, ...] = (),
    error: ErrorModel | None = None,
) -> Case:
    """Segmentation and measurements on a volume; with ``error`` the model doubts none of its lesions."""
    doubt = np.where((labels == 2) | (labels == 3), np.uint8(SURE), np.uint8(0))
    segmentation = Segmentation(
        labels,
        sides,
        np.zeros_like(labels) if lobes is None else lobes,
        MODEL,
        flags,
        None if error is None else Confidence(error, doubt),
    )
    quality = assess_quality(
        slice_thickness_mm=volume.acquisition.slice_thickness_mm,
        slice_spacing_mm=volume.spacing_mm[0],
        slices=len(volume.instances),
        kernel=volume.acquisition.kernel,
        contrast=volume.acquisition.contrast,
        further_flags=[flag.value for flag in flags],
    )
    anatomy = find_anatomy(segmentation, volume.affine)
    return Case(
        volume,
        segmentation,
        measure_segmentation(volume.hu, segmentation, anatomy, volume.voxel_ml, quality),
    )


def crude_masks(hu: NDArray[np.int16]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Air and denser spots in the middle of a real chest: no anatomy, but masks of real complexity."""
    _, y, x = hu.shape
    inside = np.zeros(hu.shape, bool)
    inside[:, y // 4 : 3 * y // 4, x // 8 : 7 * x // 8] = True
    labels = np.where(inside & (hu < -200), np.where(hu < -700, 1, np.where(hu < -400, 2, 3)), 0).astype(
        np.uint8
    )
    sides = np.where(labels > 0, np.where(np.arange(x) < x // 2, 1, 2), 0).astype(np.uint8)
    return labels, sides


def read_volume(folder: Path, every: int = 1) -> Volume:
    """A real axial series as a volume; with ``every`` only each n-th slice."""
    datasets = sorted(
        ((dcmread(path), path) for path in folder.glob("*.dcm")),
        key=lambda pair: float(pair[0].ImagePositionPatient[2]),
    )[::every]
    hu = np.stack(
        [
            np.clip(d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept), -1024, 3071)
            for d, _ in datasets
        ]
    ).astype(np.int16)
    first, last = datasets[0][0], datasets[-1][0]
    corner = np.array(first.ImagePositionPatient, float)
    rows, columns = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = rows * first.PixelSpacing[1], columns * first.PixelSpacing[0]
    affine[:3, 2] = (np.array(last.ImagePositionPatient, float) - corner) / (len(datasets) - 1)
    affine[:3, 3] = corner
    return Volume(
        hu,
        affine,
        tuple(SourceInstance(str(d.SOPInstanceUID), str(d.SOPClassUID), path) for d, path in datasets),
        str(first.StudyInstanceUID),
        str(first.SeriesInstanceUID),
        str(first.FrameOfReferenceUID),
        Acquisition(float(first.SliceThickness)),
    )

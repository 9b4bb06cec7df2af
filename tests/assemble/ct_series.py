"""A tiny writer of CT series whose every voxel is known: air, a block of tissue, one marker a slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

ROWS, COLUMNS = 14, 11
ROW_SPACING, COLUMN_SPACING = 0.9, 0.8  # between rows, between columns
INTERCEPT = -1024
SUPINE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ORIGIN = (-170.5, -150.25, -80.0)

Edit = Callable[[int, Dataset], None]


def stored_values(index: int) -> NDArray[np.uint16]:
    """Air of -1000 HU, tissue of 40 HU, one voxel of 100 + index HU off every axis of symmetry."""
    stored = np.full((ROWS, COLUMNS), 24, dtype=np.uint16)
    stored[4:9, 3:8] = 1064
    stored[2, 5] = 1124 + index
    return stored


def write_series(
    directory: Path,
    *,
    count: int = 20,
    spacing: float = 5.0,
    orientation: tuple[float, ...] = SUPINE,
    step: tuple[float, float, float] | None = None,
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
    edit: Edit | None = None,
) -> list[Path]:
    """Slices at ORIGIN + index * step, by default ``spacing`` along the normal; ``edit`` comes last."""
    directory.mkdir(parents=True, exist_ok=True)
    cosines = np.array(orientation).reshape(2, 3)
    along = np.array(step) if step is not None else np.cross(*cosines) * spacing
    paths = []
    for index in range(count):
        dataset = _slice(index, np.array(ORIGIN) + index * along, orientation)
        if edit is not None:
            edit(index, dataset)
        dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
        paths.append(directory / f"{index:03}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def _slice(index: int, position: NDArray[np.float64], orientation: tuple[float, ...]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.9.1.{index + 1}"
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.9.2"
    dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.9.3"
    dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.9.4"
    dataset.PatientName = "Doe^Jane"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.9f}"[:16] for value in orientation]
    dataset.PixelSpacing = [ROW_SPACING, COLUMN_SPACING]
    dataset.SliceThickness = 5
    dataset.ConvolutionKernel = "B30f"
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, INTERCEPT
    dataset.PixelData = stored_values(index).tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset

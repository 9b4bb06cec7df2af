"""A phantom as a classic CT series: one valid CT Image Storage file a slice (PS3.3 A.3)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage

from dicomnode.phantom.build import Phantom
from dicomnode.phantom.encode import set_pixels
from dicomnode.phantom.options import SeriesOptions, SliceOrder, Storage
from dicomnode.phantom.spec import PhantomError

UID_NAMESPACE = uuid.UUID("5d6f2c1e-8f0b-5e55-9a43-2f1d3c7b9e10")
IMPLEMENTATION_CLASS_UID = f"2.25.{uuid.uuid5(UID_NAMESPACE, 'dicomnode.phantom').int}"
_PIXEL_PADDING_VALUE = 0x00280120


def write_series(
    phantom: Phantom, directory: Path, options: SeriesOptions | None = None, **changes: Any
) -> list[Path]:
    """Write a phantom into ``directory`` as one CT series.

    Parameters
    ----------
    phantom:
        What to write.
    directory:
        Made when absent; gets files ``CT00001.dcm`` and so on, named by instance number.
    options, changes:
        Options, and single ones by keyword: ``write_series(p, d, transfer_syntax_uid=RLELossless)``.

    Returns
    -------
    list[Path]
        The files in order of instance number. The same phantom and options give the same bytes.

    Raises
    ------
    PhantomError
        If the options can't hold this phantom, e.g. padding below the stored range.
    """
    chosen = replace(options or SeriesOptions(), **changes)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    identity = _Identity.of(phantom, chosen)
    count = phantom.hu.shape[0]
    order = {
        SliceOrder.ASCENDING: np.arange(count),
        SliceOrder.DESCENDING: np.arange(count)[::-1],
        SliceOrder.SHUFFLED: np.random.default_rng((phantom.spec.seed, 71)).permutation(count),
    }[SliceOrder(chosen.slice_order)]
    paths = []
    for number, index in enumerate(order.tolist(), start=1):
        path = directory / f"CT{number:05d}.dcm"
        dataset = _instance(phantom, chosen, identity, index, number)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


@dataclass(frozen=True)
class _Identity:
    study: str
    series: str
    frame_of_reference: str

    @classmethod
    def of(cls, phantom: Phantom, options: SeriesOptions) -> _Identity:
        spec = repr(phantom.spec)
        patient = f"{options.patient_id}|{options.study_date}|{options.study_time}"
        return cls(
            options.study_instance_uid or _uid("study", spec, patient),
            options.series_instance_uid or _uid("series", spec, repr(options)),
            options.frame_of_reference_uid or _uid("frame of reference", spec, patient),
        )


def _uid(*parts: str) -> str:
    """UUID-5 under 2.25 (PS3.5 B.2): the same parts give the same UID."""
    return f"2.25.{uuid.uuid5(UID_NAMESPACE, chr(31).join(parts)).int}"


def _instance(
    phantom: Phantom, options: SeriesOptions, identity: _Identity, index: int, number: int
) -> Dataset:
    sop_instance_uid = _uid("instance", identity.series, str(index))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = sop_instance_uid
    meta.TransferSyntaxUID = UID(options.transfer_syntax_uid)
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = "DICOMNODE"
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SpecificCharacterSet = options.specific_character_set
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = sop_instance_uid
    _describe(dataset, phantom, options, identity, number)
    _place(dataset, phantom, options, index)
    _store(dataset, phantom, options, index)
    return dataset


def _describe(
    dataset: Dataset, phantom: Phantom, options: SeriesOptions, identity: _Identity, number: int
) -> None:
    """Patient, study, series, equipment and acquisition modules."""
    spec = phantom.spec
    for name in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(dataset, name, options.study_date)
    for name in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
        setattr(dataset, name, options.study_time)
    dataset.PatientName = options.patient_name
    dataset.PatientID = options.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = options.patient_sex
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.AccessionNumber = options.accession_number
    dataset.Modality = "CT"
    dataset.Manufacturer = options.manufacturer
    dataset.ManufacturerModelName = "phantom"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = options.study_description
    dataset.SeriesDescription = options.series_description
    dataset.BodyPartExamined = "CHEST"
    dataset.SliceThickness = f"{spec.spacing_mm[0]:.10g}"
    dataset.KVP = "120"
    dataset.ConvolutionKernel = str(spec.kernel).upper()
    dataset.PatientPosition = str(options.patient_position)
    dataset.StudyInstanceUID = identity.study
    dataset.SeriesInstanceUID = identity.series
    dataset.StudyID = "1"
    dataset.SeriesNumber = options.series_number
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = number
    dataset.FrameOfReferenceUID = identity.frame_of_reference
    dataset.PositionReferenceIndicator = ""


def _place(dataset: Dataset, phantom: Phantom, options: SeriesOptions, index: int) -> None:
    """Image plane module: where the first stored pixel lies and which way rows and columns run."""
    rows, columns = phantom.hu.shape[1:]
    corner = (
        columns - 1 if options.column_sign < 0 else 0,
        rows - 1 if options.row_sign < 0 else 0,
        index,
        1,
    )
    x, y, z = (phantom.affine @ np.array(corner, float))[:3]
    dataset.ImagePositionPatient = [f"{value:.10g}" for value in (x, y, z)]
    dataset.ImageOrientationPatient = [options.column_sign, 0, 0, 0, options.row_sign, 0]
    dataset.SliceLocation = f"{z:.10g}"
    dataset.PixelSpacing = [f"{step:.10g}" for step in phantom.spec.spacing_mm[1:]]


def _store(dataset: Dataset, phantom: Phantom, options: SeriesOptions, index: int) -> None:
    """Image pixel, modality LUT and VOI LUT modules."""
    storage, spec = options.storage, phantom.spec
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = phantom.hu.shape[1:]
    dataset.BitsAllocated = 16
    dataset.BitsStored = storage.bits
    dataset.HighBit = storage.bits - 1
    dataset.PixelRepresentation = int(storage.signed)
    dataset.WindowCenter = "40"
    dataset.WindowWidth = "400"
    dataset.RescaleIntercept = str(storage.intercept)
    dataset.RescaleSlope = f"{storage.slope:g}"
    dataset.RescaleType = "HU"
    if spec.reconstruction_circle:
        padding = int(_stored(np.array([spec.padding_hu]), storage)[0])
        dataset.add_new(_PIXEL_PADDING_VALUE, "SS" if storage.signed else "US", padding)
    stored = _stored(phantom.hu[index][:: options.row_sign, :: options.column_sign], storage)
    set_pixels(dataset, np.ascontiguousarray(stored))


def _stored(hu: NDArray[Any], storage: Storage) -> NDArray[np.integer[Any]]:
    values = np.rint((hu.astype(np.float64) - storage.intercept) / storage.slope)
    low = -(2 ** (storage.bits - 1)) if storage.signed else 0
    high = low + 2**storage.bits - 1
    if values.min() < low or values.max() > high:
        raise PhantomError(
            f"stored values {values.min():.0f} to {values.max():.0f} do not fit into "
            f"{storage.bits} bits {'signed' if storage.signed else 'unsigned'}; choose another pixel_format"
        )
    return values.astype(np.int16) if storage.signed else values.astype(np.uint16)

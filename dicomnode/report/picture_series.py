"""The overlay as Secondary Capture, one object a slice or one of many frames (PS3.3 A.8.1, A.8.5.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from jpeg_ls import encode_array
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless

from dicomnode.assemble.orientation import AxisOrder
from dicomnode.assemble.volume import Volume
from dicomnode.report import codes
from dicomnode.report.header import (
    RESEARCH_USE,
    ObjectUids,
    code_item,
    instance_references,
    new_object,
    object_uids,
)
from dicomnode.report.identity import Identity
from dicomnode.report.overlay import LEGEND_NAMES, OverlayPainter
from dicomnode.report.part10 import write_part10
from dicomnode.report.placing import frame_of_reference, location, orientation, pixel_measures, position
from dicomnode.report.result_set import ResultFile, ResultKind
from dicomnode.report.secondary_capture import SECONDARY_CAPTURE_STORAGE, describe_rgb
from dicomnode.segment.segmentation import Label, Segmentation

MULTIFRAME_TRUE_COLOR_SC = "1.2.840.10008.5.1.4.1.1.7.4"
DERIVATION = "Lung window with lung and lesion masks burnt in"
SLICE_LOCATION_VECTOR = 0x00182005


def write_overlay(
    out: Path,
    volume: Volume,
    segmentation: Segmentation,
    *,
    multiframe: bool,
    origin: Sequence[str],
    identity: Identity,
    software: Sequence[str],
    lossy: Dataset,
    description: str,
) -> list[ResultFile]:
    """Write the slices with lung from head to feet to the folder ``out``, as JPEG-LS Lossless.

    One slice at a time is in memory. ``origin`` is what the UIDs derive from.
    """
    slices = _slices(volume, segmentation)
    if multiframe:
        uids = object_uids(MULTIFRAME_TRUE_COLOR_SC, "overlay multiframe", origin)
        dataset = _new(uids, identity, volume, software, lossy, description)
        _describe_frames(dataset, volume, slices)
        path = out / "overlay.dcm"
        frames = _frames(volume, segmentation, slices)
        write_part10(path, dataset, identity.elements, JPEGLSLossless, frames)
        return [uids.file(ResultKind.OVERLAY, path)]
    files = []
    frames = _frames(volume, segmentation, slices)
    for number, (z, frame) in enumerate(zip(slices, frames, strict=True), start=1):
        uids = object_uids(SECONDARY_CAPTURE_STORAGE, "overlay", origin, str(number))
        dataset = _new(uids, identity, volume, software, lossy, description)
        dataset.InstanceNumber = str(number)
        _describe_slice(dataset, volume, z)
        path = out / f"overlay_{number:04d}.dcm"
        write_part10(path, dataset, identity.elements, JPEGLSLossless, [frame])
        files.append(uids.file(ResultKind.OVERLAY, path))
    return files


def _slices(volume: Volume, segmentation: Segmentation) -> list[int]:
    """Indices of the slices with lung or lesion, from head to feet."""
    found = [z for z, labels in enumerate(segmentation.labels) if labels.any()]
    order = AxisOrder.from_affine(volume.affine)
    return found if 0 in order.flips else found[::-1]


def _frames(volume: Volume, segmentation: Segmentation, slices: Sequence[int]) -> Iterator[bytes]:
    rows, columns = volume.hu.shape[1:]
    has_effusion = any((plane == Label.EFFUSION).any() for plane in segmentation.labels)
    shown = tuple(label for label in LEGEND_NAMES if label is not Label.EFFUSION or has_effusion)
    painter = OverlayPainter(rows, columns, shown)
    for z in slices:
        yield bytes(encode_array(painter.paint(volume.hu[z], segmentation.labels[z]), interleave_mode=2))


def _new(
    uids: ObjectUids,
    identity: Identity,
    volume: Volume,
    software: Sequence[str],
    lossy: Dataset,
    description: str,
) -> Dataset:
    """What both forms have in common."""
    dataset = new_object(
        uids, identity, kind="overlay", modality="OT", description=description, software=software
    )
    dataset.update(lossy)
    dataset.ConversionType = "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.DerivationDescription = DERIVATION
    dataset.ImageComments = RESEARCH_USE
    dataset.BurnedInAnnotation = "NO"
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientOrientation = ""
    dataset.FrameOfReferenceUID = frame_of_reference(volume)
    dataset.PositionReferenceIndicator = ""
    rows, columns = volume.hu.shape[1:]
    describe_rgb(dataset, rows, columns)
    return dataset


def _describe_slice(dataset: Dataset, volume: Volume, z: int) -> None:
    dataset.SourceImageSequence = [_source(volume, z)]
    dataset.update(pixel_measures(volume))
    dataset.ImageOrientationPatient = orientation(volume)
    dataset.ImagePositionPatient = position(volume, z)
    dataset.SliceLocation = location(volume, z)


def _describe_frames(dataset: Dataset, volume: Volume, slices: Sequence[int]) -> None:
    dataset.SourceImageSequence = [_source(volume, z) for z in slices]
    dataset.NumberOfFrames = str(len(slices))
    dataset.FrameIncrementPointer = SLICE_LOCATION_VECTOR
    dataset.SliceLocationVector = [float(location(volume, z)) for z in slices]
    shared, plane = Dataset(), Dataset()
    plane.ImageOrientationPatient = orientation(volume)
    shared.PlaneOrientationSequence = [plane]
    shared.PixelMeasuresSequence = [pixel_measures(volume)]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_frame_groups(volume, z) for z in slices]


def _frame_groups(volume: Volume, z: int) -> Dataset:
    groups, place = Dataset(), Dataset()
    place.ImagePositionPatient = position(volume, z)
    groups.PlanePositionSequence = [place]
    return groups


def _source(volume: Volume, z: int) -> Dataset:
    instance = volume.instances[z]
    (item,) = instance_references([(instance.sop_class_uid, instance.sop_instance_uid)])
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [code_item(codes.SOURCE_IMAGE)]
    return item

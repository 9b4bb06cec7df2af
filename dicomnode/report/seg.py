"""The masks as a DICOM Segmentation (PS3.3 A.51): binary, one instance, all segments.

highdicom describes the segments; frames and their functional groups are encoded here, because there are as
many of them as segments times slices and each is the same few bytes with other numbers in it.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentDescription
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import format_number_as_ds

from dicomnode.assemble.volume import SourceInstance, Volume
from dicomnode.report import codes
from dicomnode.report.errors import ReportError
from dicomnode.report.header import ObjectUids, instance_references, new_object
from dicomnode.report.identity import Identity
from dicomnode.report.part10 import encode_dataset, encode_element, encode_sequence, write_part10
from dicomnode.report.segments import Segment
from dicomnode.report.text import ascii_text
from dicomnode.report.uids import derive_uid
from dicomnode.segment.segmentation import ModelIdentity, Segmentation

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
PER_FRAME_FUNCTIONAL_GROUPS = 0x52009230
PIXEL_DATA = 0x7FE00010
DERIVATION_IMAGE = 0x00089124
DERIVATION_CODE = 0x00089215
SOURCE_IMAGE = 0x00082112
REFERENCED_SOP_CLASS = 0x00081150
REFERENCED_SOP_INSTANCE = 0x00081155
SPATIAL_LOCATIONS_PRESERVED = 0x0028135A
PURPOSE_OF_REFERENCE = 0x0040A170
FRAME_CONTENT = 0x00209111
DIMENSION_INDEX = 0x00209157
PLANE_POSITION = 0x00209113
IMAGE_POSITION = 0x00200032
SEGMENT_IDENTIFICATION = 0x0062000A
SEGMENT_NUMBER = 0x0062000B
FRAMES_A_BYTE = 8
"""Eight frames fill whole bytes whatever their size, so they can be packed on their own (PS3.5 8.1.1)."""


def write_seg(
    path: Path,
    volume: Volume,
    segmentation: Segmentation,
    segments: Sequence[Segment],
    *,
    uids: ObjectUids,
    tracking: Sequence[str],
    identity: Identity,
    compression: Dataset,
    software: Sequence[str],
    corrected: Collection[str] = (),
) -> None:
    """Write the masks of ``segments`` as they lie on ``volume``; empty frames are left out.

    Parameters
    ----------
    tracking:
        Tracking UIDs of the segments; the SR repeats them.
    compression:
        Lossy Image Compression of the source with ratio and method where it is lossy.
    corrected:
        Keys of the segments that a person has changed: semiautomatic, the others are automatic.

    Raises
    ------
    ReportError
        If no segment has a voxel, or the masks aren't on the volume's grid.
    """
    if segmentation.labels.shape != volume.hu.shape:
        raise ReportError(f"masks of shape {segmentation.labels.shape} on a volume of {volume.hu.shape}")
    frames: list[tuple[int, int]] = []
    pixels = bytearray()
    packer = _FramePacker(pixels)
    for number, segment in enumerate(segments, start=1):
        mask = segment.mask(segmentation)
        slices = np.flatnonzero(mask.any(axis=(1, 2)))
        for start in range(0, len(slices), FRAMES_A_BYTE):
            packer.add(mask[slices[start : start + FRAMES_A_BYTE]])
        frames.extend((number, int(z)) for z in slices)
    packer.flush()
    if not frames:
        raise ReportError("no segment has a single voxel: there is nothing to report, refuse the series")

    dataset = new_object(
        uids,
        identity,
        kind="seg",
        modality="SEG",
        description="dicomnode lung segmentation" + (", corrected" if corrected else ""),
        software=software,
    )
    dataset.update(compression)
    _describe_image(dataset, volume, len(frames))
    _describe_dimensions(dataset, uids)
    dataset.SegmentSequence = [
        _describe_segment(number, segment, segmentation.model, uid, is_corrected=segment.key in corrected)
        for number, (segment, uid) in enumerate(zip(segments, tracking, strict=True), start=1)
    ]
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(volume)]
    write_part10(
        path,
        dataset,
        identity.elements
        | {
            PER_FRAME_FUNCTIONAL_GROUPS: encode_sequence(
                PER_FRAME_FUNCTIONAL_GROUPS, _frame_groups(volume, frames)
            ),
            PIXEL_DATA: encode_element(PIXEL_DATA, "OB", bytes(pixels)),
        },
    )


class _FramePacker:
    """Packs frames to bits, first pixel in the lowest bit, across frame borders."""

    def __init__(self, packed: bytearray) -> None:
        self._packed = packed
        self._rest: NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def add(self, frames: NDArray[np.bool_]) -> None:
        bits = frames.reshape(-1)
        if self._rest.size:
            bits = np.concatenate([self._rest, bits])
        whole = bits.size - bits.size % 8
        self._packed += np.packbits(bits[:whole], bitorder="little").tobytes()
        self._rest = bits[whole:].copy()

    def flush(self) -> None:
        self._packed += np.packbits(self._rest, bitorder="little").tobytes()
        self._rest = self._rest[:0]


def _describe_image(dataset: Dataset, volume: Volume, frames: int) -> None:
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.ContentLabel = "LUNG_OPACITIES"
    dataset.ContentDescription = "Lungs and lung opacities"
    dataset.ContentCreatorName = ""
    dataset.BodyPartExamined = "CHEST"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames = str(frames)
    dataset.Rows, dataset.Columns = (int(n) for n in volume.hu.shape[1:])
    dataset.BitsAllocated = 1
    dataset.BitsStored = 1
    dataset.HighBit = 0
    dataset.PixelRepresentation = 0
    dataset.SegmentationType = "BINARY"
    dataset.SegmentsOverlap = "YES"
    dataset.FrameOfReferenceUID = volume.frame_of_reference_uid or derive_uid(
        volume.series_instance_uid, "frame of reference"
    )
    dataset.PositionReferenceIndicator = ""
    series = Dataset()
    series.SeriesInstanceUID = volume.series_instance_uid
    series.ReferencedInstanceSequence = instance_references(
        (i.sop_class_uid, i.sop_instance_uid) for i in volume.instances
    )
    dataset.ReferencedSeriesSequence = [series]


def _describe_dimensions(dataset: Dataset, uids: ObjectUids) -> None:
    organization = derive_uid(uids.sop_instance_uid, "dimension organization")
    item = Dataset()
    item.DimensionOrganizationUID = organization
    dataset.DimensionOrganizationSequence = [item]
    dataset.DimensionIndexSequence = []
    for pointer, group, label in (
        (SEGMENT_NUMBER, SEGMENT_IDENTIFICATION, "Segment"),
        (IMAGE_POSITION, PLANE_POSITION, "Position"),
    ):
        index = Dataset()
        index.DimensionOrganizationUID = organization
        index.DimensionIndexPointer = pointer
        index.FunctionalGroupPointer = group
        index.DimensionDescriptionLabel = label
        dataset.DimensionIndexSequence.append(index)


def _describe_segment(
    number: int, segment: Segment, model: ModelIdentity, tracking_uid: str, *, is_corrected: bool
) -> Dataset:
    description = SegmentDescription(
        segment_number=number,
        segment_label=segment.label,
        segmented_property_category=segment.category,
        segmented_property_type=segment.kind,
        algorithm_type="SEMIAUTOMATIC" if is_corrected else "AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=ascii_text(model.name, 64),
            family=codes.ARTIFICIAL_INTELLIGENCE,
            version=ascii_text(model.version, 64),
            source="dicomnode",
            parameters={"weights_sha256": ascii_text(model.weights_sha256)},
        ),
        tracking_uid=tracking_uid,
        tracking_id=segment.label,
        anatomic_regions=[codes.LUNG] if segment.finding else None,
        display_color=CIELabColor.from_rgb(*segment.rgb),
    )
    if segment.laterality is not None:
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            CodedConcept.from_code(segment.laterality)
        ]
    return description


def _shared_groups(volume: Volume) -> Dataset:
    z_mm, y_mm, x_mm = volume.spacing_mm
    directions = volume.affine[:3, :2] / np.linalg.norm(volume.affine[:3, :2], axis=0)
    orientation = Dataset()
    orientation.ImageOrientationPatient = [_ds(value) for value in directions.T.reshape(-1)]
    measures = Dataset()
    measures.PixelSpacing = [_ds(y_mm), _ds(x_mm)]
    measures.SliceThickness = _ds(volume.acquisition.slice_thickness_mm or z_mm)
    measures.SpacingBetweenSlices = _ds(z_mm)
    groups = Dataset()
    groups.PlaneOrientationSequence = [orientation]
    groups.PixelMeasuresSequence = [measures]
    return groups


def _frame_groups(volume: Volume, frames: Sequence[tuple[int, int]]) -> list[bytes]:
    """Encoded functional groups of each frame; what depends on slice or segment alone is encoded once."""
    used = sorted({z for _, z in frames})
    position_index = {z: index for index, z in enumerate(used, start=1)}
    purpose = encode_dataset(_code(codes.SOURCE_IMAGE))
    derivation_code = encode_sequence(DERIVATION_CODE, [encode_dataset(_code(codes.SEGMENTATION_DERIVATION))])
    derivations = {z: _derivation(volume.instances[z], purpose, derivation_code) for z in used}
    positions = {z: _position(volume, z) for z in used}
    return [
        derivations[z]
        + _one_item(
            FRAME_CONTENT,
            encode_element(DIMENSION_INDEX, "UL", struct.pack("<II", number, position_index[z])),
        )
        + positions[z]
        + _one_item(SEGMENT_IDENTIFICATION, encode_element(SEGMENT_NUMBER, "US", struct.pack("<H", number)))
        for number, z in frames
    ]


def _derivation(instance: SourceInstance, purpose: bytes, derivation_code: bytes) -> bytes:
    image = (
        encode_element(REFERENCED_SOP_CLASS, "UI", instance.sop_class_uid.encode("ascii"))
        + encode_element(REFERENCED_SOP_INSTANCE, "UI", instance.sop_instance_uid.encode("ascii"))
        + encode_element(SPATIAL_LOCATIONS_PRESERVED, "CS", b"YES")
        + encode_sequence(PURPOSE_OF_REFERENCE, [purpose])
    )
    return _one_item(DERIVATION_IMAGE, _one_item(SOURCE_IMAGE, image) + derivation_code)


def _position(volume: Volume, z: int) -> bytes:
    corner = (volume.affine @ (0.0, 0.0, z, 1.0))[:3]
    value = "\\".join(_ds(coordinate) for coordinate in corner).encode("ascii")
    return _one_item(PLANE_POSITION, encode_element(IMAGE_POSITION, "DS", value))


def _one_item(tag: int, item: bytes) -> bytes:
    return encode_sequence(tag, [item])


def _code(code: Code) -> CodedConcept:
    return CodedConcept.from_code(code)


def _ds(value: float) -> str:
    return format_number_as_ds(round(float(value), 9) + 0.0)

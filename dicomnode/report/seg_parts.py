"""What a binary and a label map segmentation have in common: image, dimensions, segments, functional groups.

highdicom describes the segments; functional groups are encoded here, because there are as many of them as
frames and each is the same few bytes with other numbers in it (PS3.3 A.51, C.8.20, C.7.6.16).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentDescription
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from dicomnode.assemble.volume import SourceInstance, Volume
from dicomnode.report import codes
from dicomnode.report.encoding import encode_dataset, encode_element, encode_sequence
from dicomnode.report.errors import ReportError
from dicomnode.report.header import ObjectUids, code_item, instance_references, new_object
from dicomnode.report.identity import Identity
from dicomnode.report.part10 import write_part10
from dicomnode.report.segments import Segment
from dicomnode.report.text import ascii_text
from dicomnode.report.uids import derive_uid
from dicomnode.segment.segmentation import ModelIdentity, Segmentation

PER_FRAME_FUNCTIONAL_GROUPS = 0x52009230
PIXEL_DATA = 0x7FE00010
SEGMENT_NUMBER = 0x0062000B
SEGMENT_IDENTIFICATION = 0x0062000A
PLANE_POSITION = 0x00209113
IMAGE_POSITION = 0x00200032
BY_SEGMENT = (SEGMENT_NUMBER, SEGMENT_IDENTIFICATION, "Segment")
BY_POSITION = (IMAGE_POSITION, PLANE_POSITION, "Position")
DERIVATION_IMAGE = 0x00089124
DERIVATION_CODE = 0x00089215
SOURCE_IMAGE = 0x00082112
REFERENCED_SOP_CLASS = 0x00081150
REFERENCED_SOP_INSTANCE = 0x00081155
SPATIAL_LOCATIONS_PRESERVED = 0x0028135A
PURPOSE_OF_REFERENCE = 0x0040A170
FRAME_CONTENT = 0x00209111
DIMENSION_INDEX = 0x00209157


def new_segmentation(
    volume: Volume,
    segmentation: Segmentation,
    frames: int,
    *,
    uids: ObjectUids,
    identity: Identity,
    kind: str,
    description: str,
    compression: Dataset,
    software: Sequence[str],
    corrected: Collection[str],
) -> Dataset:
    """A segmentation object of ``frames`` frames; segments, dimensions and pixels are still to come.

    Raises
    ------
    ReportError
        If there is no frame, or the masks aren't on the volume's grid.
    """
    if segmentation.labels.shape != volume.hu.shape:
        raise ReportError(f"masks of shape {segmentation.labels.shape} on a volume of {volume.hu.shape}")
    if not frames:
        raise ReportError("no segment has a single voxel: there is nothing to report, refuse the series")
    dataset = new_object(
        uids,
        identity,
        kind=kind,
        modality="SEG",
        description=description + (", corrected" if corrected else ""),
        software=software,
    )
    dataset.update(compression)
    describe_image(dataset, volume, frames)
    dataset.SharedFunctionalGroupsSequence = [shared_groups(volume)]
    return dataset


def write_segmentation(
    path: Path,
    dataset: Dataset,
    identity: Identity,
    groups: Sequence[bytes],
    pixel_data: bytes | Sequence[bytes],
    transfer_syntax_uid: str = ExplicitVRLittleEndian,
) -> None:
    """Write the object with the encoded functional groups of its frames and its encoded pixel data."""
    encoded: dict[int, bytes | Sequence[bytes]] = {
        PER_FRAME_FUNCTIONAL_GROUPS: encode_sequence(PER_FRAME_FUNCTIONAL_GROUPS, groups),
        PIXEL_DATA: pixel_data,
    }
    write_part10(path, dataset, {**identity.elements, **encoded}, transfer_syntax_uid)


def describe_image(dataset: Dataset, volume: Volume, frames: int) -> None:
    """Image, frame of reference and common instance reference: ``frames`` frames of the source's slices."""
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.ContentLabel = "LUNG_OPACITIES"
    dataset.ContentDescription = "Lungs and lung opacities"
    dataset.ContentCreatorName = ""
    dataset.BodyPartExamined = "CHEST"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames = str(frames)
    dataset.Rows, dataset.Columns = (int(n) for n in volume.hu.shape[1:])
    dataset.PixelRepresentation = 0
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


def describe_dimensions(
    dataset: Dataset, uids: ObjectUids, dimensions: Sequence[tuple[int, int, str]]
) -> None:
    """One dimension organization; ``dimensions`` as (pointer, functional group, label)."""
    organization = derive_uid(uids.sop_instance_uid, "dimension organization")
    item = Dataset()
    item.DimensionOrganizationUID = organization
    dataset.DimensionOrganizationSequence = [item]
    dataset.DimensionIndexSequence = []
    for pointer, group, label in dimensions:
        index = Dataset()
        index.DimensionOrganizationUID = organization
        index.DimensionIndexPointer = pointer
        index.FunctionalGroupPointer = group
        index.DimensionDescriptionLabel = label
        dataset.DimensionIndexSequence.append(index)


def describe_segment(
    number: int, segment: Segment, model: ModelIdentity, tracking_uid: str, *, is_corrected: bool
) -> Dataset:
    """Item of the Segment Sequence; a finding lies in its region, else somewhere in the lungs."""
    site = segment.region.kind if segment.region else codes.LUNG
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
        anatomic_regions=[site] if segment.finding else None,
        display_color=CIELabColor.from_rgb(*segment.rgb),
    )
    if segment.laterality is not None:
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            code_item(segment.laterality)
        ]
    if segment.region is not None and segment.region.laterality is not None and segment.finding:
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [
            code_item(segment.region.laterality)
        ]
    return description


def shared_groups(volume: Volume) -> Dataset:
    """Orientation, pixel spacing and thickness, the same for all frames."""
    z_mm, y_mm, x_mm = volume.spacing_mm
    directions = volume.affine[:3, :2] / np.linalg.norm(volume.affine[:3, :2], axis=0)
    orientation = Dataset()
    orientation.ImageOrientationPatient = [decimal(value) for value in directions.T.reshape(-1)]
    measures = Dataset()
    measures.PixelSpacing = [decimal(y_mm), decimal(x_mm)]
    measures.SliceThickness = decimal(volume.acquisition.slice_thickness_mm or z_mm)
    measures.SpacingBetweenSlices = decimal(z_mm)
    groups = Dataset()
    groups.PlaneOrientationSequence = [orientation]
    groups.PixelMeasuresSequence = [measures]
    return groups


def derivations(volume: Volume, slices: Sequence[int]) -> dict[int, bytes]:
    """The encoded derivation image of each slice, by its index."""
    purpose = encode_dataset(code_item(codes.SOURCE_IMAGE))
    derivation_code = encode_sequence(
        DERIVATION_CODE, [encode_dataset(code_item(codes.SEGMENTATION_DERIVATION))]
    )
    return {z: derivation(volume.instances[z], purpose, derivation_code) for z in slices}


def derivation(instance: SourceInstance, purpose: bytes, derivation_code: bytes) -> bytes:
    """Derivation image of a frame made from one source image."""
    image = (
        encode_element(REFERENCED_SOP_CLASS, "UI", instance.sop_class_uid.encode("ascii"))
        + encode_element(REFERENCED_SOP_INSTANCE, "UI", instance.sop_instance_uid.encode("ascii"))
        + encode_element(SPATIAL_LOCATIONS_PRESERVED, "CS", b"YES")
        + encode_sequence(PURPOSE_OF_REFERENCE, [purpose])
    )
    return one_item(DERIVATION_IMAGE, one_item(SOURCE_IMAGE, image) + derivation_code)


def frame_content(*indices: int) -> bytes:
    """Frame content with its dimension index values."""
    values = struct.pack(f"<{len(indices)}I", *indices)
    return one_item(FRAME_CONTENT, encode_element(DIMENSION_INDEX, "UL", values))


def position(volume: Volume, z: int) -> bytes:
    """Plane position of slice ``z``."""
    corner = (volume.affine @ (0.0, 0.0, z, 1.0))[:3]
    value = "\\".join(decimal(coordinate) for coordinate in corner).encode("ascii")
    return one_item(PLANE_POSITION, encode_element(IMAGE_POSITION, "DS", value))


def one_item(tag: int, item: bytes) -> bytes:
    """A sequence of one item."""
    return encode_sequence(tag, [item])


def decimal(value: float) -> str:
    """A number as DS, without digits that rounding errors made."""
    return format_number_as_ds(round(float(value), 9) + 0.0)

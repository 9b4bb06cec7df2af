"""The binary segmentation of a result as highdicom writes it: what ours is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import highdicom
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicomnode.assemble.volume import Volume
from dicomnode.report.header import DEVICE_SERIAL_NUMBER, MANUFACTURER, MODEL_NAME, ObjectUids
from dicomnode.report.seg_parts import describe_segment
from dicomnode.report.segments import Segment
from dicomnode.segment.segmentation import Segmentation


def sources_of(volume: Volume) -> list[Dataset]:
    """The headers that highdicom takes patient, study and geometry from."""
    return [dcmread(instance.path, stop_before_pixels=True) for instance in volume.instances]


def build_with_highdicom(
    volume: Volume,
    segmentation: Segmentation,
    segments: Sequence[Segment],
    *,
    uids: ObjectUids,
    tracking: Sequence[str],
    series_number: int,
    software: Sequence[str],
    sources: Sequence[Dataset] | None = None,
) -> highdicom.seg.Segmentation:
    """All segments from a stack (slices, rows, columns, segments), the documented way where they overlap."""
    stack = np.stack([segment.mask(segmentation) for segment in segments], axis=-1).astype(np.uint8)
    return highdicom.seg.Segmentation(
        source_images=list(sources or sources_of(volume)),
        pixel_array=stack,
        segmentation_type="BINARY",
        segment_descriptions=[
            describe_segment(number, segment, segmentation.model, uid, is_corrected=False)
            for number, (segment, uid) in enumerate(zip(segments, tracking, strict=True), start=1)
        ],
        series_instance_uid=uids.series_instance_uid,
        series_number=series_number,
        sop_instance_uid=uids.sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=list(software),
        device_serial_number=DEVICE_SERIAL_NUMBER,
        content_label="LUNG_OPACITIES",
        content_description="Lungs and lung opacities",
        series_description="dicomnode lung segmentation",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )


def differences(ours: Dataset, theirs: Dataset, where: str = "") -> Iterator[tuple[str, str, str]]:
    """Path of keywords, our value and theirs for each element that isn't equal; absent ones are ``-``."""
    for tag in sorted({*ours.keys(), *theirs.keys()}):
        own, other = ours.get(tag), theirs.get(tag)
        found = own if own is not None else other
        assert found is not None
        path = f"{where}.{found.keyword}".lstrip(".")
        if own is None or other is None:
            yield path, "-" if own is None else str(own.value), "-" if other is None else str(other.value)
        elif own.VR == "SQ" and other.VR == "SQ" and len(own.value) == len(other.value):
            for one, another in zip(own.value, other.value, strict=True):
                yield from differences(one, another, path)
        elif own.VR != other.VR or own.value != other.value:
            yield path, str(own.value)[:80], str(other.value)[:80]


def saved(segmentation: highdicom.seg.Segmentation, path: Path) -> Path:
    """Write it as a file."""
    segmentation.save_as(path)
    return path

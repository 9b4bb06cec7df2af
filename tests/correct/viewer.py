"""A viewer that saves edited masks: highdicom writes them, with UIDs and a maker of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import highdicom
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code

from dicomnode.report.segments import EFFUSION, FINDINGS, LOBES, LUNGS

LABELS = {segment.key: segment.label for segment in (*LUNGS, *LOBES, *FINDINGS, EFFUSION)}
TISSUE = Code("85756007", "SCT", "Tissue")
"""What a viewer gives a segment whose codes it has lost."""


def in_order(ct_paths: Sequence[Path]) -> list[Dataset]:
    """The CT slices from feet to head."""
    return sorted((dcmread(path) for path in ct_paths), key=lambda ct: float(ct.ImagePositionPatient[2]))


def save(
    ct_paths: Sequence[Path],
    masks: Mapping[str, NDArray[np.bool_]],
    path: Path,
    *,
    kind: str = "BINARY",
    manufacturer: str = "A viewer",
    algorithm_type: str = "MANUAL",
    **attributes: object,
) -> Path:
    """Write masks (z from feet to head, y, x) by label as one Segmentation; ``kind`` also ``LABELMAP``.

    ``attributes`` replace elements of the file.
    """
    pixels: NDArray[np.uint8]
    if kind == "LABELMAP":
        pixels = np.zeros(next(iter(masks.values())).shape, np.uint8)
        for number, mask in enumerate(masks.values(), start=1):
            pixels[mask] = number
    else:
        pixels = np.stack([mask.astype(np.uint8) for mask in masks.values()], axis=-1)
    automatic = algorithm_type != "MANUAL"
    algorithm = highdicom.AlgorithmIdentificationSequence(
        "Other", Code("123110", "DCM", "Artificial Intelligence"), "1"
    )
    seg = highdicom.seg.Segmentation(
        source_images=in_order(ct_paths),
        pixel_array=pixels.astype(np.float32) if kind == "FRACTIONAL" else pixels,
        segmentation_type=kind,
        segment_descriptions=[
            highdicom.seg.SegmentDescription(
                number,
                label,
                TISSUE,
                TISSUE,
                algorithm_type,
                algorithm_identification=algorithm if automatic else None,
            )
            for number, label in enumerate(masks, start=1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=900,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=manufacturer,
        manufacturer_model_name="Viewer",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=any(mask.any() for mask in masks.values()),
    )
    for keyword, value in attributes.items():
        setattr(seg, keyword, value)
        if keyword == "SOPInstanceUID":
            seg.file_meta.MediaStorageSOPInstanceUID = value
    seg.save_as(path)
    return path

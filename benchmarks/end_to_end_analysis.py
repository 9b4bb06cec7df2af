"""What a competent user writes in an afternoon around our networks: pydicom, highdicom, torch in fp32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
from highdicom.sr import CodedConcept, TrackingIdentifier
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicomnode.assemble.volume import Acquisition, SourceInstance, Volume
from dicomnode.report import codes
from dicomnode.report.segments import Segment, segments_of
from dicomnode.segment.card import load_installed_card
from dicomnode.segment.lesions import LesionModel
from dicomnode.segment.lobe_card import installed_lobe_card
from dicomnode.segment.lobes import LobeModel
from dicomnode.segment.runtimes.runtime import FLOAT32
from dicomnode.segment.runtimes.torch_runtime import TorchRuntime
from dicomnode.segment.segmentation import Segmentation
from dicomnode.segment.segmenter import Segmenter

MAKER = ("straightforward", "script", "1", "1")
"""Manufacturer, model, serial number and version of its objects."""


def eager_segmenter(model: str) -> Segmenter:
    """The networks as they were trained: torch without compiling, folding or another runtime, fp32, CPU."""
    lesions = LesionModel(load_installed_card(model), "cpu")
    lesions._runner.use(TorchRuntime(lesions._network, lesions.device, FLOAT32))  # by default in bfloat16
    lobes = installed_lobe_card()
    return Segmenter(lesions, LobeModel(lobes) if lobes else None)


def volume_of(datasets: Sequence[Dataset]) -> tuple[Volume, list[Dataset]]:
    """The usual loop over ``pixel_array``, slices from feet to head; and the slices in that order."""
    slices = sorted(datasets, key=lambda one: float(one.ImagePositionPatient[2]))
    hu = np.stack(
        [
            (one.pixel_array.astype(np.float32) * float(one.RescaleSlope) + float(one.RescaleIntercept))
            .clip(-1024, 32767)
            .astype(np.int16)
            for one in slices
        ]
    )
    first, last = (np.array(slices[index].ImagePositionPatient, float) for index in (0, -1))
    rows, columns = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = rows * slices[0].PixelSpacing[1], columns * slices[0].PixelSpacing[0]
    affine[:3, 2], affine[:3, 3] = (last - first) / (len(slices) - 1), first
    instances = tuple(SourceInstance(str(one.SOPInstanceUID), str(one.SOPClassUID), Path()) for one in slices)
    identity = (slices[0].StudyInstanceUID, slices[0].SeriesInstanceUID, slices[0].FrameOfReferenceUID)
    acquisition = Acquisition(float(slices[0].SliceThickness))
    return Volume(hu, affine, instances, *map(str, identity), acquisition), slices


def numbers_of(volume: Volume, segmentation: Segmentation) -> dict[str, tuple[float, float, float]]:
    """Volume in mL, share of the lungs in %, and mean HU of each segment, by its key."""
    lung = max(1, int(np.count_nonzero(segmentation.labels)))
    found = {}
    for segment in segments_of(segmentation):
        mask = segment.mask(segmentation)
        voxels = int(np.count_nonzero(mask))
        mean = float(volume.hu[mask].mean()) if voxels else 0.0
        found[segment.key] = (voxels * volume.voxel_ml, 100.0 * voxels / lung, mean)
    return found


def write_seg(
    slices: Sequence[Dataset], segmentation: Segmentation, segments: Sequence[Segment], path: Path
) -> highdicom.seg.Segmentation:
    """One binary SEG of overlapping segments: a stack of masks, as highdicom's documentation shows it."""
    manufacturer, model, serial, version = MAKER
    stack = np.stack([segment.mask(segmentation) for segment in segments], axis=-1).astype(np.uint8)
    seg = highdicom.seg.Segmentation(
        source_images=list(slices),
        pixel_array=stack,
        segmentation_type="BINARY",
        segment_descriptions=[
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=segment.label,
                segmented_property_category=segment.category,
                segmented_property_type=segment.kind,
                algorithm_type="AUTOMATIC",
                algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                    segmentation.model.name, codes.ARTIFICIAL_INTELLIGENCE, segmentation.model.version
                ),
            )
            for number, segment in enumerate(segments, start=1)
        ],
        series_instance_uid=generate_uid(),
        series_number=300,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=manufacturer,
        manufacturer_model_name=model,
        software_versions=version,
        device_serial_number=serial,
    )
    seg.save_as(path)
    return seg


def write_sr(
    slices: Sequence[Dataset],
    seg: highdicom.seg.Segmentation,
    segments: Sequence[Segment],
    numbers: dict[str, tuple[float, float, float]],
    path: Path,
) -> None:
    """A TID 1500 report with one group of three measurements a segment, by highdicom's templates."""
    sr = highdicom.sr
    device = sr.DeviceObserverIdentifyingAttributes(uid=generate_uid(), name=MAKER[0])
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=codes.DEVICE, observer_identifying_attributes=device
        )
    )
    source = sr.SourceSeriesForSegmentation(slices[0].SeriesInstanceUID)
    groups = [
        sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(uid=generate_uid(), identifier=segment.label),
            referenced_segment=sr.ReferencedSegment(
                seg.SOPClassUID, seg.SOPInstanceUID, number, source_series=source
            ),
            finding_type=CodedConcept.from_code(segment.kind),
            measurements=[
                sr.Measurement(name=name, value=round(value, 3), unit=unit)
                for (name, unit), value in zip(
                    (
                        (codes.VOLUME, codes.MILLILITER),
                        (codes.LESION_EXTENT, codes.PERCENT),
                        (codes.ATTENUATION, codes.HOUNSFIELD_UNIT),
                    ),
                    numbers[segment.key],
                    strict=True,
                )
            ],
        )
        for number, segment in enumerate(segments, start=1)
    ]
    report = sr.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.CT_UNSPECIFIED,
        imaging_measurements=groups,
        title=codes.IMAGING_MEASUREMENT_REPORT,
    )
    document = sr.Comprehensive3DSR(
        evidence=[*slices, seg],
        content=report,
        series_number=301,
        series_instance_uid=generate_uid(),
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MAKER[0],
    )
    document.save_as(path)

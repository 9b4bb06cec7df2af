"""Grayscale Softcopy Presentation State (PS3.3 A.33.1): lesions outlined on key slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from highdicom.color import CIELabColor
from pydicom.dataset import Dataset

from dicomnode.assemble.volume import Volume
from dicomnode.report.header import ObjectUids, instance_references, new_object
from dicomnode.report.identity import Identity, read_header
from dicomnode.report.outlines import Polygon, outlines
from dicomnode.report.part10 import write_part10
from dicomnode.report.planes import LABEL_RGB, WINDOW_CENTER_HU, WINDOW_WIDTH_HU
from dicomnode.report.seg_parts import decimal
from dicomnode.segment.segmentation import Label, Segmentation

GSPS_STORAGE = "1.2.840.10008.5.1.4.1.1.11.1"
LAYERS = {Label.GROUND_GLASS: "GGO", Label.CONSOLIDATION: "CONSOLIDATION", Label.EFFUSION: "EFFUSION"}
MOST_POINTS = 8000
"""Of one polyline: its data must fit into the 64 kB of an FL element (PS3.5 7.1.2)."""


def write_presentation_state(
    path: Path,
    volume: Volume,
    segmentation: Segmentation,
    slices: Sequence[int],
    *,
    uids: ObjectUids,
    identity: Identity,
    software: Sequence[str],
    description: str,
) -> bool:
    """Outline the lesions on ``slices`` (array indices); ``False``, and no file, where there is none.

    Slices whose Rescale Slope or Intercept differ from the first one's are left out: a presentation state
    has one Modality LUT for all its images.
    """
    rescale, slices = _same_rescale(volume, slices)
    annotations = list(chain.from_iterable(_annotations(volume, segmentation, z) for z in slices))
    if not annotations:
        return False
    dataset = new_object(
        uids, identity, kind="gsps", modality="PR", description=description, software=software
    )
    del (
        dataset.ContentDate,
        dataset.ContentTime,
    )  # a state has a date of its creation
    dataset.update(rescale)
    dataset.ContentLabel = "LUNG_OPACITIES"
    dataset.ContentDescription = "Outlines of lung opacities on key slices"
    dataset.ContentCreatorName = ""
    dataset.PresentationCreationDate = identity.content_date
    dataset.PresentationCreationTime = identity.content_time
    dataset.BodyPartExamined = "CHEST"
    series = Dataset()
    series.SeriesInstanceUID = volume.series_instance_uid
    series.ReferencedImageSequence = _references(volume, slices)
    dataset.ReferencedSeriesSequence = [series]
    dataset.DisplayedAreaSelectionSequence = [_whole_image(volume)]
    window = Dataset()
    window.WindowCenter, window.WindowWidth = str(WINDOW_CENTER_HU), str(WINDOW_WIDTH_HU)
    dataset.SoftcopyVOILUTSequence = [window]
    dataset.PresentationLUTShape = "IDENTITY"
    used = {str(annotation.GraphicLayer) for annotation in annotations}
    dataset.GraphicAnnotationSequence = annotations
    dataset.GraphicLayerSequence = [
        _layer(order, label) for order, label in enumerate(LAYERS, start=1) if LAYERS[label] in used
    ]
    write_part10(path, dataset, identity.elements)
    return True


def _same_rescale(volume: Volume, slices: Sequence[int]) -> tuple[Dataset, list[int]]:
    """Modality LUT of the first slice, and the slices that share it."""
    found: list[tuple[Dataset, int]] = []
    for z in slices:
        header, rescale = read_header(volume.instances[z].path), Dataset()
        rescale.RescaleIntercept = header.get("RescaleIntercept", "0")
        rescale.RescaleSlope = header.get("RescaleSlope", "1")
        rescale.RescaleType = "HU"
        found.append((rescale, z))
    if not found:
        return Dataset(), []
    first = found[0][0]
    return first, [z for rescale, z in found if rescale == first]


def _annotations(volume: Volume, segmentation: Segmentation, z: int) -> list[Dataset]:
    """An item a label that is on the slice."""
    items = []
    for label, layer in LAYERS.items():
        polygons = outlines(segmentation.labels[z] == label)
        if polygons:
            item = Dataset()
            item.ReferencedImageSequence = _references(volume, [z])
            item.GraphicLayer = layer
            item.GraphicObjectSequence = [
                _polyline(part) for polygon in polygons for part in _parts_of(polygon)
            ]
            items.append(item)
    return items


def _parts_of(polygon: Polygon) -> Iterable[Polygon]:
    """Pieces that fit into an element; each begins where the last one ended."""
    for start in range(0, len(polygon) - 1, MOST_POINTS - 1):
        yield polygon[start : start + MOST_POINTS]


def _polyline(points: Polygon) -> Dataset:
    graphic = Dataset()
    graphic.GraphicAnnotationUnits = "PIXEL"
    graphic.GraphicDimensions = 2
    graphic.NumberOfGraphicPoints = len(points)
    graphic.GraphicData = [float(coordinate) for point in points for coordinate in point]
    graphic.GraphicType = "POLYLINE"
    graphic.GraphicFilled = "N"
    return graphic


def _layer(order: int, label: Label) -> Dataset:
    layer = Dataset()
    layer.GraphicLayer = LAYERS[label]
    layer.GraphicLayerOrder = order
    layer.GraphicLayerRecommendedDisplayCIELabValue = list(CIELabColor.from_rgb(*LABEL_RGB[label]).value)
    return layer


def _whole_image(volume: Volume) -> Dataset:
    rows, columns = volume.hu.shape[1:]
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [columns, rows]
    area.PresentationSizeMode = "SCALE TO FIT"
    area.PresentationPixelSpacing = [decimal(mm) for mm in volume.spacing_mm[1:]]
    return area


def _references(volume: Volume, slices: Sequence[int]) -> list[Dataset]:
    instances = (volume.instances[z] for z in slices)
    return instance_references((one.sop_class_uid, one.sop_instance_uid) for one in instances)

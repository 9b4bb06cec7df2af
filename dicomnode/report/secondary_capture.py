"""A page as a Secondary Capture image (PS3.3 A.8.1): what every viewer and PACS shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from pydicom.dataset import Dataset

from dicomnode.report import codes
from dicomnode.report.encoding import encode_element
from dicomnode.report.header import (
    RESEARCH_USE,
    ObjectUids,
    SeriesReference,
    code_item,
    instance_references,
    new_object,
)
from dicomnode.report.identity import Identity
from dicomnode.report.part10 import write_part10

SECONDARY_CAPTURE_STORAGE = "1.2.840.10008.5.1.4.1.1.7"
PIXEL_DATA = 0x7FE00010


def write_secondary_capture(
    path: Path,
    page: Image.Image,
    *,
    kind: str,
    uids: ObjectUids,
    identity: Identity,
    description: str,
    derivation: str,
    sources: Sequence[SeriesReference],
    software: Sequence[str],
    body_part: str = "",
    lossy: Dataset | None = None,
) -> None:
    """Write ``page`` as it is, in uncompressed RGB.

    Parameters
    ----------
    page:
        A picture without patient data, as Burned In Annotation says; viewers print the name beside it.
    kind:
        The series' slot, as :func:`new_object` takes it.
    description, derivation:
        Series Description, and how the page came about.
    sources:
        The images that the page is about.
    body_part:
        Body Part Examined, empty where it isn't known.
    lossy:
        Lossy Image Compression of the source, with ratio and method where it is lossy.
    """
    dataset = new_object(uids, identity, kind=kind, modality="OT", description=description, software=software)
    dataset.update(lossy or {})
    dataset.ConversionType = "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.DerivationDescription = derivation
    if any(series.instances for series in sources):
        dataset.SourceImageSequence = _source_images(sources)
    dataset.ImageComments = RESEARCH_USE
    dataset.BurnedInAnnotation = "NO"
    dataset.PatientOrientation = ""
    if body_part:
        dataset.BodyPartExamined = body_part
    else:
        dataset.Laterality = ""  # unknown, and required where the body part could be a paired one
    describe_rgb(dataset, page.height, page.width)
    pixels = encode_element(PIXEL_DATA, "OB", page.convert("RGB").tobytes())
    write_part10(path, dataset, identity.elements | {PIXEL_DATA: pixels})


def _source_images(sources: Sequence[SeriesReference]) -> list[Dataset]:
    items = instance_references(instance for series in sources for instance in series.instances)
    purpose = code_item(codes.SOURCE_IMAGE)
    for item in items:
        item.SpatialLocationsPreserved = "NO"
        item.PurposeOfReferenceCodeSequence = [purpose]
    return items


def describe_rgb(dataset: Dataset, rows: int, columns: int) -> None:
    """Add the Image Pixel module of an RGB image of 8 bits, pixel by pixel (PS3.3 C.7.6.3)."""
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = 8
    dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0

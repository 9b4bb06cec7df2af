"""What assembling needs to know of one instance, typed; nothing of the pixels is decoded."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.tag import Tag

from dicomnode.assemble.elements import BROKEN, PADDING, Elements, PixelElement, read_elements
from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.quick_elements import quick_elements

V = TypeVar("V")
NO_CONTRAST = {"NONE", "NO", "NO CONTRAST", "WITHOUT", "UNENHANCED"}

KEYWORDS = (
    "SpecificCharacterSet",
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID"),
    *("Modality", "ImageType", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "GantryDetectorTilt"),
    *("SliceThickness", "AcquisitionNumber", "ConvolutionKernel", "ContrastBolusAgent", "Manufacturer"),
    *("BodyPartExamined", "LossyImageCompression"),
)
TAGS = {keyword: int(Tag(keyword)) for keyword in KEYWORDS}
TAG_SET = frozenset(TAGS.values())


@dataclass(frozen=True)
class SliceHeader:
    """One instance as its header describes it; ``None`` where an attribute is absent or malformed.

    Lengths in mm, angles in degrees, in the patient coordinate system LPS. ``malformed`` names the attributes
    that are there but can't be read as what their value representation promises. Padding values are the 16
    stored bits taken as unsigned, whatever the pixel representation.
    """

    path: Path
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    frame_of_reference_uid: str | None
    modality: str | None
    image_type: tuple[str, ...]
    number_of_frames: int
    samples_per_pixel: int
    photometric_interpretation: str | None
    rows: int | None
    columns: int | None
    bits_allocated: int | None
    bits_stored: int | None
    high_bit: int | None
    pixel_representation: int
    pixel_padding_value: int | None
    pixel_padding_range_limit: int | None
    rescale_slope: float | None
    rescale_intercept: float | None
    rescale_type: str | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    gantry_tilt: float | None
    slice_thickness: float | None
    acquisition_number: int | None
    kernel: str | None
    contrast: bool | None
    manufacturer: str | None
    body_part: str | None
    lossy_compression: bool | None
    pixel_element: PixelElement | None
    malformed: frozenset[str]

    @property
    def place(self) -> str:
        """How a sentence names this slice: by its position, never by a patient or a path."""
        if self.position is None:
            return "the slice without a position"
        return f"the slice at z = {self.position[2]:.2f} mm"

    def same_image_as(self, other: SliceHeader) -> bool:
        """Whether two files say the same of their image; their names and encodings may differ."""
        storage = {"path", "transfer_syntax_uid", "pixel_element", "lossy_compression"}
        names = (field.name for field in fields(self) if field.name not in storage)
        return all(getattr(self, name) == getattr(other, name) for name in names)


def read_header(path: Path) -> SliceHeader:
    """Read the header of the DICOM file ``path`` and find its pixel data without loading them.

    Raises
    ------
    AssembleError
        If the file is no DICOM file, or broken before it says which instance of which series it is.
    """
    try:
        found = quick_elements(path, TAG_SET) or read_elements(path, list(TAG_SET))
    except BROKEN as error:
        raise AssembleError("a file of the series is no DICOM file or broken in its header") from error
    except OSError as error:
        raise AssembleError(f"a file of the series can't be read: {error.strerror}") from error
    return header_of(path, *found)


def header_of(
    path: Path, elements: Elements, transfer_syntax_uid: str, pixel_element: PixelElement | None
) -> SliceHeader:
    """The header that raw elements of the file ``path`` make; errors as of :func:`read_header`."""
    values = _Values(elements)
    return SliceHeader(
        path=path,
        transfer_syntax_uid=transfer_syntax_uid,
        study_instance_uid=values.uid("StudyInstanceUID"),
        series_instance_uid=values.uid("SeriesInstanceUID"),
        sop_instance_uid=values.uid("SOPInstanceUID"),
        sop_class_uid=values.uid("SOPClassUID"),
        frame_of_reference_uid=values.text("FrameOfReferenceUID"),
        modality=values.text("Modality"),
        image_type=values.texts("ImageType"),
        number_of_frames=_or(values.integer("NumberOfFrames"), 1),
        samples_per_pixel=_or(values.short("SamplesPerPixel"), 1),
        photometric_interpretation=values.text("PhotometricInterpretation"),
        rows=values.short("Rows"),
        columns=values.short("Columns"),
        bits_allocated=values.short("BitsAllocated"),
        bits_stored=values.short("BitsStored"),
        high_bit=values.short("HighBit"),
        pixel_representation=_or(values.short("PixelRepresentation"), 0),
        pixel_padding_value=values.short("PixelPaddingValue"),
        pixel_padding_range_limit=values.short("PixelPaddingRangeLimit"),
        rescale_slope=values.number("RescaleSlope"),
        rescale_intercept=values.number("RescaleIntercept"),
        rescale_type=values.text("RescaleType"),
        position=values.numbers("ImagePositionPatient", 3),
        orientation=values.numbers("ImageOrientationPatient", 6),
        pixel_spacing=values.numbers("PixelSpacing", 2),
        gantry_tilt=values.number("GantryDetectorTilt"),
        slice_thickness=values.number("SliceThickness"),
        acquisition_number=values.integer("AcquisitionNumber"),
        kernel="\\".join(values.texts("ConvolutionKernel")) or None,
        contrast=_contrast(values.text("ContrastBolusAgent")),
        manufacturer=values.text("Manufacturer"),
        body_part=values.text("BodyPartExamined"),
        lossy_compression={"01": True, "00": False}.get(values.text("LossyImageCompression") or ""),
        pixel_element=pixel_element,
        malformed=frozenset(values.malformed),
    )


class _Blank(Exception):  # noqa: N818 - a signal, not an error
    """A value of spaces only, which says as much as no value."""


class _Values:
    """Typed reading of a data set's raw values that remembers which were malformed.

    The values wanted are numbers, UIDs and short ASCII text: converting their bytes here takes a fifth of
    the time of pydicom's general conversion, which steps in for text in other character sets.
    """

    def __init__(self, elements: Elements) -> None:
        self.elements = elements
        self.malformed: set[str] = set()

    def texts(self, keyword: str) -> tuple[str, ...]:
        return self._read(keyword, self._split) or ()

    def text(self, keyword: str) -> str | None:
        return "\\".join(self.texts(keyword)) or None

    def uid(self, keyword: str) -> str:
        value = self.text(keyword)
        if value is None:
            raise AssembleError(f"a file of the series is broken: it has no {keyword}")
        return value

    def integer(self, keyword: str) -> int | None:
        """An Integer String."""
        return self._read(keyword, lambda element: int(_single(self._split(element))))

    def short(self, keyword: str) -> int | None:
        """A 16-bit binary number, taken as unsigned whatever the header says."""
        return self._read(keyword, _unsigned_short)

    def number(self, keyword: str) -> float | None:
        numbers = self.numbers(keyword, 1)
        return None if numbers is None else numbers[0]

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Decimal Strings, exactly ``count`` of them."""

        def convert(element: RawDataElement) -> tuple[float, ...]:
            numbers = tuple(float(text) for text in self._split(element))
            if len(numbers) != count or not all(map(math.isfinite, numbers)):
                raise ValueError(f"{keyword} needs {count} finite numbers")
            return numbers

        return self._read(keyword, convert)

    def _read(self, keyword: str, convert: Callable[[RawDataElement], V]) -> V | None:
        element = self.elements.get(TAGS[keyword])
        if element is None or not element.value:
            return None
        # Slices of a series say the same of nearly everything. Text beyond ASCII is more than its bytes.
        key = (keyword, element.value, element.is_little_endian) if element.value.isascii() else None
        known = _CONVERTED.get(key) if key else None
        if known is None:
            known = _convert(element, convert)
            if key:
                _remember(key, known)
        value, malformed = known
        if malformed:
            self.malformed.add(keyword)
        return value

    def _split(self, element: RawDataElement) -> tuple[str, ...]:
        if element.value.isascii():
            text = element.value.strip(PADDING).decode("ascii")
        else:
            converted = convert_raw_data_element(element, encoding=self._encodings())
            text = str(converted.value)
        if not text.strip():
            raise _Blank
        return tuple(part.strip() for part in text.split("\\"))

    def _encodings(self) -> list[str]:
        element = self.elements.get(TAGS["SpecificCharacterSet"])
        text = element.value.decode("ascii", "ignore") if element is not None and element.value else ""
        return list(convert_encodings([part.strip() for part in text.split("\\")]))


_Key = tuple[str, bytes, bool]

MOST_REMEMBERED = 4096
_CONVERTED: dict[_Key, tuple[Any, bool]] = {}


def _remember(key: _Key, converted: tuple[Any, bool]) -> None:
    if len(_CONVERTED) >= MOST_REMEMBERED:
        _CONVERTED.clear()
    _CONVERTED[key] = converted


def _convert(element: RawDataElement, convert: Callable[[RawDataElement], V]) -> tuple[V | None, bool]:
    """The value, and whether it is malformed."""
    try:
        return convert(element), False
    except _Blank:
        return None, False
    except (ValueError, TypeError, AttributeError, OverflowError, struct.error):
        return None, True


def _unsigned_short(element: RawDataElement) -> int:
    return int(struct.unpack("<H" if element.is_little_endian else ">H", element.value)[0])


def _single(items: tuple[str, ...]) -> str:
    if len(items) != 1:
        raise ValueError(f"one value expected, got {len(items)}")
    return items[0]


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _contrast(agent: str | None) -> bool | None:
    return None if agent is None else agent.upper() not in NO_CONTRAST

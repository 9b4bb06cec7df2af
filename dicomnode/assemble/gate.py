"""What the headers alone must say before a series is decoded; each check refuses with numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID, CTImageStorage

from dicomnode.assemble.decoders import decodable_transfer_syntaxes
from dicomnode.assemble.headers import SliceHeader
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.assemble.volume import MINIMUM_SLICES

Headers = Sequence[SliceHeader]

BITS_ALLOCATED = (8, 16)  # 16 by the CT Image IOD (PS3.3 A.3); 8 is what lossy JPEG baseline leaves of it
PHOTOMETRIC_INTERPRETATIONS = ("MONOCHROME1", "MONOCHROME2")  # both hold HU; they differ in display only

# Rescale Type (PS3.3 C.11.1.1.2): quantities that are not HU. "US" (unspecified) and free text in use, such
# as "Houndsfield Unit", are let through: the values are looked at after decoding.
NOT_HOUNSFIELD = frozenset({"OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"})
# Slopes in use go from 0.0001 (16 bits stretched over a narrow range) to about 32 (8-bit lossy); intercepts
# from -10240 (extended scale for metal) to 0 or so.
LARGEST_SLOPE = 100.0
LARGEST_INTERCEPT = 32768.0

# Headers repeat Pixel Spacing and the direction cosines with few digits: 0.001 of a pixel makes half a pixel
# over 512 columns, and 0.001 in a cosine is 0.06 degrees.
SPACING_TOLERANCE = 0.001
COSINE_TOLERANCE = 0.001
LARGEST_FIELD_MM = 1000.0  # bores measure up to 900 mm, extended fields of view up to 820
UNIT_TOLERANCE = 0.01  # how far direction cosines may be from unit length and a right angle


def check_headers(headers: Headers) -> None:
    """Refuse a series whose headers show that it can't be measured; the order of checks is that of reasons.

    Raises
    ------
    SeriesRefusedError
        ``not_ct``, ``localizer``, ``unsupported_transfer_syntax``, ``no_pixel_data``, ``bad_rescale``,
        ``mixed_geometry`` or ``too_few_slices``.
    """
    refuse_not_ct(headers)
    refuse_localizer(headers)
    refuse_not_single_grey_frames(headers)
    refuse_unsupported_transfer_syntax(headers)
    refuse_missing_pixel_data(headers)
    refuse_bad_rescale(headers)
    refuse_missing_geometry(headers)
    refuse_mixed_geometry(headers)
    if len(headers) < MINIMUM_SLICES:
        detail = (
            f"{_count(len(headers), 'slice')}: at least {MINIMUM_SLICES} are needed to see a regular stack"
        )
        raise SeriesRefusedError(RefusalReason.TOO_FEW_SLICES, detail)


def check_slice(header: SliceHeader) -> None:
    """What a single slice must say before it can be decoded; refuses as :func:`check_headers`."""
    refuse_not_ct([header])
    refuse_localizer([header])
    refuse_not_single_grey_frames([header])
    refuse_unsupported_transfer_syntax([header])
    refuse_missing_pixel_data([header])
    refuse_bad_rescale([header])
    refuse_missing_geometry([header])


def refuse_not_ct(headers: Headers) -> None:
    """CT Image Storage and Modality CT. Enhanced CT keeps a series in one instance: it is told apart here."""
    others = Counter(header.modality or "none" for header in headers if header.modality != "CT")
    if others:
        detail = f"{_of(others.total(), headers)} of modality {_list(others)} instead of CT"
        raise SeriesRefusedError(RefusalReason.NOT_CT, detail)
    classes = Counter(header.sop_class_uid for header in headers if header.sop_class_uid != CTImageStorage)
    if classes:
        names = _list(UID(name).name for name in classes)
        detail = f"{_of(classes.total(), headers)} of SOP class {names}; only CT Image Storage is measured"
        raise SeriesRefusedError(RefusalReason.NOT_CT, detail)


def refuse_localizer(headers: Headers) -> None:
    """A scout is a projection; even one among slices is refused, since it has no place in the stack."""
    count = sum("LOCALIZER" in map(str.upper, header.image_type) for header in headers)
    if count:
        detail = f"{_of(count, headers)} localizers, projections that hold no volume"
        raise SeriesRefusedError(RefusalReason.LOCALIZER, detail)


def refuse_not_single_grey_frames(headers: Headers) -> None:
    """The image pixel module of a classic CT image: one frame, one sample, 8 or 16 bits, grey."""
    frames = [header.number_of_frames for header in headers if header.number_of_frames != 1]
    if frames or (malformed := _malformed(headers, "NumberOfFrames")):
        found = f"with {max(frames)} frames" if frames else f"with a malformed {malformed}"
        detail = f"{_of(len(frames) or 1, headers)} {found} in one instance; a CT image has one"
        raise SeriesRefusedError(RefusalReason.NOT_CT, detail)
    coloured = [
        header
        for header in headers
        if header.samples_per_pixel != 1
        or header.photometric_interpretation not in (None, *PHOTOMETRIC_INTERPRETATIONS)
    ]
    if coloured:
        kinds = _list({header.photometric_interpretation or "unnamed" for header in coloured})
        detail = f"{_of(len(coloured), headers)} colour pictures ({kinds}) without Hounsfield units"
        raise SeriesRefusedError(RefusalReason.NOT_CT, detail)


def refuse_unsupported_transfer_syntax(headers: Headers) -> None:
    """Compression that no installed decoder reads."""
    decodable = decodable_transfer_syntaxes()
    unknown = Counter(h.transfer_syntax_uid for h in headers if h.transfer_syntax_uid not in decodable)
    if unknown:
        names = _list(f"{UID(name).name} ({name})" for name in unknown)
        detail = f"{_of(unknown.total(), headers)} in a transfer syntax that can't be decoded here: {names}"
        raise SeriesRefusedError(RefusalReason.UNSUPPORTED_TRANSFER_SYNTAX, detail)


def refuse_missing_pixel_data(headers: Headers) -> None:
    """No Pixel Data element, no sizes to read it by, or a file that ends before its pixels do."""
    for header in headers:
        element, place = header.pixel_element, header.place
        if element is None:
            raise SeriesRefusedError(RefusalReason.NO_PIXEL_DATA, f"{place} has no pixel data")
        rows, columns, bits = header.rows, header.columns, header.bits_allocated
        if not rows or not columns or not bits or not header.bits_stored:
            detail = f"{place} doesn't say its rows, columns, bits allocated and bits stored"
            raise SeriesRefusedError(RefusalReason.NO_PIXEL_DATA, detail)
        if bits not in BITS_ALLOCATED or not 0 < header.bits_stored <= bits or _high_bit_is_odd(header):
            stored = f"{header.bits_stored} bits stored of {bits} allocated, high bit {header.high_bit}"
            detail = f"{place} has {stored}; a CT image has up to 16, the lowest ones"
            raise SeriesRefusedError(RefusalReason.NO_PIXEL_DATA, detail)
        needed = rows * columns * bits // 8
        present = element.available if element.length is None else min(element.length, element.available)
        if element.length is not None and present < needed:
            detail = f"{place} is cut off: {present} of {needed} bytes of pixel data"
            raise SeriesRefusedError(RefusalReason.NO_PIXEL_DATA, detail)


def refuse_bad_rescale(headers: Headers) -> None:
    """Rescale Slope and Intercept are Type 1 in CT (PS3.3 C.8.2.1); they may differ from slice to slice."""
    for header in headers:
        place, slope, intercept = header.place, header.rescale_slope, header.rescale_intercept
        if slope is None or intercept is None:
            wrong = _malformed([header], "RescaleSlope", "RescaleIntercept")
            missing = "RescaleSlope" if slope is None else "RescaleIntercept"
            detail = f"{place} has a malformed {wrong}" if wrong else f"{place} has no {missing}"
            raise SeriesRefusedError(RefusalReason.BAD_RESCALE, detail)
        if not 0.0 < slope <= LARGEST_SLOPE or abs(intercept) > LARGEST_INTERCEPT:
            detail = f"{place} has slope {slope:g} and intercept {intercept:g}"
            raise SeriesRefusedError(RefusalReason.BAD_RESCALE, detail)
    types = {(header.rescale_type or "").upper() for header in headers} & NOT_HOUNSFIELD
    if types:
        detail = f"the values are of rescale type {_list(types)}, not Hounsfield units"
        raise SeriesRefusedError(RefusalReason.BAD_RESCALE, detail)


def refuse_missing_geometry(headers: Headers) -> None:
    """Without position, orientation and pixel spacing in each slice there is no common geometry."""
    wanted: dict[str, Callable[[SliceHeader], object | None]] = {
        "Image Position (Patient)": lambda header: header.position,
        "Image Orientation (Patient)": lambda header: header.orientation,
        "Pixel Spacing": lambda header: header.pixel_spacing,
    }
    for attribute, value in wanted.items():
        count = sum(value(header) is None for header in headers)
        if count:
            detail = f"{_of(count, headers)} without a readable {attribute}"
            raise SeriesRefusedError(RefusalReason.MIXED_GEOMETRY, detail)
    for header in headers:
        assert header.pixel_spacing is not None
        if min(header.pixel_spacing) <= 0:
            detail = f"{header.place} has a pixel spacing of {_numbers(header.pixel_spacing)} mm"
            raise SeriesRefusedError(RefusalReason.MIXED_GEOMETRY, detail)
        assert header.rows is not None and header.columns is not None  # read before
        field = max(header.rows * header.pixel_spacing[0], header.columns * header.pixel_spacing[1])
        if field > LARGEST_FIELD_MM:
            detail = (
                f"{header.place} has a field of view of {field:.0f} mm, wider than any CT scanner: its pixel "
                f"spacing of {_numbers(header.pixel_spacing)} mm can't be right"
            )
            raise SeriesRefusedError(RefusalReason.MIXED_GEOMETRY, detail)
        row, column = np.array(header.orientation).reshape(2, 3)
        lengths = np.linalg.norm(row), np.linalg.norm(column)
        if abs(row @ column) > UNIT_TOLERANCE or max(abs(length - 1) for length in lengths) > UNIT_TOLERANCE:
            detail = f"the direction cosines of {header.place} are no unit vectors at a right angle"
            raise SeriesRefusedError(RefusalReason.MIXED_GEOMETRY, detail)


def refuse_mixed_geometry(headers: Headers) -> None:
    """Size, spacing, orientation and frame of reference must be those of one scan."""
    first = headers[0]
    sizes = Counter((header.rows, header.columns) for header in headers)
    if len(sizes) > 1:
        listed = _list(f"{count} of {rows} x {columns}" for (rows, columns), count in sizes.most_common())
        raise SeriesRefusedError(RefusalReason.MIXED_GEOMETRY, f"slices of different size: {listed} pixels")
    frames = {header.frame_of_reference_uid for header in headers}
    if len(frames) > 1:
        detail = f"{len(frames)} frames of reference in one series: their positions can't be compared"
        raise SeriesRefusedError(RefusalReason.MIXED_GEOMETRY, detail)
    spacings = np.array([header.pixel_spacing for header in headers])
    off = np.abs(spacings / np.array(first.pixel_spacing) - 1).max(axis=1) > SPACING_TOLERANCE
    if off.any():
        found = _numbers(first.pixel_spacing or ()), _numbers(spacings[int(np.argmax(off))])
        detail = f"pixel spacings of {found[0]} mm and of {found[1]} mm in one series"
        raise SeriesRefusedError(RefusalReason.MIXED_GEOMETRY, detail)
    orientations = np.array([header.orientation for header in headers])
    off = np.abs(orientations - np.array(first.orientation)).max(axis=1) > COSINE_TOLERANCE
    if off.any():
        fewer = min(int(off.sum()), len(headers) - int(off.sum()))
        angle = _largest_angle(orientations, np.array(first.orientation))
        detail = f"{_of(fewer, headers)} turned against the others, by up to {angle:.1f} degrees"
        raise SeriesRefusedError(RefusalReason.MIXED_GEOMETRY, detail)


def _largest_angle(orientations: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Degrees between row or column directions, the largest of all slices."""
    cosines = (orientations * reference).reshape(-1, 2, 3).sum(axis=2)
    return math.degrees(math.acos(float(np.clip(cosines.min(), -1, 1))))


def _high_bit_is_odd(header: SliceHeader) -> bool:
    return header.high_bit is not None and header.high_bit + 1 != header.bits_stored


def _malformed(headers: Iterable[SliceHeader], *keywords: str) -> str:
    return _list({keyword for keyword in keywords if any(keyword in h.malformed for h in headers)})


def _of(count: int, headers: Headers) -> str:
    return f"{count} of {_count(len(headers), 'instance')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _list(items: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, items)))


def _numbers(values: Iterable[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)

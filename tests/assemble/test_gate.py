"""Refusals that the headers alone decide: each reason, with the numbers in its sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import MPEG2MPML, EnhancedCTImageStorage

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from tests.assemble.ct_series import write_series


def setting(keyword: str, value: object, first: int = 0, last: int = 10**6) -> Callable[[int, Dataset], None]:
    """Set (or with None delete) an attribute in slices ``first`` to ``last``."""

    def edit(index: int, dataset: Dataset) -> None:
        if first <= index <= last:
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return edit


def malformed(keyword: str, value: bytes) -> Callable[[int, Dataset], None]:
    """Bytes that no writer of good faith would write, in slice 7."""

    def edit(index: int, dataset: Dataset) -> None:
        if index == 7:
            tag = Tag(keyword)
            dataset._dict[tag] = RawDataElement(tag, dataset[keyword].VR, len(value), value, 0, False, True)

    return edit


CASES = {
    "modality": (setting("Modality", "MR"), RefusalReason.NOT_CT, "20 of 20 instances of modality MR"),
    "one other modality": (setting("Modality", "OT", 3, 3), RefusalReason.NOT_CT, "1 of 20 instances of"),
    "no modality": (setting("Modality", None), RefusalReason.NOT_CT, "modality none"),
    "enhanced": (setting("SOPClassUID", EnhancedCTImageStorage), RefusalReason.NOT_CT, "Enhanced CT Image"),
    "frames": (setting("NumberOfFrames", 2, 4, 4), RefusalReason.NOT_CT, "1 of 20 instances with 2 frames"),
    "frames malformed": (
        lambda i, d: (setting("NumberOfFrames", 1)(i, d), malformed("NumberOfFrames", b"one ")(i, d)),
        RefusalReason.NOT_CT,
        "malformed NumberOfFrames",
    ),
    "colour": (setting("SamplesPerPixel", 3), RefusalReason.NOT_CT, "20 of 20 instances colour"),
    "palette": (setting("PhotometricInterpretation", "PALETTE COLOR"), RefusalReason.NOT_CT, "PALETTE COLOR"),
    "localizer": (
        setting("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        RefusalReason.LOCALIZER,
        "20 of 20 instances localizers",
    ),
    "one localizer": (
        setting("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], 0, 0),
        RefusalReason.LOCALIZER,
        "1 of 20 instances localizers",
    ),
    "no pixel data": (setting("PixelData", None, 2, 2), RefusalReason.NO_PIXEL_DATA, "z = -70.00 mm has no"),
    "no rows": (setting("Rows", None, 2, 2), RefusalReason.NO_PIXEL_DATA, "doesn't say its rows"),
    "pixel data too short": (
        setting("PixelData", bytes(100), 2, 2),
        RefusalReason.NO_PIXEL_DATA,
        "100 of 308 bytes",
    ),
    "32 bits": (setting("BitsAllocated", 32), RefusalReason.NO_PIXEL_DATA, "16 bits stored of 32 allocated"),
    "high bit": (setting("HighBit", 11), RefusalReason.NO_PIXEL_DATA, "high bit 11"),
    "no slope": (setting("RescaleSlope", None, 5, 5), RefusalReason.BAD_RESCALE, "z = -55.00 mm has no Resc"),
    "no intercept": (setting("RescaleIntercept", None), RefusalReason.BAD_RESCALE, "no RescaleIntercept"),
    "slope 0": (setting("RescaleSlope", 0), RefusalReason.BAD_RESCALE, "slope 0 and intercept -1024"),
    "slope negative": (setting("RescaleSlope", -1), RefusalReason.BAD_RESCALE, "slope -1"),
    "slope absurd": (setting("RescaleSlope", "1e9"), RefusalReason.BAD_RESCALE, "slope 1e+09"),
    "slope nan": (malformed("RescaleSlope", b"nan "), RefusalReason.BAD_RESCALE, "malformed RescaleSlope"),
    "slope comma": (malformed("RescaleSlope", b"1,0 "), RefusalReason.BAD_RESCALE, "malformed RescaleSlope"),
    "slope twice": (malformed("RescaleSlope", b"1\\1 "), RefusalReason.BAD_RESCALE, "malformed RescaleSlope"),
    "slope blank": (malformed("RescaleSlope", b"    "), RefusalReason.BAD_RESCALE, "has no RescaleSlope"),
    "iodine map": (setting("RescaleType", "MGML"), RefusalReason.BAD_RESCALE, "rescale type MGML"),
    "no position": (
        setting("ImagePositionPatient", None, 0, 2),
        RefusalReason.MIXED_GEOMETRY,
        "3 of 20 instances without a readable Image Position",
    ),
    "position malformed": (
        malformed("ImagePositionPatient", b"1\\2\\x "),
        RefusalReason.MIXED_GEOMETRY,
        "1 of 20 instances without a readable Image Position",
    ),
    "position of two numbers": (
        malformed("ImagePositionPatient", b"1\\2 "),
        RefusalReason.MIXED_GEOMETRY,
        "without a readable Image Position",
    ),
    "no orientation": (
        setting("ImageOrientationPatient", None),
        RefusalReason.MIXED_GEOMETRY,
        "20 of 20 instances without a readable Image Orientation",
    ),
    "no pixel spacing": (
        setting("PixelSpacing", None),
        RefusalReason.MIXED_GEOMETRY,
        "20 of 20 instances without a readable Pixel Spacing",
    ),
    "pixel spacing of a cathedral": (
        setting("PixelSpacing", [400.0, 0.8]),
        RefusalReason.MIXED_GEOMETRY,
        "wider than any CT scanner",
    ),
    "pixel spacing 0": (setting("PixelSpacing", [0, 0.8]), RefusalReason.MIXED_GEOMETRY, "0 x 0.8 mm"),
    "no unit vectors": (
        setting("ImageOrientationPatient", [1, 0, 0, 0.5, 1, 0]),
        RefusalReason.MIXED_GEOMETRY,
        "no unit vectors",
    ),
    "zero vectors": (
        setting("ImageOrientationPatient", [0] * 6),
        RefusalReason.MIXED_GEOMETRY,
        "no unit vectors",
    ),
    "rows differ": (setting("Rows", 13, 9, 9), RefusalReason.MIXED_GEOMETRY, "1 of 13 x 11, 19 of 14 x 11"),
    "spacing differs": (
        setting("PixelSpacing", [0.95, 0.8], 9, 9),
        RefusalReason.MIXED_GEOMETRY,
        "0.95 x 0.8",
    ),
    "orientation differs": (
        setting("ImageOrientationPatient", [0, 1, 0, -1, 0, 0], 9, 11),
        RefusalReason.MIXED_GEOMETRY,
        "3 of 20 instances turned against the others, by up to 90.0 degrees",
    ),
    "frame of reference differs": (
        setting("FrameOfReferenceUID", "1.2.3.4", 10),
        RefusalReason.MIXED_GEOMETRY,
        "2 frames of reference",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refusals_tell_the_reason_and_numbers(tmp_path: Path, name: str) -> None:
    edit, reason, words = CASES[name]
    with pytest.raises(SeriesRefusedError) as caught:
        assemble_series(write_series(tmp_path, edit=edit))
    assert caught.value.reason is reason
    assert words in caught.value.detail
    assert "Doe" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_transfer_syntax_without_a_decoder_is_refused_by_name(tmp_path: Path) -> None:
    def encapsulate_pixels(_index: int, dataset: Dataset) -> None:
        dataset.PixelData = encapsulate([dataset.PixelData])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    with pytest.raises(SeriesRefusedError) as caught:
        assemble_series(write_series(tmp_path, transfer_syntax_uid=MPEG2MPML, edit=encapsulate_pixels))
    assert caught.value.reason is RefusalReason.UNSUPPORTED_TRANSFER_SYNTAX
    assert "20 of 20 instances" in caught.value.detail
    assert "MPEG2 Main Profile" in caught.value.detail


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_slices_are_too_few_to_see_a_stack(tmp_path: Path, count: int) -> None:
    with pytest.raises(SeriesRefusedError, match=f"{count} slice") as caught:
        assemble_series(write_series(tmp_path, count=count))
    assert caught.value.reason is RefusalReason.TOO_FEW_SLICES


def test_slopes_may_differ_from_slice_to_slice(tmp_path: Path) -> None:
    def scale(index: int, dataset: Dataset) -> None:
        if index % 2:
            dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "-1012"

    volume = assemble_series(write_series(tmp_path, edit=scale))
    assert volume.hu[0, 0, 0] == volume.hu[1, 0, 0] == -1000
    assert volume.hu[0, 5, 5] == 40
    assert volume.hu[1, 5, 5] == -480


def test_honest_headers_of_other_makers_are_not_refused(tmp_path: Path) -> None:
    def vary(_index: int, dataset: Dataset) -> None:
        dataset.RescaleType = "Houndsfield Unit"
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.GantryDetectorTilt = 15  # straightened after the scan: the geometry says so
        dataset.NumberOfFrames = 1
        dataset.AcquisitionNumber = None
        dataset.RescaleSlope, dataset.RescaleIntercept = "1.000000", "-1.024000E+03"

    assert assemble_series(write_series(tmp_path, edit=vary)).hu[0, 0, 0] == -1000

"""What a reader must know before trusting the numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicomnode.measure.chest_marks import blood_hu, metal_ml
from dicomnode.measure.kernel import HEADER, IMAGE, SHARP, SOFT, kernel_type
from dicomnode.measure.measurements import Quality
from dicomnode.measure.motion import outline_jumps_mm
from dicomnode.measure.noise import grain_mm, noise_hu
from dicomnode.measure.plausibility import lungs_are_implausible

THICK_SLICE_MM = 5.0
"""From this slice thickness on, small lesions and the lungs' ends are blurred away by partial volume."""

SPARSE_COVERAGE_RATIO = 1.5
"""Slices further apart than this multiple of their thickness leave tissue unseen between them."""

COARSE_PIXEL_MM = 2.5
"""A patient's lesion volume grew by 2 % at 1.4 mm and by 9 % at 2.8 mm: vessels blur into ground glass."""

NOISY_HU = 70.0
"""A patient's lesion volume changed by 1 to 3 % at a noise of 46 HU, by 8 % at 87, by 18 % at 170."""

ENHANCED_HU = 90.0
"""Of the blood: four unenhanced chests had 46 to 61 HU between the lungs; with agent it has 100 and more."""

METAL_ML = 0.1
"""A clip of 5 mm; four real chests without implants had none (electrodes on the skin don't count)."""

JUMP_MM = 1.0
"""Of the lungs' outline: 30 real chests stay below 0.72 mm, a breath of 5 mm during the scan makes 2.0 mm."""

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class ImageMarks:
    """What the image itself shows; ``None`` where it can't tell.

    Parameters
    ----------
    pixel_mm:
        The larger side of a pixel.
    noise_hu, grain_mm:
        See :mod:`dicomnode.measure.noise`.
    blood_hu, metal_ml:
        See :mod:`dicomnode.measure.chest_marks`.
    largest_jump_mm:
        See :mod:`dicomnode.measure.motion`.
    lungs_implausible:
        See :mod:`dicomnode.measure.plausibility`.
    """

    pixel_mm: float = 0.0
    noise_hu: float | None = None
    grain_mm: float | None = None
    blood_hu: float | None = None
    metal_ml: float = 0.0
    largest_jump_mm: float | None = None
    lungs_implausible: bool = False


def look_at_image(hu: NDArray[np.int16], sides: NDArray[np.uint8], spacing_mm: Spacing) -> ImageMarks:
    """Marks of a chest whose lungs are known.

    Parameters
    ----------
    hu, sides:
        Axes (superior, posterior, left); ``sides`` is anything but 0 in the lungs.
    spacing_mm:
        Of these axes.
    """
    jumps = outline_jumps_mm(sides, spacing_mm)
    return ImageMarks(
        pixel_mm=max(spacing_mm[1:]),
        noise_hu=noise_hu(hu, spacing_mm),
        grain_mm=grain_mm(hu, spacing_mm),
        blood_hu=blood_hu(hu, sides, spacing_mm),
        metal_ml=metal_ml(hu, sides, spacing_mm),
        largest_jump_mm=None if jumps is None else float(jumps.max()),
        lungs_implausible=lungs_are_implausible(sides, spacing_mm),
    )


def assess_quality(
    *,
    slice_thickness_mm: float | None,
    slice_spacing_mm: float,
    slices: int,
    kernel: str | None,
    contrast: bool | None,
    marks: ImageMarks | None = None,
    further_flags: Iterable[str] = (),
) -> Quality:
    """Flags from header, geometry and image, joined with those that earlier rooms raised.

    ``slice_spacing_mm`` is the distance of slice centres; ``kernel`` and ``contrast`` are what the header
    says, ``None`` where it is silent: then the image is asked.
    """
    marks = marks or ImageMarks()
    kind = kernel_type(kernel, marks.grain_mm)
    is_enhanced, told_by = _contrast(contrast, marks.blood_hu)
    raised = {
        "thick_slices": max(slice_thickness_mm or 0.0, slice_spacing_mm) >= THICK_SLICE_MM,
        "sparse_coverage": slice_spacing_mm > SPARSE_COVERAGE_RATIO * (slice_thickness_mm or np.inf),
        "coarse_pixels": marks.pixel_mm >= COARSE_PIXEL_MM,
        "noisy_image": marks.noise_hu is not None and marks.noise_hu > NOISY_HU,
        "sharp_kernel": kind is not None and kind.kind == SHARP,
        "soft_kernel": kind is not None and kind.kind == SOFT,
        "contrast_agent": bool(is_enhanced),
        "metal": marks.metal_ml >= METAL_ML,
        "motion": marks.largest_jump_mm is not None and marks.largest_jump_mm >= JUMP_MM,
        "lungs_implausible": marks.lungs_implausible,
    }
    return Quality(
        flags=(*(flag for flag, is_raised in raised.items() if is_raised), *further_flags),
        slice_thickness_mm=slice_thickness_mm,
        slice_spacing_mm=slice_spacing_mm,
        coverage_mm=slices * slice_spacing_mm,
        kernel=kernel,
        contrast=is_enhanced,
        kernel_type=kind.kind if kind else None,
        kernel_told_by=kind.told_by if kind else None,
        contrast_told_by=told_by,
    )


def _contrast(header: bool | None, blood: float | None) -> tuple[bool | None, str | None]:
    """Whether there is contrast agent, and who says so; bright blood outdoes a header that denies it."""
    is_bright = blood is not None and blood > ENHANCED_HU
    if header is None:
        return (None, None) if blood is None else (is_bright, IMAGE)
    return (True, IMAGE) if is_bright and not header else (header, HEADER)

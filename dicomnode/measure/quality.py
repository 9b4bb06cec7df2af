"""What a reader must know before trusting the numbers."""

from __future__ import annotations

from collections.abc import Iterable

from dicomnode.measure.measurements import Quality

THICK_SLICE_MM = 5.0
"""From this slice thickness on, small lesions and the lungs' ends are blurred away by partial volume."""

SPARSE_COVERAGE_RATIO = 1.5
"""Slices further apart than this multiple of their thickness leave tissue unseen between them."""

NOISY_HU = 70.0
"""A patient's lesion volume changed by 1 to 3 % at a noise of 46 HU, by 8 % at 87, by 18 % at 170."""


def assess_quality(
    *,
    slice_thickness_mm: float | None,
    slice_spacing_mm: float,
    slices: int,
    kernel: str | None,
    contrast: bool | None,
    noise_hu: float | None = None,
    lungs_implausible: bool = False,
    further_flags: Iterable[str] = (),
) -> Quality:
    """Flags from the geometry, joined with those that earlier rooms raised.

    ``slice_spacing_mm`` is the distance of slice centres; the flags are ``thick_slices``,
    ``sparse_coverage``, ``noisy_image`` and ``lungs_implausible``. ``noise_hu`` is as
    :func:`dicomnode.measure.noise.noise_hu` gives it.
    """
    flags = []
    if max(slice_thickness_mm or 0.0, slice_spacing_mm) >= THICK_SLICE_MM:
        flags.append("thick_slices")
    if slice_thickness_mm and slice_spacing_mm > SPARSE_COVERAGE_RATIO * slice_thickness_mm:
        flags.append("sparse_coverage")
    if noise_hu is not None and noise_hu > NOISY_HU:
        flags.append("noisy_image")
    if lungs_implausible:
        flags.append("lungs_implausible")
    return Quality(
        flags=(*flags, *further_flags),
        slice_thickness_mm=slice_thickness_mm,
        slice_spacing_mm=slice_spacing_mm,
        coverage_mm=slices * slice_spacing_mm,
        kernel=kernel,
        contrast=contrast,
    )

"""The MedSeg layout: lung-window pictures of single slices with GGO and consolidation, no lung masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicomnode.train.calibration import linear_grey_to_hu
from dicomnode.train.cases import ADULT_LUNG_WIDTH_MM, DataError, LabelledCase, lung_width, read_grey

GGO_VALUE, CONSOLIDATION_VALUE = 1, 2

CLOSING_MM = 30.0
"""Radius of the closing that takes dense lesions at the pleura back into a thresholded lung."""

LUNG_HU = -450.0
SMALLEST_LUNG_PART_MM2 = 400.0


def load_medseg(directory: Path) -> list[LabelledCase]:
    """One case a slice (``slice000``, ...), turned to the radiological view, calibrated to HU.

    The set holds no lung masks: they come from a threshold and a closing in the slice, blind to the truth.
    Slices are from different patients and scanners; how many share a patient isn't told.
    """
    pictures = sorted((directory / "Imgs").iterdir(), key=lambda path: (len(path.stem), path.stem))
    truths = {path.stem: path for path in (directory / "GT").iterdir()}
    cases = []
    for picture in pictures:
        if picture.stem not in truths:
            raise DataError(f"{picture} has no mask in {directory / 'GT'}")
        grey = np.rot90(read_grey(picture), k=-1)
        truth = np.rot90(read_grey(truths[picture.stem]), k=-1)
        cases.append(_case(f"slice{int(picture.stem):03d}", np.ascontiguousarray(grey), truth))
    return cases


def _case(name: str, grey: NDArray[np.uint8], truth: NDArray[np.uint8]) -> LabelledCase:
    dark = _large_parts(grey < _half_grey(grey), SMALLEST_LUNG_PART_MM2, 0.7)
    hu = linear_grey_to_hu([grey], [dark])[0]
    spacing = ADULT_LUNG_WIDTH_MM / max(lung_width(dark), 1)
    return LabelledCase(
        name=name,
        hu=[hu],
        lung=[slice_lungs(hu, spacing)],
        lesion=[(truth == GGO_VALUE) | (truth == CONSOLIDATION_VALUE)],
        spacing_mm=spacing,
        consolidation=[truth == CONSOLIDATION_VALUE],
        lung_known=False,
    )


def slice_lungs(hu: NDArray[np.int16], spacing_mm: float) -> NDArray[np.bool_]:
    """Lungs of a slice cut closely around them: thresholded, closed, holes filled."""
    parts = _large_parts(hu < LUNG_HU, SMALLEST_LUNG_PART_MM2, spacing_mm)
    pad = int(np.ceil(CLOSING_MM / spacing_mm)) + 1
    padded = np.pad(parts, pad)
    labelled, count = ndimage.label(padded)
    lungs = np.zeros_like(padded)
    for part in range(1, count + 1):  # one by one: closing both at once would bridge the mediastinum
        lungs |= _close(labelled == part, CLOSING_MM / spacing_mm)
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(lungs)[pad:-pad, pad:-pad]
    return filled


def _close(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    grown = ndimage.distance_transform_edt(~mask) <= radius
    closed: NDArray[np.bool_] = ndimage.distance_transform_edt(grown) > radius
    return closed | mask


def _large_parts(mask: NDArray[np.bool_], smallest_mm2: float, spacing_mm: float) -> NDArray[np.bool_]:
    labelled, _ = ndimage.label(mask)
    big = np.bincount(labelled.ravel()) * spacing_mm**2 >= smallest_mm2
    big[0] = False
    kept: NDArray[np.bool_] = big[labelled]
    return kept


def _half_grey(grey: NDArray[np.uint8]) -> float:
    """Otsu's threshold: between lung and soft tissue."""
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)
    mean_below = np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = mean_below / below - (mean_below[-1] - mean_below) / above
    return float(np.nanargmax(np.where((below > 0) & (above > 0), below * above * gap**2, 0.0))) + 1

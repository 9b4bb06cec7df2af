"""Slices of a CT, and the masks of its segmentation, as PNG in the radiological view."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicomnode.assemble.headers import SliceHeader, read_header
from dicomnode.assemble.pixels import read_hounsfield
from dicomnode.measure.distribution import HIGHEST_HU, LOWEST_HU
from dicomnode.measure.distribution import lung_histogram as histogram_of

LUNGS = "Lungs"
MAXIMUM_PIXELS = 4096 * 4096

_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1).astype(np.int64)


class PictureError(Exception):
    """It can't be drawn; the message says why."""


@dataclass(frozen=True, eq=False)
class Masks:
    """Where a binary segmentation has which mask of which slice.

    Parameters
    ----------
    numbers:
        Of the segments, by label.
    frames:
        Number of the frame by segment number and SOP Instance UID of the slice.
    offset:
        Of the pixel data in the file; one bit a pixel, the first in the lowest (PS3.5 8.1.1).
    orientation:
        Image Orientation (Patient).
    """

    path: Path
    rows: int
    columns: int
    pixel_mm2: float
    orientation: tuple[float, ...]
    numbers: Mapping[str, int]
    frames: Mapping[tuple[int, str], int]
    offset: int

    @classmethod
    def read(cls, path: Path) -> Masks:
        """Read all but the pixels.

        Raises
        ------
        PictureError
            If it is no binary segmentation, or not one that names the slices that it was drawn on.
        """
        header = read_header(path)
        dataset = dcmread(path, stop_before_pixels=True)
        if dataset.get("SegmentationType") != "BINARY" or header.pixel_element is None:
            raise PictureError("the masks are not stored as a binary segmentation")
        if (header.rows or 0) * (header.columns or 0) > MAXIMUM_PIXELS:
            raise PictureError("the masks are too large to be drawn")
        try:
            shared = dataset.SharedFunctionalGroupsSequence[0]
            row_mm, column_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
            frames = {_place(group): index for index, group in enumerate(dataset[_PER_FRAME].value)}
            return cls(
                path,
                int(dataset.Rows),
                int(dataset.Columns),
                row_mm * column_mm,
                tuple(map(float, shared.PlaneOrientationSequence[0].ImageOrientationPatient)),
                {str(item.SegmentLabel): int(item.SegmentNumber) for item in dataset.SegmentSequence},
                frames,
                header.pixel_element.offset,
            )
        except (AttributeError, KeyError, IndexError) as error:
            raise PictureError("the segmentation doesn't say on which slices its masks lie") from error

    def mask(self, label: str, instance: str) -> NDArray[np.bool_] | None:
        """The mask of a segment on a slice, (rows, columns); ``None`` if it has none there."""
        packed, skipped = self._packed(label, instance)
        if packed is None:
            return None
        bits = np.unpackbits(packed, bitorder="little")
        return (
            bits[skipped : skipped + self.rows * self.columns].reshape(self.rows, self.columns).astype(bool)
        )

    def areas_mm2(self, labels: Sequence[str]) -> dict[str, dict[str, float]]:
        """Area of each segment on each slice where it is, in mm², by label and SOP Instance UID."""
        found: dict[str, dict[str, float]] = {label: {} for label in labels}
        for (number, instance), _ in self.frames.items():
            label = next((name for name, value in self.numbers.items() if value == number), "")
            if label not in found:
                continue
            packed, skipped = self._packed(label, instance)
            if packed is not None and skipped == 0 and self.rows * self.columns % 8 == 0:
                pixels = int(_BITS[packed].sum())
            else:
                mask = self.mask(label, instance)
                pixels = 0 if mask is None else int(mask.sum())
            found[label][instance] = round(pixels * self.pixel_mm2, 1)
        return found

    def _packed(self, label: str, instance: str) -> tuple[NDArray[np.uint8] | None, int]:
        """The bytes that hold a frame, and how many bits of the first belong to the one before."""
        frame = self.frames.get((self.numbers.get(label, 0), instance))
        if frame is None:
            return None, 0
        size = self.rows * self.columns
        first, skipped = divmod(frame * size, 8)
        last = -((frame + 1) * size // -8)
        with self.path.open("rb") as file:
            file.seek(self.offset + first)
            content = file.read(last - first)
        if len(content) < last - first:
            raise PictureError("the segmentation is cut off")
        return np.frombuffer(content, np.uint8), skipped


def draw_slice(path: Path, center_hu: float, width_hu: float) -> bytes:
    """A slice in a window, as grey PNG."""
    header, hu = read_slice(path)
    grey = np.clip((hu - (center_hu - width_hu / 2)) * (255 / width_hu), 0, 255).astype(np.uint8)
    return _png(Image.fromarray(_turned(grey, header.orientation)))


def read_slice(path: Path) -> tuple[SliceHeader, NDArray[np.int16]]:
    """A slice in HU, (rows, columns).

    Raises
    ------
    PictureError
        If it is no CT slice.
    """
    header = read_header(path)
    if header.rows is None or header.columns is None or header.rescale_slope is None:
        raise PictureError("the slice is no CT image")
    if header.rows * header.columns > MAXIMUM_PIXELS:
        raise PictureError("the slice is too large to be drawn")
    hu = np.empty((header.rows, header.columns), np.int16)
    read_hounsfield(header, hu)
    return header, hu


def draw_overlay(masks: Masks, instance: str, segments: Sequence[tuple[str, Sequence[int]]]) -> bytes:
    """Segments on a slice as PNG that is clear elsewhere; the later ones lie on the earlier ones.

    Parameters
    ----------
    segments:
        Label, and red, green, blue, alpha.
    """
    index = np.zeros((masks.rows, masks.columns), np.uint8)
    palette, alphas = [0, 0, 0], [0]
    for number, (label, colour) in enumerate(segments, 1):
        mask = masks.mask(label, instance)
        if mask is not None:
            index[mask] = number
        palette += list(colour[:3])
        alphas.append(int(colour[3]))
    image = Image.fromarray(_turned(index, masks.orientation), "P")
    image.putpalette(palette)
    return _png(image, transparency=bytes(alphas))


def lung_histogram(masks: Masks, paths: Mapping[str, Path]) -> list[float]:
    """Probability a bin of the HU in the lungs, over all slices (:func:`dicomnode.measure.distribution`).

    Parameters
    ----------
    paths:
        The CT's files by SOP Instance UID.
    """
    counted, total = np.zeros(0), 0
    for instance, path in paths.items():
        lung = masks.mask(LUNGS, instance)
        if lung is None or not lung.any():
            continue
        _, hu = read_slice(path)
        if hu.shape != lung.shape:
            raise PictureError("slices and masks differ in size")
        inside = np.clip(hu[lung], LOWEST_HU, HIGHEST_HU - 1)
        binned = histogram_of(inside) * len(inside)
        counted = binned if not total else counted + binned
        total += len(inside)
    if not total:
        raise PictureError("the segmentation has no lung")
    return [round(float(value), 6) for value in counted / total]


def _place(group: Dataset) -> tuple[int, str]:
    """Segment number and source instance of a frame."""
    number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    source = group.DerivationImageSequence[0].SourceImageSequence[0]
    return number, str(source.ReferencedSOPInstanceUID)


def _turned(image: NDArray[np.uint8], orientation: Sequence[float] | None) -> NDArray[np.uint8]:
    """The patient's right to the left, front to the top."""
    if orientation is None:
        return image
    if orientation[0] < 0:
        image = image[:, ::-1]
    if orientation[4] < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)


def _png(image: Image.Image, **options: bytes) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3, **options)
    return file.getvalue()

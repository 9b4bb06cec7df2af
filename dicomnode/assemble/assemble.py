"""The room's one task: the files of a series become a :class:`Volume`, or a refusal that says why."""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dicomnode.assemble.decoded import DecodedSlices
from dicomnode.assemble.decoders import LOSSY
from dicomnode.assemble.errors import AssembleError
from dicomnode.assemble.gate import (
    check_headers,
    refuse_missing_pixel_data,
    refuse_unsupported_transfer_syntax,
)
from dicomnode.assemble.headers import SliceHeader, read_header
from dicomnode.assemble.pixels import Plausible, Progress, read_slice, read_stored_values, read_volume
from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.assemble.stack import SliceStack, check_stack
from dicomnode.assemble.volume import Acquisition, SourceInstance, Volume

V = TypeVar("V")

THICKNESS_TOLERANCE_MM = 0.01


def assemble_series(
    paths: Sequence[Path], progress: Progress | None = None, decoded: DecodedSlices | None = None
) -> Volume:
    """Make a volume of the files of one CT series, in any order.

    Slices are ordered by their position along the normal, whatever their instance numbers say. The same
    instance given twice counts once. The result depends on the files only, not on the order of ``paths``.

    Parameters
    ----------
    paths:
        The files of one series.
    progress:
        Called with (slices decoded, slices in all).
    decoded:
        Slices that needn't be read again.

    Raises
    ------
    SeriesRefusedError
        If the series can't be measured: any reason but ``no_lung`` and ``truncated_lung``, which are seen
        when the lungs are segmented.
    AssembleError
        If there are no files, a file is not readable as DICOM, or the files are of several series.
    """
    if not paths:
        raise AssembleError("a series without files can't be assembled")
    headers = _one_series([_header(path, decoded) for path in sorted(paths)])
    distinct, repeated = _without_repetitions(headers)
    check_headers(distinct)
    stack = SliceStack.of(distinct)
    check_stack(stack)
    for header, repetition in repeated:
        _refuse_different_pixels(header, repetition)
    first = stack.headers[0]
    return Volume(
        hu=read_volume(stack.headers, progress, lambda header, out: _fill(header, out, decoded)),
        affine=stack.affine,
        instances=tuple(SourceInstance(h.sop_instance_uid, h.sop_class_uid, h.path) for h in stack.headers),
        study_instance_uid=first.study_instance_uid,
        series_instance_uid=first.series_instance_uid,
        frame_of_reference_uid=first.frame_of_reference_uid or derived_frame_of_reference_uid(first),
        acquisition=_acquisition(stack.headers),
    )


def _header(path: Path, decoded: DecodedSlices | None) -> SliceHeader:
    known = decoded.find(path) if decoded is not None else None
    return known.header if known is not None else read_header(path)


def _fill(header: SliceHeader, out: NDArray[np.int16], decoded: DecodedSlices | None) -> Plausible:
    known = decoded.find(header.path) if decoded is not None else None
    if known is None or known.header is not header:
        return read_slice(header, out)
    np.copyto(out, known.hu)
    return known.values


def derived_frame_of_reference_uid(header: SliceHeader) -> str:
    """A frame of reference for a series that names none (anonymizers drop it): always the same for it.

    It is a UUID-5 of the Series Instance UID under 2.25 (PS3.5 B.2), so segmentations of the series share it.
    """
    name = f"{header.series_instance_uid}/frame of reference"
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}"


def _one_series(headers: list[SliceHeader]) -> list[SliceHeader]:
    series = {header.series_instance_uid for header in headers}
    studies = {header.study_instance_uid for header in headers}
    if len(series) > 1 or len(studies) > 1:
        raise AssembleError(
            f"the files are of {max(len(series), len(studies))} series; one is assembled at a time"
        )
    return headers


def _without_repetitions(
    headers: Sequence[SliceHeader],
) -> tuple[list[SliceHeader], list[tuple[SliceHeader, SliceHeader]]]:
    """Each instance once, and the pairs (kept, repeated) whose pixels must be compared."""
    files: dict[str, list[SliceHeader]] = defaultdict(list)
    for header in headers:
        files[header.sop_instance_uid].append(header)
    repeated = [(first, other) for first, *others in files.values() for other in others]
    for first, other in repeated:
        if not first.same_image_as(other):
            detail = f"{first.place} shares its SOP Instance UID with a different image"
            raise SeriesRefusedError(RefusalReason.DUPLICATE_POSITION, detail)
    return [first for first, *_ in files.values()], repeated


def _refuse_different_pixels(header: SliceHeader, repetition: SliceHeader) -> None:
    refuse_unsupported_transfer_syntax([repetition])
    refuse_missing_pixel_data([repetition])
    if not np.array_equal(read_stored_values(header), read_stored_values(repetition)):
        detail = f"{header.place} is there twice under one SOP Instance UID, with different pixels"
        raise SeriesRefusedError(RefusalReason.DUPLICATE_POSITION, detail)


def _acquisition(headers: Sequence[SliceHeader]) -> Acquisition:
    thickness = [
        h.slice_thickness for h in headers if h.slice_thickness is not None and h.slice_thickness > 0
    ]
    even = len(thickness) == len(headers) and max(thickness) - min(thickness) <= THICKNESS_TOLERANCE_MM
    return Acquisition(
        slice_thickness_mm=math.fsum(thickness) / len(thickness) if even else None,
        kernel=_common(headers, lambda header: header.kernel),
        contrast=_common(headers, lambda header: header.contrast),
        manufacturer=_common(headers, lambda header: header.manufacturer),
        body_part=_common(headers, lambda header: header.body_part),
        lossy=any(map(_is_lossy, headers)),
    )


def _common(headers: Sequence[SliceHeader], value: Callable[[SliceHeader], V | None]) -> V | None:
    values = {value(header) for header in headers}
    return values.pop() if len(values) == 1 else None


def _is_lossy(header: SliceHeader) -> bool:
    """What the header says; where it is silent, whether the transfer syntax allows loss."""
    if header.lossy_compression is not None:
        return header.lossy_compression
    return header.transfer_syntax_uid in LOSSY

"""Whose Segmentation is it? Those with our segments are a person's correction, others are refused."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import BaseTag, Tag

from dicomnode.assemble.refusal import RefusalReason, SeriesRefusedError
from dicomnode.report.header import MANUFACTURER
from dicomnode.report.label_map import WITHOUT_OPACITY, nested_keys
from dicomnode.report.segments import EFFUSION, FINDINGS, LOBES, LUNGS, SIDES, Segment

SEGMENTS = {segment.key: segment for segment in (*LUNGS, *LOBES, *FINDINGS, EFFUSION)}
"""Every segment that a result of ours can have, by its key."""

NESTED = {label.casefold(): keys for label, keys in nested_keys().items()}
"""What the segments of the node's label map show."""

ALGORITHM_SOURCE = "dicomnode"
DERIVED_UID_VERSION = 5
"""Our UIDs are UUIDs of version 5; programs that edit make random ones or have a root of their own."""

HEADER = tuple(
    map(
        Tag,
        (
            "SpecificCharacterSet",
            "SOPClassUID",
            "SOPInstanceUID",
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "Manufacturer",
            "ContentDate",
            "ContentTime",
            "InstanceNumber",
            "SegmentSequence",
            "ReferencedSeriesSequence",
        ),
    )
)


@dataclass(frozen=True)
class EditedSegmentation:
    """A Segmentation with segments of ours.

    Parameters
    ----------
    keys:
        Keys of what each segment of ours shows, by its number: one, but of a label map all that its voxels
        belong to.
    others:
        How many segments it has that aren't ours.
    source_series_uid:
        The CT series that it was drawn on.
    """

    path: Path
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    source_series_uid: str
    keys: Mapping[int, tuple[str, ...]]
    others: int


def recognize(paths: Sequence[Path], models: Sequence[str], own: Sequence[str]) -> list[EditedSegmentation]:
    """The Segmentations of a series in the order in which they were made.

    Parameters
    ----------
    paths:
        Their files.
    models:
        Names of the installed models: an automatic segment by another algorithm isn't ours.
    own:
        SOP Instance UIDs that are results of this node.

    Raises
    ------
    SeriesRefusedError
        ``foreign_segmentation`` if one is not a correction of our segments, ``other_grid`` if they were drawn
        on different CT series.
    """
    headers = sorted((_header(path) for path in paths), key=lambda pair: _made(pair[1]))
    edited = [_recognize(path, header, models, own) for path, header in headers]
    sources = {(one.study_instance_uid, one.source_series_uid) for one in edited}
    if len(sources) > 1:
        raise SeriesRefusedError(
            RefusalReason.OTHER_GRID,
            f"the {len(edited)} segmentations of the series were drawn on {len(sources)} CT series",
        )
    return edited


def _header(path: Path) -> tuple[Path, Dataset]:
    """What recognition needs; without the functional groups, of which there are thousands."""
    try:
        tags: list[BaseTag | int] = list(HEADER)
        return path, dcmread(path, stop_before_pixels=True, specific_tags=tags)
    except (OSError, InvalidDicomError, EOFError, ValueError, NotImplementedError) as error:
        raise _foreign(f"its header can't be read ({type(error).__name__})") from error


def _made(header: Dataset) -> tuple[str, str, int, str]:
    number = str(header.get("InstanceNumber") or "0")
    return (
        str(header.get("ContentDate") or ""),
        str(header.get("ContentTime") or ""),
        int(number) if number.isdecimal() else 0,
        str(header.get("SOPInstanceUID") or ""),
    )


def _recognize(path: Path, header: Dataset, models: Sequence[str], own: Sequence[str]) -> EditedSegmentation:
    instance = str(header.get("SOPInstanceUID") or "")
    if header.get("Manufacturer") == MANUFACTURER and instance not in own and _is_derived(instance):
        raise _foreign("a dicomnode made it, not a person, and it is no result of this one")
    items = [item for item in header.get("SegmentSequence") or [] if "SegmentNumber" in item]
    keys = {int(item.SegmentNumber): found for item in items if (found := _keys_of(item, models))}
    if not keys:
        raise _foreign(f"none of its {len(items)} segments is one of the node's")
    if len(set(keys.values())) < len(keys):
        raise _foreign("it has one of the node's segments twice")
    _check_whole(items, keys)
    named = (item.get("SeriesInstanceUID") for item in header.get("ReferencedSeriesSequence") or [])
    series = [str(uid) for uid in named if uid]
    if len(series) != 1:
        raise _foreign(f"it names {len(series)} source series, a correction is drawn on one")
    return EditedSegmentation(
        path=path,
        study_instance_uid=str(header.StudyInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=instance,
        source_series_uid=series[0],
        keys=keys,
        others=len(items) - len(keys),
    )


def _check_whole(items: Sequence[Dataset], keys: Mapping[int, tuple[str, ...]]) -> None:
    """A label map tells the lungs by all its parts: without one of them it would seem to be erased."""
    if not any(len(found) > 1 for found in keys.values()):
        return
    labels = {_label(item) for item in items}
    wholes = [{f"{region.label} {WITHOUT_OPACITY}".casefold() for region in part} for part in (LOBES, SIDES)]
    if any(len(found) == 1 for found in keys.values()) or not any(whole <= labels for whole in wholes):
        raise _foreign("a label map must keep the part without opacity of every lobe, or of both lungs")


def _keys_of(item: Dataset, models: Sequence[str]) -> tuple[str, ...]:
    """Keys of a segment, none if it isn't ours.

    Viewers keep the label and often lose codes, so the label decides, unless the codes are those of another
    segment of ours. Codes alone are enough only where the algorithm is still named as ours.
    """
    if nested := NESTED.get(_label(item)):
        return () if _is_automatic(item) and not _is_of_ours(item, models) else nested
    key = _key_of(item, models)
    return (key,) if key else ()


def _key_of(item: Dataset, models: Sequence[str]) -> str | None:
    by_label = next((key for key, ours in SEGMENTS.items() if _same_label(item, ours)), None)
    by_code = next((key for key, ours in SEGMENTS.items() if _same_code(item, ours)), None)
    if by_label is None:
        return by_code if _is_of_ours(item, models) else None
    if by_code is not None and by_code != by_label:
        return None
    return None if _is_automatic(item) and not _is_of_ours(item, models) else by_label


def _label(item: Dataset) -> str:
    return str(item.get("SegmentLabel") or "").strip().casefold()


def _is_automatic(item: Dataset) -> bool:
    return str(item.get("SegmentAlgorithmType") or "") == "AUTOMATIC"


def _same_label(item: Dataset, ours: Segment) -> bool:
    return _label(item) == ours.label.casefold()


def _same_code(item: Dataset, ours: Segment) -> bool:
    kinds = item.get("SegmentedPropertyTypeCodeSequence") or []
    if len(kinds) != 1:
        return False
    modifiers = kinds[0].get("SegmentedPropertyTypeModifierCodeSequence") or []
    wanted = ours.laterality and (ours.laterality.value, ours.laterality.scheme_designator)
    found = _code(modifiers[0]) if modifiers else None
    return _code(kinds[0]) == (ours.kind.value, ours.kind.scheme_designator) and found == wanted


def _code(item: Dataset) -> tuple[str, str]:
    return str(item.get("CodeValue") or ""), str(item.get("CodingSchemeDesignator") or "")


def _is_of_ours(item: Dataset, models: Sequence[str]) -> bool:
    algorithms = item.get("SegmentationAlgorithmIdentificationSequence") or []
    sources = {str(algorithm.get("AlgorithmSource") or "") for algorithm in algorithms}
    return ALGORITHM_SOURCE in sources or str(item.get("SegmentAlgorithmName") or "") in models


def _is_derived(sop_instance_uid: str) -> bool:
    """Whether a UID is a UUID of version 5 under 2.25 (PS3.5 B.2)."""
    prefix, _, number = sop_instance_uid.rpartition(".")
    if prefix != "2.25" or not number.isdecimal() or int(number) >= 1 << 128:
        return False
    return uuid.UUID(int=int(number)).version == DERIVED_UID_VERSION


def _foreign(why: str) -> SeriesRefusedError:
    return SeriesRefusedError(
        RefusalReason.FOREIGN_SEGMENTATION, f"no correction of the node's segments: {why}"
    )

"""What a Store Instances Response (PS3.18 I.2) says about one instance, in DICOM JSON or XML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

FAILED_SOP_SEQUENCE = "00081198"
REFERENCED_SOP_SEQUENCE = "00081199"
REFERENCED_SOP_INSTANCE_UID = "00081155"
FAILURE_REASON = "00081197"
WARNING_REASON = "00081196"

Item = Mapping[str, str]
"""Values of an item's data elements by tag."""


class StowResponseError(Exception):
    """The response can't be read; the message quotes nothing of it."""


@dataclass(frozen=True)
class InstanceAnswer:
    """What became of the instance.

    Parameters
    ----------
    failure_reason:
        ``None`` if it was stored; 0 if it was not and the reason is missing.
    warning_reason:
        What it was stored with; 0 for nothing.
    """

    failure_reason: int | None = None
    warning_reason: int = 0


def find_instance(body: bytes, media_type: str, sop_instance_uid: str) -> InstanceAnswer | None:
    """What the response says of the instance; ``None`` if nothing.

    Raises
    ------
    StowResponseError
        If there is a body and it is neither DICOM JSON nor the Native DICOM Model in XML.
    """
    if not body.strip():
        return None
    try:
        sequences = _from_xml(body) if "xml" in media_type.lower() else _from_json(body)
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, ElementTree.ParseError):
        raise StowResponseError("its response is no DICOM JSON or XML") from None
    for item in sequences.get(FAILED_SOP_SEQUENCE, ()):
        if item.get(REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid:
            return InstanceAnswer(failure_reason=_number(item, FAILURE_REASON))
    for item in sequences.get(REFERENCED_SOP_SEQUENCE, ()):
        if item.get(REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid:
            return InstanceAnswer(warning_reason=_number(item, WARNING_REASON))
    return None


def _number(item: Item, tag: str) -> int:
    value = item.get(tag, "")
    return int(value) if value.isdecimal() and int(value) <= 0xFFFF else 0


def _from_json(body: bytes) -> dict[str, list[Item]]:
    dataset = json.loads(body)
    if isinstance(dataset, list):  # some servers put the data set into an array, as for a query
        dataset = dataset[0] if dataset else {}
    return {
        tag: [dict(_json_values(item)) for item in dataset.get(tag, {}).get("Value", ())]
        for tag in (FAILED_SOP_SEQUENCE, REFERENCED_SOP_SEQUENCE)
    }


def _json_values(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for tag, element in item.items():
        values = element.get("Value") or [""]
        yield tag.upper(), str(values[0])


def _from_xml(body: bytes) -> dict[str, list[Item]]:
    root = ElementTree.fromstring(body)  # expat stops entities that grow
    return {
        attribute.get("tag", "").upper(): [
            {
                inner.get("tag", "").upper(): (inner.findtext("{*}Value") or "").strip()
                for inner in item.iterfind("{*}DicomAttribute")
            }
            for item in attribute.iterfind("{*}Item")
        ]
        for attribute in root.iterfind("{*}DicomAttribute")
    }

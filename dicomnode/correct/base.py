"""The masks that a person began with: the node's last result for the CT, read back from its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from dicomnode.analysis import MEASUREMENTS_FILE
from dicomnode.assemble.volume import Volume
from dicomnode.correct.masks import Mask, read_masks
from dicomnode.correct.merging import FINDINGS, LOBES, SIDES
from dicomnode.correct.recognition import recognize
from dicomnode.segment.segmentation import Label, ModelIdentity, QualityFlag, Segmentation


def read_base(seg_path: Path, volume: Volume) -> Segmentation:
    """The masks of a result of ours; model and flags from the measurements that lie beside it.

    Raises
    ------
    SeriesRefusedError
        If the masks are no result of ours on this volume.
    OSError, ValueError, KeyError
        If the measurements beside them can't be read.
    """
    record = json.loads((seg_path.parent / MEASUREMENTS_FILE).read_text(encoding="utf-8"))
    provenance = record["provenance"]
    model = ModelIdentity(provenance["model"], provenance["model_version"], provenance["weights_sha256"])
    edited = recognize([seg_path], [model.name], _own(seg_path))[0]
    return segmentation_of(read_masks(seg_path, edited.keys, volume).masks, model, _flags(record))


def segmentation_of(
    masks: Mapping[str, Mask], model: ModelIdentity, flags: tuple[QualityFlag, ...]
) -> Segmentation:
    """Maps from the masks of a whole result by key."""
    shape = next(iter(masks.values())).shape
    labels, sides, lobes = (np.zeros(shape, np.uint8) for _ in range(3))
    for key, side in SIDES.items():
        sides[masks[key]] = side
    labels[sides > 0] = Label.NORMAL_LUNG
    for key, label in FINDINGS.items():
        if key in masks:
            labels[masks[key]] = label
    for key, lobe in LOBES.items():
        if key in masks:
            lobes[masks[key]] = lobe
    return Segmentation(labels, sides, lobes, model, flags)


def _own(seg_path: Path) -> list[str]:
    return [str(dcmread(seg_path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)]


def _flags(record: dict[str, Any]) -> tuple[QualityFlag, ...]:
    """Those that belong to the masks; those of the image are found again."""
    known = {flag.value: flag for flag in QualityFlag}
    return tuple(known[flag] for flag in record["quality"]["flags"] if flag in known)

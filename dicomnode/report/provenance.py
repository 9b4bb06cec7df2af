"""What made a result, so that any number can be traced back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EditedSegment:
    """How much a person added to and took from a segment, mL."""

    key: str
    added_ml: float
    removed_ml: float


@dataclass(frozen=True)
class Correction:
    """A person's correction of masks.

    Parameters
    ----------
    instances:
        The edited segmentations as (series instance UID, SOP class UID, SOP instance UID).
    segments:
        What the person changed.
    changed:
        Keys of all segments that differ from those before: lesion and lungs follow from their parts.
    masks_sha256:
        Digest of the masks that were drawn.
    others:
        Segments that aren't the node's and were not measured.
    """

    instances: tuple[tuple[str, str, str], ...]
    segments: tuple[EditedSegment, ...]
    changed: tuple[str, ...]
    masks_sha256: str
    others: int = 0

    def to_json(self) -> dict[str, Any]:
        """What was edited, and the SOP instance UIDs of the edited segmentations."""
        return {
            "segments": [asdict(segment) for segment in self.segments],
            "sop_instance_uids": [instance for _, _, instance in self.instances],
            "masks_sha256": self.masks_sha256,
        }


@dataclass(frozen=True)
class Provenance:
    """Software, model, weights, configuration and input behind a result; digests are SHA-256 in hex.

    ``parameters`` are the model's thresholds in words, one sentence each. ``device`` is where the model ran
    ("cpu", "cuda"); it belongs to the record in ``measurements.json``, not to the DICOM objects, which stay
    the same wherever they were computed. ``correction`` is there where a person has edited the masks.
    """

    software: str
    model: str
    model_version: str
    weights_sha256: str
    config_sha256: str
    input_sha256: str
    device: str
    parameters: tuple[str, ...] = ()
    correction: Correction | None = None

    def to_json(self) -> dict[str, Any]:
        """The contract's names."""
        record = {**asdict(self), "parameters": list(self.parameters)}
        del record["correction"]
        return record if self.correction is None else record | {"correction": self.correction.to_json()}

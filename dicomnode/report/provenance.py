"""What made a result, so that any number can be traced back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Provenance:
    """Software, model, weights, configuration and input behind a result; digests are SHA-256 in hex.

    ``parameters`` are the model's thresholds in words, one sentence each. ``device`` is where the model ran
    ("cpu", "cuda"); it belongs to the record in ``measurements.json``, not to the DICOM objects, which stay
    the same wherever they were computed.
    """

    software: str
    model: str
    model_version: str
    weights_sha256: str
    config_sha256: str
    input_sha256: str
    device: str
    parameters: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The contract's names."""
        return {**asdict(self), "parameters": list(self.parameters)}

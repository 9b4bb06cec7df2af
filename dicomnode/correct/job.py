"""What the worker is asked about segmentations that came back, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DrawnOn:
    """The CT series that recognised segmentations were drawn on."""

    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True)
class CorrectionJob:
    """Files of one correction.

    Parameters
    ----------
    ct_paths:
        The CT series.
    seg_paths:
        The edited segmentations of a series.
    own:
        Results of this node among them: file as it was sent by SOP Instance UID.
    base:
        The masks that were measured last; ``None`` where they are gone and must be found again.
    training_directory:
        Where the corrected masks and the CT are kept for training, if they are to be.
    """

    ct_paths: tuple[Path, ...]
    seg_paths: tuple[Path, ...]
    own: tuple[tuple[str, Path], ...] = ()
    base: Path | None = None
    training_directory: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "ct_paths": [str(path) for path in self.ct_paths],
            "seg_paths": [str(path) for path in self.seg_paths],
            "own": {uid: str(path) for uid, path in self.own},
            "base": str(self.base) if self.base else None,
            "training_directory": str(self.training_directory) if self.training_directory else None,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> CorrectionJob:
        """The job that :meth:`to_json` has written."""
        directory = values["training_directory"]
        return cls(
            ct_paths=tuple(map(Path, values["ct_paths"])),
            seg_paths=tuple(map(Path, values["seg_paths"])),
            own=tuple((uid, Path(path)) for uid, path in values["own"].items()),
            base=Path(values["base"]) if values["base"] else None,
            training_directory=Path(directory) if directory else None,
        )

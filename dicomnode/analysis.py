"""What the pipeline hands back for one series; kept apart so that the daemon needn't load the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dicomnode.assemble.refusal import RefusalReason
from dicomnode.report.result_set import ResultSet

MEASUREMENTS_FILE = "measurements.json"
OVERVIEW_FILE = "overview.png"

STAGES = {"load": 0.0, "assemble": 0.02, "lungs": 0.1, "lesions": 0.2, "measure": 0.9, "report": 0.92}
"""Where each stage begins on a progress bar from 0 to 1."""

Progress = Callable[[str, float], None]
"""Called with the stage's name and its done fraction in [0, 1]."""


def no_progress(_stage: str, _fraction: float) -> None:
    """The default: nobody watches."""


def stage_fraction(stage: str, fraction: float) -> float:
    """Position on the whole bar of a stage that is done to ``fraction``."""
    begin = STAGES.get(stage, 0.0)
    end = min((b for b in STAGES.values() if b > begin), default=1.0)
    return begin + fraction * (end - begin)


@dataclass(frozen=True)
class Working:
    """The series that a worker has in hand, and the stage with its done fraction in [0, 1]."""

    series_id: str
    stage: str = ""
    fraction: float = 0.0


@dataclass(frozen=True)
class Cost:
    """What an analysis took: seconds by step, and the most memory of the GPU in bytes, if there was one."""

    step_seconds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    gpu_memory_bytes: int | None = None


@dataclass(frozen=True)
class Analysis:
    """What became of a series: measured, or refused with a reason; either way with its result files."""

    results: ResultSet
    refusal: tuple[RefusalReason, str] | None = None
    cost: Cost = field(default_factory=Cost)

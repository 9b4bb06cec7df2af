"""Which files of a series its pictures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicomnode.analysis import MEASUREMENTS_FILE
from dicomnode.spool.browsing import Browser
from dicomnode.spool.records import InstanceRecord, SeriesDetails
from dicomnode.spool.spool import results_path
from dicomnode.web.measured import Measured

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
KEY_SLICES = 4
APART = 16
"""Key slices are at least this fraction of the series apart from each other."""


@dataclass(frozen=True)
class Slice:
    """A CT slice; ``position_mm`` is along the normal."""

    instance: str
    path: Path
    position_mm: float


@dataclass(frozen=True)
class SeriesFiles:
    """The slices from the head down, the masks and the numbers; what is not there says why.

    Parameters
    ----------
    problem:
        Why there are no pictures, in a sentence; empty if there are.
    """

    details: SeriesDetails
    slices: tuple[Slice, ...]
    seg: Path | None
    measured: Measured | None
    measured_path: Path | None
    problem: str

    @classmethod
    def of(cls, browser: Browser, directory: Path, series_id: str) -> SeriesFiles:
        """Files of a series; of a correction, the slices that it was drawn on.

        Raises
        ------
        LedgerError
            If there is no such series.
        """
        details = browser.show(series_id)
        series = details.series
        source = browser.show(series.corrects) if series.corrects else details
        slices = _slices(source.instances, directory)
        seg = next(
            (
                directory / result.path
                for result in details.results
                if result.kind == "seg" and result.generation == series.generation
            ),
            None,
        )
        numbers = results_path(directory, series.id, series.generation) / MEASUREMENTS_FILE
        measured = Measured.read(numbers)
        if source.series.purged_at is not None:
            problem = "The images were purged; the measurements stayed."
        elif series.purged_at is not None:
            problem = "The results were purged; the measurements stayed."
        elif not slices:
            problem = "The series has no CT slices with a position."
        else:
            problem = ""
        there = seg if seg is not None and seg.is_file() else None
        return cls(details, slices, there, measured, numbers if measured else None, problem)


def key_slices(areas: Sequence[float], number: int = KEY_SLICES) -> list[int]:
    """Slices with the most lesion, some way apart; the middle one if there is no lesion."""
    chosen: list[int] = []
    least = max(1, len(areas) // APART)
    for index in sorted(range(len(areas)), key=lambda i: (-areas[i], i)):
        if areas[index] <= 0 or len(chosen) == number:
            break
        if all(abs(index - other) >= least for other in chosen):
            chosen.append(index)
    return sorted(chosen) or ([len(areas) // 2] if areas else [])


def _slices(instances: Sequence[InstanceRecord], directory: Path) -> tuple[Slice, ...]:
    found = [
        Slice(one.sop_instance_uid, directory / one.path, one.position_mm)
        for one in instances
        if one.sop_class_uid == CT_IMAGE_STORAGE and one.position_mm is not None
    ]
    return tuple(sorted(found, key=lambda one: (-one.position_mm, one.instance)))

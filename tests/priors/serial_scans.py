"""Serial scans of one patient as small series, and the results that the product makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from dicomnode.measure.change import compare
from dicomnode.measure.priors import Findings
from dicomnode.report.record import measurements_record
from tests.prior_cases import MAKER
from tests.report.report_cases import axial_affine, make_case, thorax, write_ct

ROOT = "1.2.826.0.1.3680043.8.498.7"


@dataclass(frozen=True)
class SerialScan:
    """A CT series, and the report on it."""

    study_instance_uid: str
    source: Path
    report: Path


def make_scan(
    folder: Path,
    number: int,
    made: date,
    *,
    study: str = "",
    findings: Findings | None = None,
    **attributes: object,
) -> SerialScan:
    """A scan of patient PAT-1 (Doe^Jane, born in 1960, F) unless ``attributes`` say otherwise."""
    hu, labels, sides = thorax()
    labels[4 : 6 + number, 20:27, 6:13] = 2
    labels = np.where(sides > 0, labels, 0).astype(np.uint8)
    study = study or f"{ROOT}.{number}"
    identity = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "StudyDate": f"{made:%Y%m%d}",
        "ContentDate": f"{made:%Y%m%d}",
    }
    volume = write_ct(folder / f"ct-{number}", hu, axial_affine(), **{**identity, **attributes})
    volume = replace(volume, study_instance_uid=study, series_instance_uid=f"{study}.1")
    case = make_case(volume, labels, sides)
    course = None
    if findings is not None:
        course = compare(measurements_record(case.measurements), MAKER, findings)
    _, report, _ = case.build(folder / f"results-{number}", course=course)
    return SerialScan(study, volume.instances[0].path, report.path)

"""Patients simulated from the Marseille study: a table with outcomes whose true odds ratios are known.

The odds ratios of CT-SS (3.02) and lesion extent (3.86) are those of the paper's Table 3. Those of the
characteristics and the make-up of the patients are ours, chosen so that the C-statistics come near the
paper's (A 0.82, B 0.89, C 0.90).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PATIENTS = 1621
CT_SS_ODDS_RATIO, EXTENT_ODDS_RATIO = 3.02, 3.86
INTERCEPT = -5.2
CHARACTERISTICS = {
    "age 45-64": 4.0,
    "age >64": 18.0,
    "male": 2.2,
    "comorbidities": 4.5,
    "more than 7 days since onset": 2.0,
}
"""Odds ratios."""


@dataclass(frozen=True, eq=False)
class Simulated:
    """Columns with a value a patient, ``z`` the standardised score that the outcome was drawn with."""

    age: NDArray[np.int64]
    male: NDArray[np.bool_]
    comorbidities: NDArray[np.bool_]
    onset_days: NDArray[np.int64]
    ct_ss: NDArray[np.float64]
    extent: NDArray[np.float64]
    outcome: NDArray[np.bool_]


def simulate(seed: int, patients: int = PATIENTS, *, by: str) -> Simulated:
    """Draw patients whose outcome follows model B (``by="ct_ss"``) or C (``by="extent"``)."""
    random = np.random.default_rng(seed)
    age = random.choice([*range(18, 45)] * 2 + [*range(45, 65)] * 3 + [*range(65, 95)], patients)
    male, comorbidities = random.random(patients) < 0.48, random.random(patients) < 0.35
    onset_days = random.integers(0, 15, patients)
    severity = random.normal(0.35 * (age > 64) + 0.2 * male, 1.0)
    ct_ss = np.clip(np.round(9 + 6 * (severity + random.normal(0, 0.4, patients))), 0, 40)
    extent = np.exp(0.6 * (severity + random.normal(0, 0.4, patients)) + 1).clip(0, 60)
    chosen = {"ct_ss": (ct_ss, CT_SS_ODDS_RATIO), "extent": (extent, EXTENT_ODDS_RATIO)}[by]
    z = (chosen[0] - chosen[0].mean()) / chosen[0].std(ddof=1)
    odds = dict(CHARACTERISTICS)
    logit = INTERCEPT + np.log(chosen[1]) * z
    present = ((age >= 45) & (age < 65), age > 64, male, comorbidities, onset_days > 7)
    for ratio, one in zip(odds.values(), present, strict=True):
        logit = logit + np.log(ratio) * one
    outcome = random.random(patients) < 1 / (1 + np.exp(-logit))
    return Simulated(age, male, comorbidities, onset_days, ct_ss, extent, outcome)


def write_table(found: Simulated, path: Path) -> None:
    """As a hospital would join it: the cohort's columns, characteristics and the outcome."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["series", "age", "sex", "comorbidities", "onset_days", "ct_ss", "lesion_extent_percent", "poor"]
        )
        for index in range(len(found.age)):
            writer.writerow(
                [
                    f"{index:020x}",
                    found.age[index],
                    "M" if found.male[index] else "F",
                    int(found.comorbidities[index]),
                    found.onset_days[index],
                    found.ct_ss[index],
                    repr(float(found.extent[index])),
                    "yes" if found.outcome[index] else "no",
                ]
            )

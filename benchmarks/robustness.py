"""The whole analysis on chests made hard one way at a time: what it finds, what it says, what it needs.

    python -m benchmarks.robustness --data DATA [--model best] [--device auto] [--only WORDS]

DATA holds ``ricord_covid_chest``. Each case is written as a CT series and analyzed by a process as
the node's worker is: from the files to SEG, SR and pictures. A row says the CPU time of the
analysis, the most memory the process ever held, and the volumes beside those of the phantom or of the same
patient's undisturbed scan. It ends with 1 if a number isn't finite, a process fails, or memory exceeds
``MEMORY_BOUND_GB``.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.robust_cases import (
    PatientCase,
    Scan,
    Truth,
    coarser,
    geometry_cases,
    hardship_cases,
    phantom_cases,
    read_patient,
    write_scan,
)
from dicomnode.phantom import PatientPosition
from dicomnode.segment.segmentation import Side

MEMORY_BOUND_GB = 6.0
COLUMNS = (
    "case",
    "slices",
    "matrix",
    "spacing mm",
    "CPU s",
    "peak GB",
    "lung mL",
    "error",
    "lesion mL",
    "error",
    "flags, or why refused",
)


@dataclass(frozen=True)
class Outcome:
    """What the process said of a series; ``measured`` is None if it was refused."""

    cpu_seconds: float
    peak_gb: float
    refusal: str | None
    measured: dict[str, Any] | None


def main() -> int:
    """Run every case and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds ricord_covid_chest")
    parser.add_argument("--model", default="best")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", default="", help="cases whose name holds these words")
    arguments = parser.parse_args()
    failures = []
    print_row(COLUMNS)
    print_row(["---"] * len(COLUMNS))
    for name, scan, truth, outcome in run_all(arguments):
        print_row(row(name, scan, truth, outcome))
        failures += [f"{name}: {failure}" for failure in failures_of(outcome)]
    for failure in failures:
        print(failure)
    return 1 if failures else 0


def run_all(arguments: argparse.Namespace) -> Iterator[tuple[str, Scan, Truth | None, Outcome]]:
    """Each case with what should be found, if anybody knows, and what was.

    The first case of a group is undisturbed; the others of the group are held against it.
    """
    patient = read_patient(arguments.data / "ricord_covid_chest")
    analyst = Analyst(arguments.model, arguments.device)
    number = 0
    for scan_of, cases in ((coarser, hardship_cases), (lambda scan: scan, geometry_cases)):
        chosen = [case for case in cases() if arguments.only in case.name]
        if not chosen:
            continue
        scan, undisturbed = scan_of(patient), None
        first = next(cases())
        for case in chosen if chosen[0].name == first.name else (first, *chosen):
            number += 1
            disturbed = case.make(scan)
            outcome = analyst.analyze(disturbed, number, case.position)
            undisturbed = undisturbed or truth_of(outcome)
            yield case.name, disturbed, expected(case, undisturbed), outcome
    for phantom in phantom_cases():
        number += 1
        if arguments.only in phantom.name:
            disturbed, truth = phantom.build()
            yield phantom.name, disturbed, truth, analyst.analyze(disturbed, number, PatientPosition.HFS)
    analyst.close()


class Analyst:
    """A process that analyzes series as the node's worker does; a new one where the last ended."""

    def __init__(self, model: str, device: str) -> None:
        self._command = [sys.executable, "-m", "benchmarks.robust_worker", model, device]
        self._process: subprocess.Popen[str] | None = None

    def analyze(self, scan: Scan, number: int, position: PatientPosition) -> Outcome:
        """The scan written as a series, and what the process made of it."""
        with tempfile.TemporaryDirectory() as directory:
            series, out = Path(directory) / "series", Path(directory) / "out"
            write_scan(scan, series, number, position)
            answer = self._ask(json.dumps({"series": str(series), "out": str(out)}))
            if answer is None:
                return Outcome(math.nan, math.nan, "the process ended", None)
            found = out / "measurements.json"
            measured = json.loads(found.read_text(encoding="utf-8")) if found.is_file() else None
            return Outcome(answer["cpu_seconds"], answer["peak_bytes"] / 1e9, answer["refusal"], measured)

    def _ask(self, request: str) -> dict[str, Any] | None:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(request + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            process.wait()
            self._process = None
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Let the process end."""
        if self._process is not None:
            self._process.communicate()


def truth_of(outcome: Outcome) -> dict[Side, Truth]:
    """The undisturbed scan's figures: both lungs under ``NONE``, and each side."""
    if outcome.measured is None:
        raise SystemExit(f"the undisturbed scan can't be measured: {outcome.refusal}")
    found = outcome.measured
    sides = {side: found["sides"][side.name.lower()] for side in (Side.RIGHT, Side.LEFT)}
    both = Truth(found["lung_volume_ml"], found["lesion_volume_ml"])
    return {
        Side.NONE: both,
        **{side: Truth(one["volume_ml"], one["lesion_volume_ml"]) for side, one in sides.items()},
    }


def expected(case: PatientCase, undisturbed: dict[Side, Truth]) -> Truth | None:
    """What the case should give."""
    if not case.factor:
        return None
    whole = undisturbed[case.side]
    return Truth(whole.lung_ml * case.factor, whole.lesion_ml * case.factor)


def failures_of(outcome: Outcome) -> Iterator[str]:
    """What must never happen."""
    if math.isnan(outcome.peak_gb):
        yield str(outcome.refusal)
    elif outcome.peak_gb > MEMORY_BOUND_GB:
        yield f"{outcome.peak_gb:.1f} GB of memory, more than {MEMORY_BOUND_GB:g}"
    for name in not_finite(outcome.measured):
        yield f"{name} is not finite"


def not_finite(value: Any, name: str = "measurements") -> Iterator[str]:
    """Names of the numbers in a JSON value that are NaN or infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield name
    for key, part in value.items() if isinstance(value, dict) else ():
        yield from not_finite(part, f"{name}.{key}")
    for key, part in enumerate(value) if isinstance(value, list) else ():
        yield from not_finite(part, f"{name}.{key}")


def row(name: str, scan: Scan, truth: Truth | None, outcome: Outcome) -> list[str]:
    """The cells of a case."""
    slices, rows, _ = scan.hu.shape
    z, y, _ = scan.spacing_mm
    cells = [name, str(slices), str(rows), f"{z:.3g} x {y:.3g}"]
    cells += [f"{outcome.cpu_seconds:.0f}", f"{outcome.peak_gb:.1f}"]
    found = outcome.measured
    if found is None:
        return [*cells, "", "", "", "", str(outcome.refusal)]
    lung, lesion = found["lung_volume_ml"], found["lesion_volume_ml"]
    return [
        *cells,
        f"{lung:.0f}",
        error(lung, truth.lung_ml if truth else None),
        f"{lesion:.1f}",
        error(lesion, truth.lesion_ml if truth else None),
        ", ".join(found["quality"]["flags"]),
    ]


def print_row(cells: Sequence[str]) -> None:
    """A row of a Markdown table, as soon as it is known."""
    print(f"| {' | '.join(cells)} |", flush=True)


def error(found: float, true: float | None) -> str:
    """Percent of the truth."""
    return f"{100 * (found - true) / true:+.1f} %" if true else ""


if __name__ == "__main__":
    sys.exit(main())

"""compare masks or measurements of two readers, or of a reader and a model

REFERENCE and PREDICTION are two folders of masks (NIfTI, NRRD, MetaImage) with the same file names, two
masks, or two CSV tables that share a column `case` (or `series_instance_uid`) and columns of numbers.

Masks: Dice, sensitivity and positive predictive value a case and label, and the agreement of their volumes
in mL. Numbers: mean absolute error, bias, volume similarity (MVSF), Pearson, Spearman, ICC(A,1) with its
95 % interval, Wilcoxon signed ranks, Bland-Altman limits of the values and of their square roots.

Examples:
  dicomnode agree readers/one readers/two --out agreement
  dicomnode agree reference.csv cohort.csv --json
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from dicomnode.cohort.agreement import MINIMUM_CASES, Agreement, AgreementError, agree
from dicomnode.cohort.masks import Overlap, overlaps, paired_files
from dicomnode.cohort.tables import paired_columns
from dicomnode.commands.common import CommandError
from dicomnode.terminal import print_json, print_table, progress_bars

COLUMNS = (
    "Quantity",
    "Cases",
    "Reference",
    "Prediction",
    "Bias",
    "MAE",
    "MVSF",
    "Pearson",
    "Spearman",
    "ICC [95 %]",
    "Wilcoxon p",
    "Limits of agreement",
)


@dataclass(frozen=True)
class _Quantity:
    name: str
    reference: Sequence[float]
    prediction: Sequence[float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("reference", metavar="REFERENCE", type=Path)
    parser.add_argument("prediction", metavar="PREDICTION", type=Path)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for a picture of each quantity")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Compare; 1 when the two can't be compared."""
    try:
        if arguments.reference.suffix.lower() == ".csv":
            found: list[Overlap] = []
            columns = paired_columns(arguments.reference, arguments.prediction)
            quantities = [_Quantity(c.name, c.reference, c.prediction) for c in columns]
        else:
            found = _compare_masks(arguments.reference, arguments.prediction)
            quantities = _volumes(found)
        agreements = {q.name: agree(q.reference, q.prediction) for q in quantities if _enough(q)}
    except AgreementError as error:
        raise CommandError(str(error)) from error
    pictures = _draw(quantities, agreements, arguments.out) if arguments.out else []
    if arguments.json:
        print_json(
            {
                "cases": [asdict(one) for one in found],
                "agreement": {name: asdict(one) for name, one in agreements.items()},
                "pictures": [str(path) for path in pictures],
            }
        )
    else:
        _print(found, quantities, agreements, pictures)
    return 0


def _enough(quantity: _Quantity) -> bool:
    return len(quantity.reference) >= MINIMUM_CASES


def _compare_masks(reference: Path, prediction: Path) -> list[Overlap]:
    found: list[Overlap] = []
    pairs = paired_files(reference, prediction)
    with progress_bars() as bars:
        task = bars.add_task("comparing masks", total=len(pairs))
        for case, ours, theirs in pairs:
            found.extend(overlaps(case, ours, theirs))
            bars.advance(task)
    return found


def _volumes(found: Sequence[Overlap]) -> list[_Quantity]:
    quantities = []
    for label in dict.fromkeys(one.label for one in found):
        chosen = [one for one in found if one.label == label]
        quantities.append(
            _Quantity(
                f"volume of {label}, mL",
                [one.reference_ml for one in chosen],
                [one.prediction_ml for one in chosen],
            )
        )
    return quantities


def _draw(quantities: Sequence[_Quantity], agreements: dict[str, Agreement], out: Path) -> list[Path]:
    try:
        from dicomnode.cohort.agreement_plot import plot_agreement  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError as error:
        raise CommandError("pictures need matplotlib: pip install 'dicomnode[cohort]'") from error
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for quantity in quantities:
        if quantity.name in agreements:
            path = out / f"{re.sub(r'[^A-Za-z0-9]+', '_', quantity.name).strip('_')}.png"
            agreement = agreements[quantity.name]
            plot_agreement(quantity.name, quantity.reference, quantity.prediction, agreement, path)
            paths.append(path)
    return paths


def _print(
    found: Sequence[Overlap],
    quantities: Sequence[_Quantity],
    agreements: dict[str, Agreement],
    pictures: Sequence[Path],
) -> None:
    if found:
        rows = [
            (
                one.case,
                one.label,
                *map(_text, (one.dice, one.sensitivity, one.ppv)),
                f"{one.reference_ml:.1f}",
                f"{one.prediction_ml:.1f}",
            )
            for one in found
        ]
        print_table("Masks", ("Case", "Label", "Dice", "Sensitivity", "PPV", "Reference mL", "mL"), rows)
        print_table("Overlap", ("Label", "Cases", "Dice", "Sensitivity", "PPV"), _means(found))
    print_table("Agreement", COLUMNS, [_row(name, one) for name, one in agreements.items()])
    for quantity in quantities:
        if not _enough(quantity):
            print(f"{quantity.name}: {len(quantity.reference)} cases, {MINIMUM_CASES} are needed")
    for path in pictures:
        print(f"picture: {path}")


def _means(found: Sequence[Overlap]) -> list[tuple[str, ...]]:
    rows = []
    for label in dict.fromkeys(one.label for one in found):
        chosen = [one for one in found if one.label == label]
        measures = ([o.dice for o in chosen], [o.sensitivity for o in chosen], [o.ppv for o in chosen])
        rows.append((label, str(len(chosen)), *(_mean(values) for values in measures)))
    return rows


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known):.3f} ± {pstdev(known):.3f}" if known else "-"


def _row(name: str, found: Agreement) -> tuple[str, ...]:
    interval, limits = found.icc_interval, found.bland_altman
    icc = _text(found.icc) + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else "")
    return (
        name,
        str(found.cases),
        f"{found.reference_mean:.4g}",
        f"{found.prediction_mean:.4g}",
        f"{found.bias:+.4g}",
        f"{found.mae:.4g}",
        *map(_text, (found.mvsf, found.pearson, found.spearman)),
        icc,
        "-" if found.wilcoxon_p is None else f"{found.wilcoxon_p:.3g}",
        f"{limits.low:.4g} to {limits.high:.4g}",
    )


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}"

"""what CT adds to a patient's characteristics: models A, B and C on a table with outcomes

TABLE is a CSV or Parquet table with a row a patient: columns of `dicomnode cohort`, joined with the
outcome and the patient's characteristics. Logistic regression as in Bartoli et al. 2022:

  A  age group (18-44, 45-64, >64), sex, comorbidities, more than 7 days since onset
  B  A and the CT severity score (CT-SS), standardised
  C  A and the lesion extent, standardised

Printed: odds ratios and C-statistics (DeLong) with 95 % intervals, likelihood-ratio tests against A,
cut-offs by Youden's index. Models are fitted to 70 % of the patients and tested on the others. Rows with a
missing value are left out and counted. For research: no diagnosis, no rule for a single patient.

Examples:
  dicomnode prognosis patients.csv --outcome poor_outcome --plot roc.png
  dicomnode prognosis patients.csv --outcome died --age patient_age --without onset --json
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from dicomnode.cohort.errors import CohortError
from dicomnode.cohort.patients import (
    Patients,
    Variable,
    age_group,
    days_since,
    male,
    number,
    read_rows,
    select,
    yes_or_no,
)
from dicomnode.cohort.prognosis import (
    AGE,
    CHARACTERISTICS,
    COMORBIDITIES,
    ONSET,
    ONSET_DAYS,
    OUTCOME,
    SCORES,
    SEX,
    Prognosis,
    prognosis,
)
from dicomnode.commands.common import CommandError
from dicomnode.commands.prognosis_output import print_prognosis, prognosis_json
from dicomnode.terminal import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("table", type=Path, metavar="TABLE", help="CSV or Parquet, a row a patient")
    parser.add_argument(
        "--outcome", required=True, metavar="COLUMN", help="poor outcome: 0 and 1, or yes and no"
    )
    parser.add_argument(
        "--age", default="age", metavar="COLUMN", help="years or age group (default: %(default)s)"
    )
    parser.add_argument("--sex", default="sex", metavar="COLUMN", help="M and F (default: %(default)s)")
    parser.add_argument(
        "--comorbidities",
        default="comorbidities",
        metavar="COLUMN",
        help="any at all: 0 and 1, or yes and no (default: %(default)s)",
    )
    parser.add_argument(
        "--onset-days", default="onset_days", metavar="COLUMN", help="days since onset (default: %(default)s)"
    )
    parser.add_argument("--ct-ss", metavar="COLUMN", help="CT severity score, 0 to 40 (default: ct_ss)")
    parser.add_argument(
        "--extent", metavar="COLUMN", help="lesion extent in %% (default: lesion_extent_percent)"
    )
    parser.add_argument(
        "--without",
        type=_characteristics,
        default=(),
        metavar="NAMES",
        help=f"leave out of model A, of {','.join(CHARACTERISTICS)}",
    )
    parser.add_argument(
        "--held-out",
        type=_share,
        default=0.3,
        metavar="SHARE",
        help="share of the patients to test on; 0 tests on those fitted to (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="decides who is held out (default: %(default)s)")
    parser.add_argument("--plot", type=_picture, metavar="FILE", help="ROC curves, .png or .svg")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(arguments: argparse.Namespace) -> int:
    """Fit, test, print; 1 when the table can't be used."""
    try:
        rows = read_rows(arguments.table)
        patients = select(rows, _variables(arguments, rows[0]))
        found = prognosis(patients, held_out=arguments.held_out, seed=arguments.seed)
    except CohortError as error:
        raise CommandError(str(error)) from error
    except ModuleNotFoundError as error:
        raise CommandError("prognosis needs statsmodels: pip install 'dicomnode[cohort]'") from error
    if arguments.plot:
        _plot(found, arguments.plot)
    notes = (*_about(patients, arguments, found), *found.notes)
    if arguments.json:
        print_json(prognosis_json(found, patients, notes))
    else:
        print_prognosis(found, notes)
        if arguments.plot:
            print(f"picture: {arguments.plot}")
    return 0


def _variables(arguments: argparse.Namespace, row: Mapping[str, str]) -> dict[str, Variable]:
    found = {
        OUTCOME: Variable(arguments.outcome, yes_or_no),
        AGE: Variable(arguments.age, age_group),
        SEX: Variable(arguments.sex, male),
        COMORBIDITIES: Variable(arguments.comorbidities, yes_or_no),
        ONSET: Variable(arguments.onset_days, days_since(ONSET_DAYS)),
    }
    for name in arguments.without:
        del found[name]
    for name, (asked, usual) in _score_columns(arguments).items():
        if asked or usual in row:
            found[name] = Variable(asked or usual, number)
    if not found.keys() & set(SCORES.values()):
        raise CohortError(
            "the table has no column ct_ss or lesion_extent_percent; name one with --ct-ss or --extent"
        )
    return found


def _score_columns(arguments: argparse.Namespace) -> dict[str, tuple[str | None, str]]:
    """The column that was asked for, and the one that is taken where it is there."""
    return {
        SCORES["B"]: (arguments.ct_ss, "ct_ss"),
        SCORES["C"]: (arguments.extent, "lesion_extent_percent"),
    }


def _about(patients: Patients, arguments: argparse.Namespace, found: Prognosis) -> list[str]:
    """What a reader must know of the rows."""
    notes = []
    if patients.left_out:
        reasons = ", ".join(f"{column} {count}" for column, count in patients.left_out.items())
        notes.append(
            f"{patients.rows - len(patients)} of {patients.rows} rows left out for want of a value: {reasons}"
        )
    if patients.repeated:
        column, count = patients.repeated
        notes.append(f"{count} rows repeat a {column}: rows aren't independent, intervals are too narrow")
    fitted = {model.name for model in found.models}
    for name, score in SCORES.items():
        if name not in fitted:
            usual = _score_columns(arguments)[score][1]
            notes.append(f"no model {name}: the table has no column {usual}")
    if arguments.without:
        notes.append(f"model A is without {', '.join(arguments.without)}, so it isn't the published one")
    return notes


def _plot(found: Prognosis, path: Path) -> None:
    try:
        from dicomnode.cohort.roc_plot import plot_roc  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError as error:
        raise CommandError("the picture needs matplotlib: pip install 'dicomnode[cohort]'") from error
    plot_roc(found, path)


def _characteristics(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names or not set(names) <= set(CHARACTERISTICS):
        raise argparse.ArgumentTypeError(f"{text!r}: model A has {', '.join(CHARACTERISTICS)}")
    return tuple(dict.fromkeys(names))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from 0 to below 1")
    return share


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in (".png", ".svg"):
        raise argparse.ArgumentTypeError(f"{text!r} should end in .png or .svg")
    return path

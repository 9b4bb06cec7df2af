"""Measures how far a model is off on cases it never saw: ``python -m dicomnode.train.surety --table CSV``.

Prints the ``[error]`` of a model's card and how many truths its intervals cover when the case in question is
left out. The table comes from trainings with folds, each case judged by the members that never saw it; a case
that several trainings held out is judged by the first named:

    dicomnode train best --protocol cross_validation.toml --data DATA --out RUN
    python -m dicomnode.train.surety --table models/best/held_out.csv --trained models/best RUN --data DATA
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from dicomnode.segment.card import ModelError, load_card
from dicomnode.segment.lesions import LesionModel
from dicomnode.train.cases import DataError, LabelledCase
from dicomnode.train.clahe import OTHER_SCANNERS
from dicomnode.train.ensemble_training import EXAMPLES_FILE, LINEAR, MEDSEG
from dicomnode.train.error_fit import HIGH, LOW, card_section, coverage, fit_error
from dicomnode.train.held_out import Part, find_parts, read_parts, write_parts
from dicomnode.train.linear import load_linear
from dicomnode.train.medseg import load_medseg
from dicomnode.train.mixture import HU, LESION, LUNG, Example
from dicomnode.train.protocol import read_ensemble


def main() -> int:
    """Make the table if it is wanted; print calibration and coverage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="held-out cases (CSV), read or made")
    parser.add_argument(
        "--trained", type=Path, nargs="+", help="make the table: folders of trained ensembles"
    )
    parser.add_argument("--data", type=Path, help="folder of the labelled sets, to make the table")
    arguments = parser.parse_args()
    try:
        if arguments.trained is not None:
            write_parts(held_out_parts(arguments.trained, arguments.data), arguments.table)
        parts = read_parts(arguments.table)
        print(card_section(fit_error(parts)))
        for line in coverage(parts):
            print(f"# {line}")
    except (DataError, ModelError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def held_out_parts(trained: Sequence[Path], data: Path | None) -> list[Part]:
    """Every case that an ensemble's folds hold out, as the members find it that never saw it.

    Raises
    ------
    DataError
        If a folder holds no ensemble with folds, or there are no data.
    """
    parts: dict[str, list[Part]] = {}
    for folder in trained:
        ensemble = read_ensemble(folder)
        if ensemble is None or data is None:
            raise DataError(f"{folder} must be an ensemble with folds, and --data name the labelled sets")
        model = LesionModel(load_card(folder))
        for case in labelled_cases(folder, data, model.card.preprocessing.spacing_mm):
            judges = ensemble[1].judges(case.name)
            if judges is not None and case.name not in parts:
                model.choose_members(judges)
                parts[case.name] = find_parts(model, case, LOW, HIGH)
                print(f"{case.name}: {len(case.hu)} slices, members {judges} of {folder}", file=sys.stderr)
    return [part for found in parts.values() for part in found]


def labelled_cases(trained: Path, data: Path, spacing_mm: float | None) -> Iterator[LabelledCase]:
    """Patients and slices with masks; those of other scanners in the HU that a training there gave them."""
    yield from load_linear(data / LINEAR)
    yield from load_medseg(data / MEDSEG)
    prepared = trained / EXAMPLES_FILE
    if spacing_mm is None or not prepared.exists():
        return
    examples: dict[str, list[Example]] = torch.load(prepared, weights_only=False)
    for name in OTHER_SCANNERS:
        planes = [example.planes for example in examples.get(name, [])]
        if planes:
            hu = [plane[HU].numpy().round().astype(np.int16) for plane in planes]
            lung, lesion = ([plane[kind].numpy() > 0.5 for plane in planes] for kind in (LUNG, LESION))
            yield LabelledCase(name, hu, lung, lesion, spacing_mm)


if __name__ == "__main__":
    sys.exit(main())

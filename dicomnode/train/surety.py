"""Calibrates a model's volume interval: ``python -m dicomnode.train.surety MODEL --data DIR``.

Prints the card's [interval] from the patients that each member of the ensemble had not seen, and how many of
them the interval covers when it is calibrated without them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dicomnode.segment.card import load_card, models_directory
from dicomnode.segment.interval import calibrate_interval, volume_at_ml, volume_interval_ml
from dicomnode.segment.lesions import LesionModel, as_byte
from dicomnode.train.cases import DataError, LabelledCase
from dicomnode.train.datasets import load_cases
from dicomnode.train.evaluation import ASSUMED_THICKNESS_MM
from dicomnode.train.protocol import read_ensemble

LOW, HIGH = 0.2, 0.8

Volumes = tuple[float, float, float, float]
"""True, found, at low and at high probability, in mL."""


def main() -> None:
    """Print calibration and coverage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name of an installed ensemble")
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled patients")
    arguments = parser.parse_args()
    directory = models_directory() / arguments.model
    ensemble = read_ensemble(directory)
    if ensemble is None:
        raise DataError(f"{arguments.model} is no ensemble with folds")
    model = LesionModel(load_card(directory))
    volumes: dict[str, Volumes] = {}
    for case in load_cases(arguments.data):
        judges = ensemble[1].judges(case.name)
        if judges is not None:
            model.choose_members(judges)
            volumes[case.name] = case_volumes_ml(model, case)
            print(case.name, " ".join(f"{value:.1f}" for value in volumes[case.name]))
    calibration = calibrate_interval(list(volumes.values()), LOW, HIGH)
    print("\n[interval]")
    for name, value in vars(calibration).items():
        print(f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}")
    covered = 0
    for name, (true, found, at_low, at_high) in volumes.items():
        others = [entry for other, entry in volumes.items() if other != name]
        low, high = volume_interval_ml(found, at_low, at_high, calibrate_interval(others, LOW, HIGH))
        covered += low <= true <= high
        print(f"# {name}: true {true:.1f}, found {found:.1f}, interval {low:.1f} to {high:.1f} mL")
    print(f"# {covered} of {len(volumes)} patients covered when calibrated without them")


def case_volumes_ml(model: LesionModel, case: LabelledCase) -> Volumes:
    """The case's true volume and what the model finds at its own, the low and the high probability."""
    spacing = (ASSUMED_THICKNESS_MM, case.spacing_mm, case.spacing_mm)
    voxel_ml = float(np.prod(spacing)) / 1000
    threshold = model.card.postprocessing.probability_threshold
    sums = np.zeros(4)
    for hu, lung, lesion in zip(case.hu, case.lung, case.lesion, strict=True):
        levels = model.probabilities(hu[None], lung[None], spacing, lung_known=case.lung_known).lesion
        sums += (
            lesion.sum() * voxel_ml,
            *(volume_at_ml(levels, as_byte(probability), voxel_ml) for probability in (threshold, LOW, HIGH)),
        )
    true, found, at_low, at_high = (float(value) for value in sums)
    return true, found, at_low, at_high


if __name__ == "__main__":
    main()

"""Phantoms of known truth through the corridor: classical lungs, true lesion mask, measures against truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicomnode.assemble.assemble import assemble_series
from dicomnode.assemble.orientation import AxisOrder
from dicomnode.measure.measurements import Measurements
from dicomnode.phantom import LesionKind, LesionSpec, Phantom, PhantomSpec, build_phantom, write_series
from dicomnode.pipeline import measure_volume
from dicomnode.segment.lungs import find_lungs
from dicomnode.segment.segmentation import Label, Lobe, ModelIdentity, Segmentation

LUNG_PERCENT, LESION_PERCENT, WEIGHT_PERCENT = 1.0, 5.0, 5.0
LEAST_KEPT = 0.85
"""Share of the true lesions that the classical lungs must hold: what they cut off, no model can find."""

LESIONS = (
    LesionSpec(LesionKind.GGO, 150.0, Lobe.RIGHT_LOWER),
    LesionSpec(LesionKind.GGO, 60.0, Lobe.LEFT_UPPER),
    LesionSpec(LesionKind.CONSOLIDATION, 40.0, Lobe.RIGHT_UPPER),
)
CASES = {
    "thin slices": PhantomSpec.whole_lung((156, 256, 256), seed=1, lesions=LESIONS),
    "thick slices": PhantomSpec.whole_lung((62, 256, 256), seed=2, lesions=LESIONS),
    "coarse": PhantomSpec.whole_lung((104, 160, 160), seed=4, lesions=LESIONS),
    "healthy": PhantomSpec.whole_lung((104, 192, 192), seed=5),
    "noisy and sharp": PhantomSpec.whole_lung(
        (104, 256, 256), seed=6, lesions=LESIONS, noise_hu=45.0, kernel="sharp"
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_lungs_lesions_and_weight_against_the_truth(case: str, tmp_path: Path) -> None:
    phantom = build_phantom(CASES[case])
    measurements, kept = measure_with_true_lesions(phantom, tmp_path)
    measured = measurements.to_json()

    assert percent_off(measured, phantom, "lung_volume_ml") < LUNG_PERCENT
    if CASES[case].lesions:
        assert percent_off(measured, phantom, "lesion_volume_ml") < LESION_PERCENT
        assert percent_off(measured, phantom, "lesion_weight_g") < WEIGHT_PERCENT
        assert kept > LEAST_KEPT
    else:
        assert measured["lesion_volume_ml"] == 0


def measure_with_true_lesions(phantom: Phantom, directory: Path) -> tuple[Measurements, float]:
    """Write, assemble, find the lungs and add the true lesions, which are lung by definition.

    Returns
    -------
    tuple
        The measurements, and the share of the lesions that the lungs found had held by themselves.
    """
    volume = assemble_series(write_series(phantom, directory))
    order = AxisOrder.from_affine(volume.affine)
    lungs = find_lungs(
        np.ascontiguousarray(order.to_patient(volume.hu)), order.patient_spacing(volume.spacing_mm)
    )
    sides = np.ascontiguousarray(order.from_patient(lungs.sides))
    lesion = phantom.labels > Label.NORMAL_LUNG
    kept = np.count_nonzero(lesion & (sides > 0)) / max(1, np.count_nonzero(lesion))
    sides[lesion] = phantom.sides[lesion]
    labels = np.where(sides > 0, np.uint8(Label.NORMAL_LUNG), np.uint8(Label.BACKGROUND))
    labels[lesion] = phantom.labels[lesion]
    segmentation = Segmentation(labels, sides, np.zeros_like(labels), ModelIdentity("truth", "1", ""))
    return measure_volume(volume, segmentation), kept


def percent_off(measured: dict[str, float], phantom: Phantom, name: str) -> float:
    """Difference from the truth in percent of it, without its sign."""
    true = float(phantom.truth[name])
    return abs(measured[name] - true) / true * 100

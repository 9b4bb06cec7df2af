"""A patient made hard one way at a time: the volumes stay, or the study says why they can't be trusted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dicomnode.measure.measurements import Measurements
from dicomnode.phantom import disturb
from dicomnode.pipeline import measure_volume
from dicomnode.segment.segmentation import Segmentation, Side
from dicomnode.segment.segmenter import Segmenter
from tests.robust.patient import Chest, finite_numbers

LUNG_TOLERANCE, LESION_TOLERANCE = 0.03, 0.15

Measure = Callable[[Chest], Measurements]


@pytest.fixture(scope="session")
def measure(segmenter: Segmenter) -> Measure:
    def run(chest: Chest) -> Measurements:
        volume = chest.volume()
        measured = measure_volume(volume, segmenter.segment(volume))
        assert finite_numbers(measured.to_json())
        return measured

    return run


@pytest.fixture(scope="session")
def expected(chest: Chest, undisturbed: Segmentation) -> Measurements:
    return measure_volume(chest.volume(), undisturbed)


def arms_down(chest: Chest, _: Segmentation) -> Chest:
    wide = chest.on_grid((62, 256, 256), (5.0, 1.95, 1.95))
    return wide.with_hu(disturb.with_arms(wide.hu, wide.spacing_mm))


HARDSHIPS: dict[str, Callable[[Chest, Segmentation], Chest]] = {
    "noise of 50 HU": lambda c, _: c.with_hu(disturb.with_noise(c.hu, c.spacing_mm, 50)),
    "contrast": lambda c, s: c.with_hu(disturb.with_contrast(c.hu, s.lung, c.spacing_mm)),
    "prone": lambda c, _: c.with_hu(disturb.prone(c.hu, c.spacing_mm)),
    "arms down": arms_down,
    "metal of 20000 HU": lambda c, _: c.with_hu(disturb.with_metal(c.hu, c.spacing_mm, 20000)),
    "10 mm slices": lambda c, _: c.on_grid((31, 256, 256), (10.0, *c.spacing_mm[1:])),
}


@pytest.mark.parametrize("name", HARDSHIPS)
def test_a_hardship_changes_volumes_little(
    chest: Chest, undisturbed: Segmentation, expected: Measurements, measure: Measure, name: str
) -> None:
    disturbed = HARDSHIPS[name](chest, undisturbed)
    assert not np.array_equal(disturbed.hu, chest.hu)
    found, total = measure(disturbed).total, expected.total
    assert found.volume_ml == pytest.approx(total.volume_ml, rel=LUNG_TOLERANCE)
    assert found.lesion_volume_ml == pytest.approx(total.lesion_volume_ml, rel=LESION_TOLERANCE)


@pytest.mark.parametrize("absent", [Side.RIGHT, Side.LEFT])
def test_with_one_lung_absent_the_other_is_measured_and_the_study_says_so(
    chest: Chest, undisturbed: Segmentation, expected: Measurements, measure: Measure, absent: Side
) -> None:
    found = measure(chest.with_hu(disturb.with_filled(chest.hu, undisturbed.sides == absent)))
    left = "left" if absent is Side.RIGHT else "right"
    assert list(found.sides) == [left] and "one_lung" in found.quality.flags
    assert found.sides[left].volume_ml == pytest.approx(expected.sides[left].volume_ml, rel=LUNG_TOLERANCE)
    lesion = expected.sides[left].lesion_volume_ml
    assert found.sides[left].lesion_volume_ml == pytest.approx(lesion, rel=LESION_TOLERANCE)


def test_noise_that_once_cost_a_fifth_of_the_lesions_in_silence_is_told(
    chest: Chest, measure: Measure
) -> None:
    noisy = chest.with_hu(disturb.with_noise(chest.hu, chest.spacing_mm, 200))
    assert "noisy_image" in measure(noisy).quality.flags


def test_ten_litres_more_than_a_person_has_were_once_reported_in_silence(
    chest: Chest, measure: Measure
) -> None:
    z, y, x = chest.spacing_mm
    assert "lungs_implausible" in measure(Chest(chest.hu, (5 * z, y, x))).quality.flags

"""What the network adds to classical lungs: thick airless parts stay, layers and doubtful ones don't."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dicomnode.segment.lung_card import LungRules
from dicomnode.segment.lung_merge import NetworkView, compare

SHAPE = (30, 40, 40)
SPACING = (2.5, 2.5, 2.5)
RULES = LungRules(probability=0.5, smallest_share=0.5, largest_addition=0.5, largest_disagreement=0.03)


def block(rows: tuple[int, int], columns: tuple[int, int] = (5, 35)) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[5:25, slice(*rows), slice(*columns)] = True
    return mask


AERATED = block((5, 25))


def view(
    probability: NDArray[np.bool_] | NDArray[np.float32],
    classical: NDArray[np.bool_] = AERATED,
    no_lung: NDArray[np.bool_] | None = None,
    hu: float = 30.0,
) -> NetworkView:
    nothing = np.zeros(SHAPE, bool)
    return compare(
        probability.astype(np.float32),
        classical,
        AERATED,
        nothing if no_lung is None else no_lung,
        np.full(SHAPE, hu, np.float32),
        SPACING,
        RULES,
    )


def test_thick_airless_lung_is_added() -> None:
    found = view(AERATED | block((25, 33)))
    assert np.array_equal(found.airless, block((25, 33)))
    assert found.disagreement == pytest.approx(8 / 28, rel=0.05)
    assert found.usable


def test_a_layer_along_the_border_is_none() -> None:
    found = view(AERATED | block((25, 27)))
    assert not found.airless.any()
    assert found.disagreement == 0


def test_bone_bowel_gas_and_airways_are_no_lung() -> None:
    assert not view(AERATED | block((25, 33)), hu=400.0).airless.any()
    found = view(AERATED | block((25, 33)), no_lung=block((25, 33)))
    assert not found.airless.any() and found.disagreement == 0


def test_what_the_classical_method_put_back_stays() -> None:
    found = view(AERATED, AERATED | block((25, 33)))
    assert np.array_equal(found.airless, block((25, 33)))
    assert found.disagreement > RULES.largest_disagreement


def test_an_answer_that_adds_too_much_is_not_used() -> None:
    assert view(AERATED | block((25, 34))).usable
    assert not view(AERATED | block((25, 36))).usable
    assert view(AERATED | block((25, 36)), AERATED | block((25, 33))).usable


@pytest.mark.parametrize("answer", [np.zeros(SHAPE, bool), block((28, 36)), block((5, 14))])
def test_an_answer_without_the_aerated_lungs_is_not_used(answer: NDArray[np.bool_]) -> None:
    assert not view(answer).usable
    assert view(AERATED | answer).usable

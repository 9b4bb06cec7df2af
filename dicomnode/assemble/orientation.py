"""Array axes against the patient's: every room that needs left, right, top or bottom asks here."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class AxisOrder:
    """How to turn a (z, y, x) array so that its axes point to the patient's superior, posterior and left.

    ``axes`` is the transposition and ``flips`` the axes reversed after it. A turned array has slices from
    feet to head, rows from front to back and columns from the patient's right to left: the radiological view.
    """

    axes: tuple[int, int, int]
    flips: tuple[int, ...]

    @classmethod
    def from_affine(cls, affine: NDArray[np.float64]) -> AxisOrder:
        """Nearest axis order for an affine (x, y, z index to LPS mm); exact for right angles.

        Of the six ways to pair array axes with patient axes it is the one whose directions agree best, so
        there is an answer for any oblique; at 45 degrees it is one of two that are equally near.
        """
        directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        array_directions = directions[:, ::-1]  # columns now in array order z, y, x
        patient_axes = (2, 1, 0)  # superior, posterior, left of LPS
        agreement = np.abs(array_directions[patient_axes, :])
        axes = max(permutations(range(3)), key=lambda order: float(agreement[range(3), order].sum()))
        flips = tuple(i for i, p in enumerate(patient_axes) if array_directions[p, axes[i]] < 0)
        return cls((axes[0], axes[1], axes[2]), flips)

    def to_patient(self, array: NDArray[T]) -> NDArray[T]:
        """View of ``array`` with axes (superior, posterior, left)."""
        return np.flip(array.transpose(self.axes), self.flips)

    def from_patient(self, array: NDArray[T]) -> NDArray[T]:
        """Inverse of :meth:`to_patient`."""
        return np.flip(array, self.flips).transpose(np.argsort(self.axes))

    def patient_spacing(self, spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Spacing of array axes z, y, x reordered to superior, posterior, left; mm."""
        return spacing_mm[self.axes[0]], spacing_mm[self.axes[1]], spacing_mm[self.axes[2]]
